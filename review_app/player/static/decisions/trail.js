// Where the reviewer has been: the clips that were on the stage, so that one key goes back and another on again. Pure.

import { upcoming, visible } from "./review_state.js";

const MOST = 200;

/** ids: of clips that were on the stage, oldest first. at: place of the one that is there now. */
export const NO_TRAIL = Object.freeze({ ids: [], at: -1 });

/**
 * `trail` with clip `id` on the stage. One step back or on along the trail keeps it; another clip ends what lay beyond.
 * decided: the clip that was there is decided now, so the queue went on: to a clip that was left undecided, that is no step back.
 */
export function visited(trail, id, decided = false) {
  const { ids, at } = trail;
  if (id === null || ids[at] === id) return trail;
  for (const beside of decided ? [at + 1] : [at - 1, at + 1]) if (ids[beside] === id) return { ids, at: beside };
  const kept = [...ids.slice(0, at + 1), id].slice(-MOST);
  return { ids: kept, at: kept.length - 1 };
}

/** `trail` with ids that the server gave in place of provisional ones. ids: {provisional id: id}. */
export function renamedTrail(trail, ids) {
  return { ...trail, ids: trail.ids.map((id) => ids[id] ?? id) };
}

/**
 * Id of the clip to look at next without deciding, null when there is none. Back: the one that was on the stage before, and at the beginning
 * the one before in the video. On: along the trail, then the next that waits; those left undecided come again at the end.
 */
export function nextStop(state, trail, scene, forward) {
  const { clips } = visible(state);
  const { ids, at } = trail;
  const rest = forward ? ids.slice(at + 1) : ids.slice(0, Math.max(at, 0)).reverse();
  const known = rest.find((id) => clips.has(id) && id !== state.current);
  if (known !== undefined) return known;
  if (forward) return upcoming(state)[0]?.id ?? null;
  return scene?.previous?.id ?? null;
}
