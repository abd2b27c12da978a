// What the reviewer sees, as a pure function of what the server said and of the decisions it has not answered yet.
//
// `clips` is what the server said. The decisions without an answer are applied to it (`visible`), so a decision shows at once, and an answer
// replaces the guess. After a refusal nothing needs to be undone: the decision is dropped, and the others are applied to the fresh clips.

import { around } from "./cut_kind.js";
import { provisionalId } from "./outbox.js";

export const WAITING = "pending_review";
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
  hasDecided: false, // whether the server knows of a decision of the reviewer, on any page
  me: null, // id of the reviewer
  news: {}, // clip id -> {by, was}: changed by a colleague, `was` before, while the reviewer had it on the page; until it is said
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
          made(0, whole.start_frame, decision.frame, { end_confidence: null, end_kind: null, cut: around(whole.cut, whole.start_frame, 0, decision.frame) }),
          made(1, decision.frame, whole.end_frame, { start_confidence: null, start_kind: null, cut: { kind: "hand", first_frame: null, last_frame: null } }),
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
        end_kind: right.end_kind ?? null,
        state: WAITING,
        version: null,
        grouped_with_clip_id: null,
      };
      return { action, before: [left, right], after: [joined] };
    }
    case "move_cut_point": {
      const [left, right] = clipsMeetingAt(clips, decision.source_video_id, decision.frame);
      if (!left || !right) return null;
      const to = decision.new_frame;
      return {
        action,
        before: [left, right],
        after: [
          changed(left, { end_frame: to, cut: around(left.cut, left.start_frame, 0, to) }),
          changed(right, { start_frame: to, cut: around(right.cut, to, left.start_frame, right.end_frame) }),
        ],
      };
    }
    case "edit_cut": {
      const [left, right] = clipsMeetingAt(clips, decision.source_video_id, decision.frame);
      if (!left || !right) return null;
      const { kind, first_frame, last_frame } = decision;
      return { action, before: [left, right], after: [changed(left, {}), changed(right, { cut: { kind, first_frame, last_frame } })] };
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

export function clipEndingAt(clips, videoId, frame) {
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

/** Clips after the current one that still wait for a decision, in order; those that the reviewer left undecided come last. */
export function upcoming(state) {
  const { clips } = visible(state);
  return after(state, state.current)
    .filter((id) => clips.get(id)?.state === WAITING)
    .map((id) => clips.get(id));
}

/**
 * The queue with `ids` just before the current clip: what comes after them stays the same, and what was left undecided stays the last.
 * gone: what they replace.
 */
function besideCurrent(state, ids, gone = []) {
  const place = Math.max(state.queue.indexOf(state.current), 0);
  const others = (part) => part.filter((id) => !ids.includes(id) && !gone.includes(id));
  return [...others(state.queue.slice(0, place)), ...ids, ...others(state.queue.slice(place))];
}

/** The queue from the place behind `id` on, then from the top. */
function after(state, id) {
  const place = state.queue.indexOf(id);
  return [...state.queue.slice(place + 1), ...state.queue.slice(0, Math.max(place, 0))];
}

/** How many waiting clips the reviewer has left undecided: they are before the current one. */
export function passedOver(state) {
  const { clips } = visible(state);
  const place = state.queue.indexOf(state.current);
  return state.queue.slice(0, Math.max(place, 0)).filter((id) => clips.get(id)?.state === WAITING).length;
}

/** {done, left, per_hour} with the decisions under way counted. */
export function progressShown(state) {
  if (!state.progress) return null;
  const waiting = (clips) => clips.filter((clip) => clip.state === WAITING).length;
  const difference = waiting([...visible(state).clips.values()]) - waiting(Object.values(state.clips));
  return { ...state.progress, done: Math.max(0, state.progress.done - difference), left: Math.max(0, state.progress.left + difference) };
}

/** Whether a decision is an undo or a redo. */
export const isReturn = ({ action }) => action === "undo" || action === "redo";

/**
 * What an answer teaches the decisions behind it: ids of the clips this one made, and versions after it. The server's `versions` are those the
 * decision itself left, also when a colleague has changed the clips since: the reviewer has not seen that.
 */
export function lesson(decision, answer) {
  const ids = {};
  const seen = Object.entries(decision.versions ?? {}).filter(([, version]) => version !== null);
  const versions = { ...Object.fromEntries(seen), ...answer.versions };
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
  if (event.type === "told") return { ...state, news: {} };
  return withNews(state, step(state, event));
}

/**
 * `next` with what colleagues have changed under the reviewer's eyes: the clip on the stage and those beside it. A clip that comes to the
 * stage later is looked at as it is then. What lies in the place of the clip on the stage, when somebody has cut it anew, is news too.
 */
function withNews(state, next) {
  const seen = scene(state);
  if (!seen || next.clips === state.clips) return next.current === state.current ? next : { ...next, news: {} };
  const theirs = (clip) => clip?.changed_by && next.me !== null && clip.changed_by.id !== next.me;
  const news = next.current === state.current ? { ...state.news } : {};
  for (const clip of next.current === state.current ? [seen.clip, seen.previous, seen.next] : []) {
    const [old, fresh] = [state.clips[clip?.id], next.clips[clip?.id]];
    if (old && fresh && fresh.version > old.version && theirs(fresh)) news[fresh.id] = { by: fresh.changed_by.name, was: news[fresh.id]?.was ?? old };
  }
  const heir = next.current === state.current ? null : next.clips[next.current];
  const replaced = heir && state.clips[state.current] && !next.clips[state.current] && !state.clips[heir.id];
  if (replaced && theirs(heir)) news[heir.id] = { by: heir.changed_by.name, was: null };
  return { ...next, news };
}

function step(state, event) {
  switch (event.type) {
    case "queue_loaded": {
      const merged = withServer(state, event.answer);
      const rest = event.fresh ? [] : merged.queue;
      const kept = event.fresh ? null : merged.current;
      // The current clip keeps its place: those before it were left undecided.
      const queue = unique([...(event.front ?? []), ...(kept && !rest.includes(kept) ? [kept] : []), ...rest, ...event.answer.queue]);
      const exhausted = event.answer.queue.length === 0 || Boolean(event.answer.exhausted);
      return settled({ ...merged, queue, current: kept, exhausted, hasDecided: Boolean(event.answer.has_decided) }, state);
    }
    case "passed":
      return settled({ ...state, current: event.id, queue: state.queue.includes(event.id) ? state.queue : besideCurrent(state, [event.id]) }, state);
    case "opened":
      return settled({ ...state, current: event.id, queue: besideCurrent(state, [event.id]) }, state);
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
      // An action that could not be undone or redone is left out from now on: the next press goes on to the one before.
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
  if (["move_cut_point", "edit_cut"].includes(decision.action)) return next;
  if (decision.action === "undo" || !simple) {
    // Back to what was undone, or on with the clips that the cut has made.
    const place = next.queue.findIndex((id) => before.includes(id) || after.includes(id));
    const shown = kind === "group" ? after.at(-1) : after.includes(state.current) ? state.current : after[0];
    const rest = next.queue.filter((id) => !before.includes(id) && !after.includes(id));
    const at = place < 0 ? 0 : Math.min(place, rest.length);
    const waiting = after.filter((id) => clips.get(id).state === WAITING || id === shown);
    const made = [...rest.slice(0, at), ...waiting, ...rest.slice(at)];
    return { ...next, queue: decision.action === "undo" ? besideCurrent(next, waiting, [...before, ...after]) : made, current: shown };
  }
  const decided = kind === "group" ? after.at(-1) : after[0];
  if (state.current !== decided && decision.action !== "redo") return next;
  return onward(next, decided);
}

/** The next clip that waits, from the place of `decided` in the queue on, then from the top. */
function onward(state, decided) {
  const { clips } = visible(state);
  const current = after(state, decided).find((id) => clips.get(id)?.state === WAITING) ?? null;
  return { ...state, current, queue: state.queue.filter((id) => clips.get(id)?.state === WAITING) };
}

/** After an answer to an undo or redo that could not be foreseen: the first clip that it changed. */
function follow(state, answer) {
  const changed = answer.clips.find((clip) => (answer.changed ?? [clip.id]).includes(clip.id)) ?? answer.clips[0];
  // What is decided again needs no look: on to what waits, as after a first decision.
  if (answer.action === "redo" && visible(state).clips.get(changed.id)?.state !== WAITING) return onward(state, changed.id);
  return { ...state, current: changed.id, queue: besideCurrent(state, [changed.id]) };
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
