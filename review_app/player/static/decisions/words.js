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

/** {action: [what was done, what an undo undoes, to what]}; domain/words.py has the same of whole lists. */
const ACTIONS = {
  approve: ["approved", "approving", (clip) => clip],
  skip: ["skipped", "skipping", (clip) => clip],
  archive: ["archived", "archiving", (clip) => clip],
  group: ["grouped", "grouping", (clip) => `${clip} with the one before`],
  add_cut_point: ["cut", "cutting", (clip, { frame }) => `${clip} at frame ${frame}`],
  remove_cut_point: ["removed", "removing", (clip, { frame }) => `the cut of ${clip} at frame ${frame}`],
  edit_cut: ["set", "setting", (clip, { frame, ...cut }) => `the cut of ${clip} at frame ${frame} to ${cutWords(cut.kind ? cut : null)}`],
  move_cut_point: ["moved", "moving", (clip, { frame, new_frame: to }) => `a cut of ${clip} from frame ${frame} to ${to}`],
  send_back: ["sent", "sending", (clip) => `${clip} back to review`],
  recut: ["cut", "cutting", (video) => `${video} anew`],
  import_cuts: ["imported", "importing", (video) => `the cuts of a list for ${video}`],
};
const OF_VIDEOS = new Set(["recut", "import_cuts"]);
const RETURNS = { undo: "undid", redo: "redid" };
const DECIDED = { skip: "review_skipped", archive: "review_archived" };

/** What a decision (no undo or redo) did: "skipped clip 14 of Harbour". clip: `clipOf` of the clip it was made on. */
export function decisionWords({ action, ...told }, clip) {
  return action in ACTIONS ? `${ACTIONS[action][0]} ${ACTIONS[action][2](clip, told)}` : action;
}

/** What an undo or a redo (`action`) returned: "undid skipping clip 14 of Harbour". record: {action, before, after}, null when not known. */
export function returnWords(action, record, videos) {
  const known = record && record.action in ACTIONS;
  return `${RETURNS[action]} ${known ? `${ACTIONS[record.action][1]} ${objectWords(record, videos)}` : "the last decision"}`;
}

/** What a decision did, as `decisionWords`, from the clips before and after it: {action, before, after}. */
export function recordWords(record, videos) {
  return record.action in ACTIONS ? `${ACTIONS[record.action][0]} ${objectWords(record, videos)}` : record.action;
}

function objectWords({ action, count: number = null, ...sides }, videos) {
  const [before, after] = [sides.before, sides.after].map((clips) => [...clips].sort((a, b) => a.start_frame - b.start_frame));
  const words = ACTIONS[action][2];
  const of = (clip) => clipOf(clip, videos);
  if (OF_VIDEOS.has(action)) return words(videos[(after[0] ?? before[0])?.source_video_id]?.title || "the video");
  switch (action) {
    case "add_cut_point":
      return words(of(before[0]), { frame: after.at(-1).start_frame });
    case "remove_cut_point":
      return words(of(before[0]), { frame: before.at(-1).start_frame });
    case "move_cut_point":
      return words(of(before[0]), { frame: before.at(-1).start_frame, new_frame: after.at(-1).start_frame });
    case "edit_cut":
      return words(of(after.at(-1)), { frame: after.at(-1).start_frame, ...after.at(-1).cut });
    case "group":
      return words(of(after.at(-1)));
    default: {
      // Skipping a clip also frees those grouped with it.
      const decided = after.filter((clip) => !(action in DECIDED) || clip.state === DECIDED[action]);
      const many = number ?? decided.length; // of a selection of thousands only some are named
      return words(many === 1 ? of(decided[0]) : count(many, "clip"));
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
  if (!isSameCut(was.cut, clip.cut)) return `${by} has set the cut before ${name} to ${cutWords(clip.cut)}`;
  return `${by} has changed ${name}`;
}

/** "undid ..." -> "Undid ..." */
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
