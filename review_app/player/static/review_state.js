// What the reviewer sees, as a pure function of what the server said and of the decisions it has not answered yet.
//
// `clips` is the server's word. The decisions under way are laid over it (`visible`), so a decision shows at once, an answer replaces the
// guess, and a refusal needs no undoing: the decision is dropped and what is left is laid over the fresh clips.

import { provisionalId } from "./outbox.js";

const WAITING = "pending_review";
const ASIDE = new Set([WAITING, "review_skipped", "review_archived"]);
const DECIDED = { approve: "review_approved", skip: "review_skipped", archive: "review_archived", group: "review_approved" };

/** Whether the standing decision on a clip is "approved", wherever the pipeline is with it. */
function isApproved(clip) {
  return !ASIDE.has(clip.state);
}

export const EMPTY = Object.freeze({
  clips: {}, // id -> clip as the server last said
  videos: {}, // id -> video
  queue: [], // ids, the current clip's among them or not
  current: null, // id of the clip on the stage
  pending: [], // decisions without an answer, oldest first
  preview: null, // a cut on the move: the decision it would be, shown but not yet made
  records: {}, // request key -> {action, before, after} of answered decisions
  log: [], // {key, action, target} of this page's decisions that stand or wait, oldest first
  progress: null,
  exhausted: false, // the server has no more clips for this queue
});

const laid = new WeakMap(); // state -> what `visible` returns

/** {clips: Map(id -> clip), records: Map(key -> record)} with the decisions under way applied. Clips they change have version null. */
export function visible(state) {
  let found = laid.get(state);
  if (!found) {
    found = { clips: new Map(Object.values(state.clips).map((clip) => [clip.id, clip])), records: new Map(Object.entries(state.records)) };
    const ids = {}; // provisional -> real
    for (const decision of state.preview ? [...state.pending, state.preview] : state.pending) {
      const made = clipsMade(found.clips, decision);
      if (made.length && made.every(Boolean)) {
        // The server has made these and its answer is still to come; what was decided on them meanwhile names them by their provisional ids.
        made.forEach((clip, place) => (ids[provisionalId(decision.request_key, place)] = clip.id));
        continue;
      }
      const record = effect(found.clips, { ...decision, clip_id: ids[decision.clip_id] ?? decision.clip_id }, found.records);
      if (!record) continue;
      for (const clip of record.before) found.clips.delete(clip.id);
      for (const clip of record.after) found.clips.set(clip.id, clip);
      found.records.set(decision.request_key, record);
    }
    laid.set(state, found);
  }
  return found;
}

/** What a decision does to these clips: {action, before, after}; null when it does nothing to what is known here. */
function effect(clips, decision, records) {
  const { action, request_key: key } = decision;
  const clip = clips.get(decision.clip_id);
  const changed = (one, fields) => ({ ...one, ...fields, version: null });
  switch (action) {
    case "approve":
    case "skip":
    case "archive": {
      if (!clip) return null;
      const grouped = action === "approve" ? {} : { grouped_with_clip_id: null };
      return { action, before: [clip], after: [changed(clip, { state: DECIDED[action], ...grouped })] };
    }
    case "group": {
      const previous = clip && clipEndingAt(clips, clip.source_video_id, clip.start_frame);
      if (!previous) return null;
      const approved = (one) => (isApproved(one) ? one.state : "review_approved");
      return {
        action,
        before: [previous, clip],
        after: [
          isApproved(previous) ? previous : changed(previous, { state: approved(previous) }),
          changed(clip, { state: approved(clip), grouped_with_clip_id: previous.id }),
        ],
      };
    }
    case "add_cut_point": {
      const whole = clipAt(clips, decision.source_video_id, decision.frame);
      if (!whole || whole.start_frame === decision.frame) return null;
      const made = (place, start, end, edges) => ({
        ...whole,
        ...edges,
        id: provisionalId(key, place),
        sequence: null,
        start_frame: start,
        end_frame: end,
        state: WAITING,
        version: null,
        grouped_with_clip_id: null,
      });
      return {
        action,
        before: [whole],
        after: [
          made(0, whole.start_frame, decision.frame, { end_confidence: null }),
          made(1, decision.frame, whole.end_frame, { start_confidence: null }),
        ],
      };
    }
    case "remove_cut_point": {
      const [left, right] = clipsMeetingAt(clips, decision.source_video_id, decision.frame);
      if (!left || !right) return null;
      const joined = {
        ...left,
        id: provisionalId(key, 0),
        sequence: null,
        end_frame: right.end_frame,
        end_confidence: right.end_confidence ?? null,
        state: WAITING,
        version: null,
        grouped_with_clip_id: null,
      };
      return { action, before: [left, right], after: [joined] };
    }
    case "move_cut_point": {
      const [left, right] = clipsMeetingAt(clips, decision.source_video_id, decision.frame);
      if (!left || !right) return null;
      return {
        action,
        before: [left, right],
        after: [changed(left, { end_frame: decision.new_frame }), changed(right, { start_frame: decision.new_frame })],
      };
    }
    case "undo":
    case "redo": {
      const record = decision.target && records.get(decision.target);
      if (!record) return null;
      const [from, to] = action === "undo" ? [record.after, record.before] : [record.before, record.after];
      return { action, of: record.action, before: from, after: to.map((one) => changed(one, {})) };
    }
    default:
      return null;
  }
}

/** Clips that lie just where a cut's decision makes some; undefined where there is none. */
function clipsMade(clips, { source_video_id: videoId, makes = [] }) {
  return makes.map(([start, end]) => find(clips, (one) => one.source_video_id === videoId && one.start_frame === start && one.end_frame === end));
}

function clipAt(clips, videoId, frame) {
  return find(clips, (clip) => clip.source_video_id === videoId && clip.start_frame <= frame && frame < clip.end_frame);
}

function clipEndingAt(clips, videoId, frame) {
  return find(clips, (clip) => clip.source_video_id === videoId && clip.end_frame === frame);
}

/** [clip that ends at the cut, clip that begins there]; undefined for one that is not known. */
export function clipsMeetingAt(clips, videoId, frame) {
  return [clipEndingAt(clips, videoId, frame), find(clips, (clip) => clip.source_video_id === videoId && clip.start_frame === frame)];
}

function find(clips, matches) {
  for (const clip of clips.values()) if (matches(clip)) return clip;
  return undefined;
}

/** The current clip with what stands around it: {clip, video, previous, next}; null when there is none. */
export function scene(state) {
  const { clips } = visible(state);
  const clip = clips.get(state.current);
  if (!clip) return null;
  return {
    clip,
    video: state.videos[clip.source_video_id],
    previous: clipEndingAt(clips, clip.source_video_id, clip.start_frame) ?? null,
    next: find(clips, (other) => other.source_video_id === clip.source_video_id && other.start_frame === clip.end_frame) ?? null,
  };
}

/** Clips that come after the current one and still wait for a decision, in order. */
export function upcoming(state) {
  const { clips } = visible(state);
  const queue = state.queue.filter((id) => id !== state.current && clips.get(id)?.state === WAITING);
  return queue.map((id) => clips.get(id));
}

/** {done, left, per_hour} with the decisions under way counted. */
export function progressShown(state) {
  if (!state.progress) return null;
  const waiting = (clips) => clips.filter((clip) => clip.state === WAITING).length;
  const difference = waiting([...visible(state).clips.values()]) - waiting(Object.values(state.clips));
  return { ...state.progress, done: Math.max(0, state.progress.done - difference), left: Math.max(0, state.progress.left + difference) };
}

const isReturn = ({ action }) => action === "undo" || action === "redo";

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

/** Whether a redo may find something: only a decision of this page says that what was undone before it, by an earlier page too, is gone. */
export function canRedo(state) {
  return undoStacks(state).undone.length > 0 || state.log.every(isReturn);
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
    default:
      return { problem: `Nobody knows how to ${action}.` };
  }
}

/** What an answer teaches the decisions behind it: ids of the clips this one made, and versions after it. */
export function lesson(decision, answer) {
  const ids = {};
  const versions = {};
  for (const clip of answer.clips ?? []) versions[clip.id] = clip.version;
  (decision.makes ?? []).forEach(([start, end], place) => {
    const made = (answer.clips ?? []).find(
      (clip) => clip.source_video_id === decision.source_video_id && clip.start_frame === start && clip.end_frame === end,
    );
    if (made) ids[provisionalId(decision.request_key, place)] = made.id;
  });
  return { ids, versions };
}

/** The state after an event. Never changes its arguments. */
export function reduced(state, event) {
  switch (event.type) {
    case "queue_loaded": {
      const merged = withServer(state, event.answer);
      const rest = event.fresh ? [] : merged.queue;
      const kept = event.fresh ? null : merged.current;
      const queue = unique([...(kept ? [kept] : []), ...(event.front ?? []), ...rest, ...event.answer.queue]);
      const exhausted = event.answer.queue.length === 0 || Boolean(event.answer.exhausted);
      return settled({ ...merged, queue, current: kept, exhausted }, state);
    }
    case "opened":
      return settled({ ...state, current: event.id, queue: unique([event.id, ...state.queue]) }, state);
    case "restored": {
      const known = new Set(state.pending.map((decision) => decision.request_key));
      const found = event.decisions.filter((decision) => !known.has(decision.request_key));
      const restored = settled({ ...state, pending: [...found, ...state.pending], log: [...found.map(logged), ...state.log] }, state);
      // Decided already, by a tab since closed: the stage does not wait for a decision that is on its way.
      const waits = (one) => visible(one).clips.get(one.current)?.state === WAITING;
      return waits(state) && !waits(restored) ? onward(restored, restored.current) : restored;
    }
    case "previewed":
      return { ...state, preview: event.decision };
    case "decided":
      return advanced({ ...state, preview: null }, event.decision);
    case "confirmed": {
      const { decision, answer } = event;
      const key = decision.request_key;
      const { ids } = lesson(decision, answer);
      const record = visible(state).records.get(key);
      const merged = withServer({ ...state, pending: state.pending.filter((one) => one.request_key !== key) }, answer);
      const after = renamed(merged, ids);
      // What a later undo puts back: the clips with the ids that the server gave them.
      const real = (clip) => after.clips[ids[clip.id] ?? clip.id] ?? { ...clip, id: ids[clip.id] ?? clip.id };
      const records = record
        ? { ...after.records, [key]: { ...record, before: record.before.map((clip) => ({ ...clip, id: ids[clip.id] ?? clip.id })), after: record.after.map(real) } }
        : after.records;
      const shown = settled({ ...after, records }, state);
      // An undo of what an earlier page did shows only now: go to the clip that it brought back.
      if (!record && isReturn(decision) && answer.clips?.length && event.follow) return follow(shown, answer);
      return shown;
    }
    case "refused": {
      const keys = new Set([event.decision, ...event.dropped].map((decision) => decision.request_key));
      // What could not be undone or redone is passed over from now on: the next press goes on to the one before.
      const target = event.decision.target ?? null;
      const kept = {
        ...state,
        pending: state.pending.filter((decision) => !keys.has(decision.request_key)),
        log: state.log.filter((row) => !keys.has(row.key) && (target === null || (row.key !== target && row.target !== target))),
      };
      const merged = withServer(kept, event.answer ?? {});
      const { clips } = visible(merged);
      const back = [event.decision, ...event.dropped].map((decision) => decision.clip_id).filter((id) => clips.get(id)?.state === WAITING);
      const [first, ...rest] = merged.queue;
      return settled({ ...merged, queue: unique([...(first === undefined ? [] : [first]), ...back, ...rest]) }, state);
    }
    case "clips_changed":
      return settled(withServer(state, event.answer), state);
    case "left": {
      const queue = state.queue.filter((id) => !event.ids.includes(id));
      const current = event.ids.includes(state.current) ? null : state.current;
      return settled({ ...state, queue, current }, current === null ? { ...state, current: null } : state);
    }
    default:
      throw new Error(`unknown event ${event.type}`);
  }
}

const logged = (decision) => ({ key: decision.request_key, action: decision.action, target: decision.target ?? null });
const unique = (list) => [...new Set(list)];

/** `state` with the server's fresh word: clips it sends replace what is known, also clips that lie over the same frames; `retired` go. */
function withServer(state, answer) {
  const clips = { ...state.clips };
  for (const id of answer.retired ?? []) delete clips[id];
  for (const fresh of answer.clips ?? []) {
    for (const old of Object.values(clips))
      if (old.id !== fresh.id && old.source_video_id === fresh.source_video_id && old.start_frame < fresh.end_frame && fresh.start_frame < old.end_frame)
        delete clips[old.id];
    const known = clips[fresh.id];
    if (!known || known.version <= fresh.version) clips[fresh.id] = fresh;
  }
  const videos = { ...state.videos };
  for (const video of answer.videos ?? []) videos[video.id] = video;
  return { ...state, clips, videos, progress: answer.progress ?? state.progress };
}

/** `state` with provisional ids replaced by those the server gave. */
function renamed(state, ids) {
  if (!Object.keys(ids).length) return state;
  const real = (id) => ids[id] ?? id;
  const inRecord = (clips) => clips.map((clip) => ({ ...clip, id: real(clip.id), grouped_with_clip_id: real(clip.grouped_with_clip_id) ?? null }));
  return {
    ...state,
    queue: state.queue.map(real),
    current: real(state.current),
    records: Object.fromEntries(
      Object.entries(state.records).map(([key, record]) => [key, { ...record, before: inRecord(record.before), after: inRecord(record.after) }]),
    ),
    pending: state.pending.map((decision) => ({
      ...decision,
      clip_id: real(decision.clip_id),
      versions: Object.fromEntries(Object.entries(decision.versions ?? {}).map(([id, version]) => [real(id), version])),
    })),
  };
}

/** `state` with a decision laid on, and the stage moved to where the reviewer goes on. */
function advanced(state, decision) {
  const next = { ...state, pending: [...state.pending, decision], log: [...state.log, logged(decision)] };
  const record = visible(next).records.get(decision.request_key);
  if (!record) return next;
  const { clips } = visible(next);
  const kind = record.of ?? record.action;
  const simple = kind in DECIDED;
  const before = record.before.map((clip) => clip.id);
  const after = record.after.map((clip) => clip.id);
  if (decision.action === "move_cut_point") return next;
  if (decision.action === "undo" || !simple) {
    // Back to what was undone, or on with the clips that the cut has made.
    const place = next.queue.findIndex((id) => before.includes(id) || after.includes(id));
    const shown = kind === "group" ? after.at(-1) : after.includes(state.current) ? state.current : after[0];
    const rest = next.queue.filter((id) => !before.includes(id) && !after.includes(id));
    const at = decision.action === "undo" || place < 0 ? 0 : Math.min(place, rest.length);
    const waiting = after.filter((id) => clips.get(id).state === WAITING || id === shown);
    return { ...next, queue: [...rest.slice(0, at), ...waiting, ...rest.slice(at)], current: shown };
  }
  const decided = kind === "group" ? after.at(-1) : after[0];
  if (state.current !== decided && decision.action !== "redo") return next;
  return onward(next, decided);
}

/** The next clip that waits, from the place of `decided` in the queue on, then from the top. */
function onward(state, decided) {
  const { clips } = visible(state);
  const place = state.queue.indexOf(decided);
  const order = [...state.queue.slice(place + 1), ...state.queue.slice(0, Math.max(place, 0))];
  const current = order.find((id) => clips.get(id)?.state === WAITING) ?? null;
  return { ...state, current, queue: state.queue.filter((id) => clips.get(id)?.state === WAITING) };
}

/** After an answer to an undo or redo that could not be foreseen: the first clip that it changed. */
function follow(state, answer) {
  const changed = answer.clips.find((clip) => (answer.changed ?? [clip.id]).includes(clip.id)) ?? answer.clips[0];
  return { ...state, current: changed.id, queue: unique([changed.id, ...state.queue]) };
}

/** `state` with a clip on the stage if there is any: the same place in the same video when the current clip is gone, else the next that waits. */
function settled(state, before) {
  const { clips } = visible(state);
  if (clips.has(state.current)) return state;
  const old = before.current === null ? null : visible(before).clips.get(before.current);
  const heir = state.current !== null && old ? clipAt(clips, old.source_video_id, old.start_frame) : null;
  const current = heir?.id ?? state.queue.find((id) => clips.get(id)?.state === WAITING) ?? null;
  const queue = heir ? unique(state.queue.map((id) => (id === state.current ? heir.id : id))) : state.queue;
  return { ...state, current, queue };
}
