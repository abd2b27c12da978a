import assert from "node:assert/strict";
import { test } from "node:test";

import { informed, Outbox, Refusal } from "../../review_app/player/static/decisions/outbox.js";
import { lesson } from "../../review_app/player/static/decisions/review_state.js";
import { MemoryStorage } from "../../review_app/player/static/decisions/storage.js";

const soon = () => new Promise((done) => setTimeout(done, 5));

/** An outbox whose server is `answer(decision, nth)`; everything that happens lands in `seen`. */
function outbox(answer, { storage = new MemoryStorage(), lane = "tab" } = {}) {
  const seen = { sent: [], confirmed: [], refused: [], states: [] };
  const box = new Outbox({
    storage,
    reviewer: "1",
    lane,
    send: async (decision) => {
      seen.sent.push(structuredClone(decision));
      return answer(decision, seen.sent.length);
    },
    learn: lesson,
    onConfirmed: (decision, reply) => seen.confirmed.push([decision.request_key, reply]),
    onRefused: (decision, refusal, dropped) => seen.refused.push([decision.request_key, refusal.code, dropped.map((one) => one.request_key)]),
    onState: (state) => seen.states.push(state),
  });
  return { box, seen, storage };
}

const approve = (id, version = 1) => ({ action: "approve", clip_id: id, versions: { [id]: version } });
const clip = (id, start, end, version = 1) => ({ id, source_video_id: 1, start_frame: start, end_frame: end, version });

async function drained(box) {
  for (let i = 0; i < 400 && box.decisions.length; i++) await soon();
  assert.equal(box.decisions.length, 0);
}

test("a burst is sent one by one, in order, under different keys", async () => {
  let running = 0;
  const { box, seen } = outbox(async () => {
    assert.equal(++running, 1, "one at a time");
    await soon();
    running--;
    return { clips: [] };
  });
  box.start();
  for (const id of [5, 6, 7, 8]) box.add(approve(id));
  await drained(box);
  assert.deepEqual(seen.sent.map((one) => one.clip_id), [5, 6, 7, 8]);
  assert.equal(new Set(seen.sent.map((one) => one.request_key)).size, 4);
  assert.equal(seen.states.at(-1).waiting, 0);
});

test("without an answer the same decision is sent again under the same key", async () => {
  const { box, seen } = outbox((decision, nth) => {
    if (nth < 3) throw new Error("down");
    return { clips: [] };
  });
  box.start();
  box.add(approve(5));
  for (let i = 0; i < 3; i++) {
    await soon();
    box.poke();
  }
  await drained(box);
  assert.deepEqual(new Set(seen.sent.map((one) => one.request_key)).size, 1);
  assert.equal(seen.sent.length, 3);
  assert.ok(seen.states.some((state) => state.failures === 2 && state.message === "down"));
});

test("one reset connection is passed over without a word", async () => {
  const { box, seen } = outbox((decision, nth) => {
    if (nth === 1) throw new Error("No connection to the server.");
    return { clips: [] };
  });
  box.start();
  box.add(approve(5));
  await soon();
  box.poke();
  await drained(box);
  assert.equal(seen.sent.length, 2);
  assert.ok(seen.states.every((state) => state.failures === 0 && state.message === null));
});

test("what a reload interrupts is sent by the next page, and numbers go on", async () => {
  const storage = new MemoryStorage();
  const first = outbox(() => new Promise(() => {}), { storage });
  first.box.start();
  const keys = [5, 6].map((id) => first.box.add(approve(id)).request_key);
  const second = outbox(() => ({ clips: [] }), { storage });
  assert.deepEqual(second.box.decisions.map((one) => one.request_key), keys);
  second.box.start();
  const key = second.box.add(approve(7)).request_key;
  await drained(second.box);
  assert.deepEqual(second.seen.sent.map((one) => one.request_key), [...keys, key]);
  assert.equal(outbox(() => ({}), { storage }).box.decisions.length, 0);
  assert.notEqual(outbox(() => ({}), { storage }).box.nextKey, key, "a key is never used again");
});

test("a closed tab's decisions are taken over before ours", async () => {
  const storage = new MemoryStorage();
  const left = outbox(() => ({}), { storage, lane: "old" }).box.add(approve(1));
  const { box, seen } = outbox(() => ({ clips: [] }), { storage, lane: "new" });
  const ours = box.add(approve(2));
  assert.deepEqual(box.otherLanes(), ["old"]);
  box.adopt("old");
  assert.deepEqual(box.adopt("old"), [], "once");
  box.start();
  await drained(box);
  assert.deepEqual(seen.sent.map((one) => one.request_key), [left.request_key, ours.request_key]);
  assert.deepEqual(box.otherLanes(), []);
});

test("ids and versions that an answer brings reach the decisions behind it", async () => {
  const answers = {
    add_cut_point: { clips: [clip(21, 0, 10), clip(22, 10, 40)], versions: { 21: 1, 22: 1 } },
    approve: { clips: [clip(21, 0, 10, 9)], versions: { 21: 2 } }, // a replay: a colleague has changed the clip since, unseen
    skip: { clips: [clip(22, 10, 40, 2)], versions: { 22: 2 } },
    undo: { clips: [clip(21, 0, 10, 3)], versions: { 21: 3 } },
  };
  const { box, seen } = outbox((decision) => answers[decision.action]);
  const key = box.nextKey;
  box.add({ action: "add_cut_point", clip_id: 5, source_video_id: 1, frame: 10, versions: { 5: 3 }, makes: [[0, 10], [10, 40]] });
  const approval = box.add({ action: "approve", clip_id: `~${key}/0`, source_video_id: 1, versions: { [`~${key}/0`]: null } });
  box.add({ action: "undo", target: approval.request_key, versions: { [`~${key}/0`]: null } });
  box.add({ action: "skip", clip_id: `~${key}/1`, source_video_id: 1, versions: { [`~${key}/1`]: null } });
  box.start();
  await drained(box);
  assert.deepEqual(seen.sent.map((one) => [one.action, one.clip_id, one.versions]), [
    ["add_cut_point", 5, { 5: 3 }],
    ["approve", 21, { 21: 1 }],
    ["undo", undefined, { 21: 2 }],
    ["skip", 22, { 22: 1 }],
  ]);
});

test("a version that the reviewer saw is never replaced by a newer one", () => {
  const decision = { clip_id: 5, versions: { 5: 3, 6: null } };
  assert.deepEqual(informed(decision, { ids: {}, versions: { 5: 9, 6: 2 } }).versions, { 5: 3, 6: 2 });
});

test("a refusal takes the decisions that rest on it along, and no others", async () => {
  const { box, seen } = outbox((decision) => {
    if (decision.action === "add_cut_point") throw new Refusal("Ada was faster", "stale", { clips: [] });
    return { clips: [] };
  });
  const key = box.nextKey;
  const half = approve(`~${key}/0`, null);
  const cut = box.add({ action: "add_cut_point", clip_id: 5, versions: { 5: 1 }, makes: [[0, 10], [10, 40]] }).request_key;
  const onHalf = box.add(half).request_key;
  const other = box.add(approve(9)).request_key;
  const undo = box.add({ action: "undo", target: onHalf, versions: {} }).request_key;
  const again = box.add(approve(5)).request_key;
  box.start();
  await drained(box);
  assert.deepEqual(seen.refused, [[cut, "stale", [onHalf, undo, again]]]);
  assert.deepEqual(seen.confirmed.map(([one]) => one), [other]);
});

test("a full storage is said, and the decision still goes out", async () => {
  const storage = new MemoryStorage();
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const { box, seen } = outbox(() => ({ clips: [] }), { storage });
  box.start();
  box.add(approve(5));
  assert.equal(box.kept, false);
  await drained(box);
  assert.equal(seen.sent.length, 1);
});

test("a storage that takes nothing brings no request key back after a reload", async () => {
  const storage = new MemoryStorage();
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const keys = [1, 2].map(() => outbox(() => ({}), { storage }).box.add(approve(5)).request_key);
  assert.notEqual(keys[0], keys[1]);
});

test("nothing is left in the storage of decisions that were answered", async () => {
  const storage = new MemoryStorage();
  for (let page = 0; page < 3; page++) {
    const { box } = outbox(() => ({ clips: [] }), { storage, lane: `tab${page}` });
    box.start();
    for (let id = 1; id < 5; id++) box.add(approve(id));
    await drained(box);
  }
  assert.equal(storage.length, 0);
});

test("what is damaged in the storage is left alone and stops nothing", () => {
  const storage = new MemoryStorage();
  storage.setItem("heaters.outbox/1/tab/000000001", "{half");
  storage.setItem("heaters.outbox/2/tab/000000001", JSON.stringify(approve(1)));
  assert.deepEqual(outbox(() => ({}), { storage }).box.decisions, []);
});

test("after the page is left its decisions go on their way; a no stays stored for the next page", async () => {
  const storage = new MemoryStorage();
  let free;
  const held = new Promise((done) => (free = done));
  const left = outbox(async (decision) => {
    await held;
    if (decision.clip_id === 6) throw new Refusal("changed", "stale");
    return { clips: [] };
  }, { storage });
  left.box.start();
  for (const id of [5, 6, 7]) left.box.add(approve(id));
  const over = left.box.leave();
  free();
  await over;
  assert.deepEqual(left.seen.sent.map((one) => one.clip_id), [5, 6]);
  assert.deepEqual([left.seen.confirmed, left.seen.refused], [[], []], "nobody is there to be told");
  const next = outbox((decision) => {
    if (decision.clip_id === 6) throw new Refusal("changed", "stale");
    return { clips: [] };
  }, { storage });
  next.box.start();
  await drained(next.box);
  assert.deepEqual(next.seen.sent.map((one) => one.clip_id), [6, 7]);
  assert.equal(next.seen.refused.length, 1);
});
