// Times, states and confidences as a reviewer reads them.

import { cutWords, isSameCut } from "./cut_kind.js";

/** 65.25 -> "01:05.250"; hours only when there are some. */
export function clock(seconds) {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const part = (value, digits = 2) => String(value).padStart(digits, "0");
  const minutes = Math.floor(ms / 60_000);
  const tail = `${part(Math.floor(ms / 1000) % 60)}.${part(ms % 1000, 3)}`;
  return minutes < 60 ? `${part(minutes)}:${tail}` : `${Math.floor(minutes / 60)}:${part(minutes % 60)}:${tail}`;
}

let wordsOfStates = {};

/** Learn how people call the states of clips, {state: words}: the server has the table of stages. */
export function learnStateWords(words) {
  wordsOfStates = words;
}

export function stateWords(state) {
  return wordsOfStates[state] ?? state;
}

/** "clip 12", or "new clip" for one that the server has not numbered yet. */
export function clipName(clip) {
  return clip.sequence === null || clip.sequence === undefined ? "new clip" : `clip ${clip.sequence}`;
}

/**
 * How sure the detector is of a cut: {level: "sure"|"likely"|"doubtful"|"manual", text}. confidence: 0..1, null without a detector.
 * kind: "chapter" where the cut is the beginning of a chapter, null where it has none.
 */
export function confidenceWords(confidence, kind = null) {
  if (kind) return { level: "sure", text: kind };
  if (confidence === null || confidence === undefined) return { level: "manual", text: "no detector score" };
  const percent = `${Math.round(confidence * 100)} % sure`;
  if (confidence >= 0.8) return { level: "sure", text: percent };
  return { level: confidence >= 0.5 ? "likely" : "doubtful", text: percent };
}

/** "clip 12 of Harbour". videos: {id: video}, as in the state. */
export function clipOf(clip, videos) {
  const title = videos[clip.source_video_id]?.title;
  return title ? `${clipName(clip)} of ${title}` : clipName(clip);
}

const DONE = {
  approve: (clip) => `approved ${clip}`,
  skip: (clip) => `skipped ${clip}`,
  archive: (clip) => `archived ${clip}`,
  group: (clip) => `grouped ${clip} with the one before`,
  add_cut_point: (clip, { frame }) => `cut ${clip} at frame ${frame}`,
  remove_cut_point: (clip, { frame }) => `removed the cut of ${clip} at frame ${frame}`,
  edit_cut: (clip, { frame, ...cut }) => `said of the cut of ${clip} at frame ${frame}: ${cutWords(cut.kind ? cut : null)}`,
  move_cut_point: (clip, { frame, new_frame: to }) => `moved a cut of ${clip} from frame ${frame} to ${to}`,
};
const RETURNS = { undo: "undid", redo: "did again" };
const DECIDED = { skip: "review_skipped", archive: "review_archived" };

/** What a decision (no undo or redo) did: "skipped clip 14 of Harbour". clip: `clipOf` of the clip it was made on. */
export function decisionWords(decision, clip) {
  return DONE[decision.action]?.(clip, decision) ?? decision.action;
}

/**
 * The same, from the clips before and after it: {action, before, after}. It also says what an undo took back: "undid: skipped clip 14 of
 * Harbour". record: null when that is not known.
 */
export function recordWords(action, record, videos) {
  if (action in RETURNS) return record ? `${RETURNS[action]}: ${recordWords(record.action, record, videos)}` : `${RETURNS[action]} the last decision`;
  const [before, after] = [record.before, record.after].map((clips) => [...clips].sort((a, b) => a.start_frame - b.start_frame));
  const of = (clip) => clipOf(clip, videos);
  switch (action) {
    case "add_cut_point":
      return DONE[action](of(before[0]), { frame: after.at(-1).start_frame });
    case "remove_cut_point":
      return DONE[action](of(before[0]), { frame: before.at(-1).start_frame });
    case "move_cut_point":
      return DONE[action](of(before[0]), { frame: before.at(-1).start_frame, new_frame: after.at(-1).start_frame });
    case "edit_cut":
      return DONE[action](of(after.at(-1)), { frame: after.at(-1).start_frame, ...after.at(-1).cut });
    case "group":
      return DONE[action](of(after.at(-1)));
    default: {
      // Skipping a clip also frees those grouped with it.
      const decided = after.filter((clip) => !(action in DECIDED) || clip.state === DECIDED[action]);
      const number = record.count ?? decided.length; // of a selection of thousands only some are named
      return DONE[action](number === 1 ? of(decided[0]) : count(number, "clip"));
    }
  }
}

const VERBS = { pending_review: "reopened", review_skipped: "skipped", review_archived: "archived" };

/** What a colleague has done to a clip meanwhile: {clip, by, was}; `was` is the clip before, null when it was cut anew. */
export function newsWords({ clip, by, was }, videos) {
  const name = clipOf(clip, videos);
  if (!was) return `${by} has changed the cuts here: this is ${name} now`;
  if (was.state !== clip.state && was.state === "pending_review") return `${by} has ${VERBS[clip.state] ?? "approved"} ${name}`;
  if (was.state !== clip.state) return `${by} has changed ${name} from ${stateWords(was.state)} to ${stateWords(clip.state)}`;
  if (was.start_frame !== clip.start_frame || was.end_frame !== clip.end_frame)
    return `${by} has moved a cut of ${name}: it has ${count(clip.end_frame - clip.start_frame, "frame")} now`;
  if (!isSameCut(was.cut, clip.cut)) return `${by} has said what the cut before ${name} is: ${cutWords(clip.cut)}`;
  return `${by} has changed ${name}`;
}

/** "undid: ..." -> "Undid: ..." */
export function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** "1 clip", "2 clips". */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A message of the server with its full stop. */
export function sentence(message) {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}
