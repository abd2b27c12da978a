// What a cut is and which frames its transition takes: {kind, first_frame, last_frame}, null where nobody knows. Pure, as review_state.js; the
// server's own rules are those of domain/cut_kinds.py, and it refuses what breaks them.

/** Kinds that have no transition. */
const SUDDEN = new Set(["hard", "jump"]);

let wordsOfKinds = {};

/** Learn how people call the kinds that a cut may be given, {kind: words}, in the order in which they are offered. */
export function learnKindWords(words) {
  wordsOfKinds = words;
}

export function givenKinds() {
  return Object.keys(wordsOfKinds);
}

/** "dissolve"; "kind not known" of a cut without one. */
export function kindWords(cut) {
  return cut ? (wordsOfKinds[cut.kind] ?? cut.kind) : "kind not known";
}

export function hasRange(cut) {
  return cut?.first_frame !== null && cut?.first_frame !== undefined;
}

/** "dissolve, 8 frames". */
export function cutWords(cut) {
  if (!hasRange(cut)) return kindWords(cut);
  const frames = cut.last_frame - cut.first_frame + 1;
  return `${kindWords(cut)}, ${frames} ${frames === 1 ? "frame" : "frames"}`;
}

/** What is left of it for a cut at `frame`, where the clips beside the cut have the frames [start, end) together. */
export function around(cut, frame, start, end) {
  if (!hasRange(cut)) return cut;
  const { kind, first_frame: first, last_frame: last } = cut;
  if (frame < first || frame > last + 1) return { kind, first_frame: null, last_frame: null };
  return { kind, first_frame: Math.max(first, start), last_frame: Math.min(last, end - 1) };
}

/**
 * The cut between two clips with the "first" or "last" frame of its transition moved. Of a cut without one both begin at the cut itself: a
 * step away from it makes a transition, and the step back takes it away again. What has frames of its own is no hard cut.
 */
export function rangeMoved(cut, end, frames, left, right) {
  const frame = right.start_frame;
  let [first, last] = hasRange(cut) ? [cut.first_frame, cut.last_frame] : [frame, frame - 1];
  if (end === "first") first = Math.min(Math.max(first + frames, left.start_frame), frame);
  else last = Math.min(Math.max(last + frames, frame - 1), right.end_frame - 1);
  if (first > last) return { kind: cut?.kind ?? "hard", first_frame: null, last_frame: null };
  const isGradual = cut && !SUDDEN.has(cut.kind);
  return { kind: isGradual ? cut.kind : "dissolve", first_frame: first, last_frame: last };
}

/** The cut as another kind; one that has no transition loses it. */
export function asKind(cut, kind) {
  const keeps = hasRange(cut) && !SUDDEN.has(kind);
  return { kind, first_frame: keeps ? cut.first_frame : null, last_frame: keeps ? cut.last_frame : null };
}

/** The kind that follows in the order in which they are offered. */
export function nextKind(cut) {
  const kinds = givenKinds();
  return kinds[(kinds.indexOf(cut?.kind) + 1) % kinds.length];
}

export function isSameCut(one, other) {
  return ["kind", "first_frame", "last_frame"].every((name) => (one?.[name] ?? null) === (other?.[name] ?? null));
}

/** Frames beside the transition of the cut between two clips, or beside the cut itself: [before, after]. */
export function framesBeside(cut, left, right) {
  const frame = right.start_frame;
  if (!hasRange(cut)) return [frame - 1, frame];
  return [Math.max(cut.first_frame - 1, left.start_frame), Math.min(cut.last_frame + 1, right.end_frame - 1)];
}
