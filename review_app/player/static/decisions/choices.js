// What can be decided on the clip on the stage, and which of this page's decisions an undo or redo means. Pure, as review_state.js.

import { clipEndingAt, clipsMeetingAt, isReturn, visible } from "./review_state.js";
import { clipName, clipOf } from "./words.js";

/** Request keys of this page's decisions that stand, and of those undone that can be redone, newest last; null means "ask the server". */
export function undoStacks(state) {
  let standing = [];
  let undone = [];
  for (const { key, action, target } of state.log) {
    if (action === "undo") {
      if (target) standing = standing.filter((one) => one !== target);
      undone.push(target ?? null);
    } else if (action === "redo") {
      undone.pop();
      if (target) standing.push(target);
    } else {
      standing.push(key);
      undone = [];
    }
  }
  return { standing, undone };
}

/** Whether an undo may find something: a decision of this page, or one that the reviewer made before. */
export function canUndo(state) {
  return undoStacks(state).standing.length > 0 || state.hasDecided;
}

/** Whether a redo may find something. An earlier page may have undone something, until a decision of this page ends what could be redone. */
export function canRedo(state) {
  return undoStacks(state).undone.length > 0 || (state.hasDecided && state.log.every(isReturn));
}

/** Frames a cut can move to, [lowest, highest] inclusive; null when it cannot. `left` and `right` are the clips that meet at it. */
export function moveRange(left, right) {
  if (!left || !right) return null;
  const range = [left.start_frame + 1, right.end_frame - 1];
  return range[0] < range[1] ? range : null;
}

/** What can be done with the cut line at `frame` of the current clip: {add, why} with the reason in words when a cut cannot be added. */
export function addChoice(clip, frame) {
  if (clip.end_frame - clip.start_frame < 2) return { add: false, why: "This clip has a single frame; it cannot be cut." };
  if (frame <= clip.start_frame) return { add: false, why: "The clip begins here already: move on by at least one frame to cut." };
  return { add: frame < clip.end_frame, why: null };
}

const SET_ASIDE = { review_skipped: "skipped", review_archived: "archived" };

/** Why a clip that somebody has skipped or archived cannot be grouped; the server says the same. */
function verdictStands(clip, state) {
  const own = clip.version === null || clip.changed_by?.id === state.me;
  const by = own ? " by you" : clip.changed_by ? ` (last change: ${clip.changed_by.name})` : "";
  const name = clipName(clip);
  return `Not grouped: ${clipOf(clip, state.videos)} was ${SET_ASIDE[clip.state]}${by}, and a group would approve it. Approve ${name} first if the two belong together.`;
}

/** Clips of `decision` that a colleague has changed while they were on the page, and nobody has said so yet: [{clip, by, was}]. */
export function newsFor(state, decision) {
  const { clips } = visible(state);
  return Object.keys(decision.versions ?? {})
    .filter((id) => state.news[id] && clips.has(Number(id)))
    .map((id) => ({ clip: clips.get(Number(id)), ...state.news[id] }));
}

/**
 * The decision that `action` means here, or {problem} in words.
 * key: request key it will have. at: {clip_id} (default: the current clip) and, for cuts, {frame, new_frame}.
 */
export function decisionFor(state, action, key, at = {}) {
  const { clips, records } = visible(state);
  const versionsOf = (list) => Object.fromEntries(list.map((one) => [one.id, one.version ?? null]));
  if (isReturn({ action })) {
    const stacks = undoStacks(state);
    const target = (action === "undo" ? stacks.standing : stacks.undone).at(-1) ?? null;
    const record = target && records.get(target);
    const touched = record ? [...new Map([...record.before, ...record.after].map((clip) => [clip.id, clips.get(clip.id) ?? clip])).values()] : [];
    const versions = Object.fromEntries(touched.map((clip) => [clip.id, clips.has(clip.id) ? (clip.version ?? null) : null]));
    return { request_key: key, action, target, versions };
  }
  if (state.pending.some((one) => isReturn(one) && !records.has(one.request_key)))
    return { problem: "What you took back is on its way to the stage: decide when it is there." };
  const clip = clips.get(at.clip_id ?? state.current);
  if (!clip || !state.videos[clip.source_video_id]) return { problem: "There is no clip on the stage to decide on." };
  const base = { request_key: key, action, clip_id: clip.id, source_video_id: clip.source_video_id };
  switch (action) {
    case "approve":
    case "skip":
    case "archive":
      return { ...base, versions: versionsOf([clip]) };
    case "group": {
      const previous = clipEndingAt(clips, clip.source_video_id, clip.start_frame);
      if (!previous) return { problem: "This is the first clip of its video: there is none before it to group with." };
      const aside = [previous, clip].find((one) => one.state in SET_ASIDE);
      if (aside) return { problem: verdictStands(aside, state) };
      return { ...base, versions: versionsOf([previous, clip]) };
    }
    case "add_cut_point": {
      const { add, why } = addChoice(clip, at.frame);
      if (!add) return { problem: why ?? `Frame ${at.frame} is not in this clip.` };
      const makes = [
        [clip.start_frame, at.frame],
        [at.frame, clip.end_frame],
      ];
      return { ...base, frame: at.frame, versions: versionsOf([clip]), makes };
    }
    case "remove_cut_point": {
      const [left, right] = clipsMeetingAt(clips, clip.source_video_id, at.frame);
      if (!left || !right) return { problem: "The video begins or ends here: this is no cut that could be removed." };
      return { ...base, frame: at.frame, versions: versionsOf([left, right]), makes: [[left.start_frame, right.end_frame]] };
    }
    case "move_cut_point": {
      const [left, right] = clipsMeetingAt(clips, clip.source_video_id, at.frame);
      const range = moveRange(left, right);
      if (!range) return { problem: "This cut cannot move: the clips beside it have a single frame each." };
      if (at.new_frame < range[0] || at.new_frame > range[1])
        return { problem: `The cut at frame ${at.frame} can move to frames ${range[0]}..${range[1]}, not ${at.new_frame}.` };
      return { ...base, frame: at.frame, new_frame: at.new_frame, versions: versionsOf([left, right]) };
    }
    case "edit_cut": {
      const [left, right] = clipsMeetingAt(clips, clip.source_video_id, at.frame);
      if (!left || !right) return { problem: "The video begins or ends here: this is no cut of which anything could be said." };
      const { kind, first_frame = null, last_frame = null } = at;
      return { ...base, frame: at.frame, kind, first_frame, last_frame, versions: versionsOf([left, right]) };
    }
    default:
      return { problem: `Nobody knows how to ${action}.` };
  }
}
