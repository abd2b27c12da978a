// Times, states and confidences as a reviewer reads them.

/** 65.25 -> "01:05.250"; hours only when there are some. */
export function clock(seconds) {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const part = (value, digits = 2) => String(value).padStart(digits, "0");
  const minutes = Math.floor(ms / 60_000);
  const tail = `${part(Math.floor(ms / 1000) % 60)}.${part(ms % 1000, 3)}`;
  return minutes < 60 ? `${part(minutes)}:${tail}` : `${Math.floor(minutes / 60)}:${part(minutes % 60)}:${tail}`;
}

const STATES = {
  pending_review: "waiting",
  review_approved: "approved",
  review_skipped: "skipped",
  review_archived: "archived",
  exporting: "exporting",
  exported: "exported",
  export_failed: "export failed",
  keyframing: "exported",
  keyframed: "exported",
  keyframe_failed: "keyframes failed",
  embedding: "exported",
  embedded: "searchable",
  embedding_failed: "embedding failed",
};

export function stateWords(state) {
  return STATES[state] ?? state;
}

/** "clip 12", or "new clip" for one that the server has not numbered yet. */
export function clipName(clip) {
  return clip.sequence === null || clip.sequence === undefined ? "new clip" : `clip ${clip.sequence}`;
}

/** How sure the detector is of a cut: {level: "sure"|"likely"|"doubtful"|"manual", text}. confidence: 0..1, null without a detector. */
export function confidenceWords(confidence) {
  if (confidence === null || confidence === undefined) return { level: "manual", text: "no detector score" };
  const percent = `${Math.round(confidence * 100)} % sure`;
  if (confidence >= 0.8) return { level: "sure", text: percent };
  return { level: confidence >= 0.5 ? "likely" : "doubtful", text: percent };
}

const DONE = {
  approve: (clip) => `Approved ${clip}`,
  skip: (clip) => `Skipped ${clip}`,
  archive: (clip) => `Archived ${clip}`,
  group: (clip) => `Grouped ${clip} with the one before`,
  add_cut_point: (clip, { frame }) => `Cut ${clip} at frame ${frame}`,
  remove_cut_point: (clip, { frame }) => `Removed the cut at frame ${frame}`,
  move_cut_point: (clip, { frame, new_frame: to }) => `Moved the cut from frame ${frame} to ${to}`,
  undo: () => "Undid the last decision",
  redo: () => "Did it again",
};

/** What a decision did, in the past tense. clip: `clipName` of the clip it was made on. */
export function decisionWords(decision, clip) {
  return DONE[decision.action]?.(clip, decision) ?? decision.action;
}

/** "1 clip", "2 clips". */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A message of the server with its full stop. */
export function sentence(message) {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}
