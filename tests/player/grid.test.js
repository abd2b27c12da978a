import assert from "node:assert/strict";
import { test } from "node:test";

import { answered, Undelivered } from "../../review_app/grid/static/delivery.js";
import { placeBeside } from "../../review_app/grid/static/elements.js";
import { MemoryStorage } from "../../review_app/player/static/outbox.js";

const skip = (key) => ({ decision: { request_key: key, action: "skip", clip_ids: [1, 2] }, told: "2 clips skipped.", undoKey: key });
const keyOf = (entry) => entry?.decision.request_key;

/** What becomes of a decision whose sendings are answered by `answers`, one after the other: a status, a [status, body], or an Error. */
async function sent(...answers) {
  const seen = { keys: [], waits: [], told: [] };
  const send = async (decision) => {
    seen.keys.push(decision.request_key);
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    const [status, body] = Array.isArray(answer) ? answer : [answer, {}];
    return new Response(JSON.stringify(body), { status });
  };
  const result = await answered(skip("k").decision, {
    send,
    onWait: (error, status) => seen.told.push([error, status]),
    wait: async (ms) => seen.waits.push(ms),
  });
  return { ...seen, result };
}

test("a decision is sent until there is an answer, under one key", async () => {
  const { keys, waits, result } = await sent(...Array(30).fill(new TypeError("Failed to fetch")), 503, 200);
  assert.deepEqual(result, { ok: true });
  assert.deepEqual([keys.length, new Set(keys).size, waits.length], [32, 1, 31]);
  assert.equal(waits.at(-1), 12_000);
});

test("a refused token is no answer", async () => {
  const { told, result } = await sent([401, { error: "signed out" }], 200);
  assert.deepEqual(told, [["signed out", 401]]);
  assert.ok(result.ok);
});

test("a no of the server is an answer, in its words", async () => {
  const { keys, result } = await sent([409, { error: "Ada was faster" }], 200);
  assert.deepEqual(result, { ok: false, error: "Ada was faster" });
  assert.equal(keys.length, 1);
});

test("a page that is no answer of the server is not taken for one", async () => {
  const html = new Response("<html>", { status: 200 });
  let asked = 0;
  const send = async () => (asked++ ? new Response("{}", { status: 200 }) : html);
  assert.ok((await answered({}, { send, onWait: () => {}, wait: async () => {} })).ok);
  assert.equal(asked, 2);
});

test("what is undelivered outlives the page, oldest first, and nobody else's is touched", () => {
  const storage = new MemoryStorage();
  storage.setItem("heaters.grid/1/damaged", "{half");
  const first = new Undelivered(1, storage);
  assert.ok(first.add(skip("b")));
  assert.ok(first.add(skip("a")));
  new Undelivered(2, storage).add(skip("other"));
  const next = new Undelivered(1, storage);
  const entry = next.first();
  assert.deepEqual([keyOf(entry), entry.told, entry.undoKey], ["b", "2 clips skipped.", "b"]);
  next.remove(entry);
  assert.equal(keyOf(next.first()), "a");
  next.remove(next.first());
  assert.equal(next.first(), undefined);
  assert.equal(new Undelivered(1, storage).first(), undefined);
  assert.equal(keyOf(new Undelivered(2, storage).first()), "other");
});

test("a storage that is full or switched off keeps a decision as long as the page", () => {
  const full = new MemoryStorage();
  full.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  for (const storage of [full, null]) {
    const undelivered = new Undelivered(1, storage);
    assert.equal(undelivered.add(skip("a")), false);
    assert.equal(keyOf(undelivered.first()), "a");
    undelivered.remove(undelivered.first());
    assert.equal(undelivered.first(), undefined);
  }
});

test("an arrow leads to the card beside, above or below, and stays at the edge", () => {
  const middles = [[0, 0], [10, 0], [20, 0], [0, 50], [10, 50]].map(([x, y]) => ({ x, y }));
  const to = (place, ...ways) => ways.reduce((at, way) => placeBeside(middles, at, way), place);
  assert.deepEqual([to(0, "right"), to(2, "right"), to(4, "right"), to(0, "left")], [1, 3, 4, 0]);
  assert.deepEqual([to(1, "down"), to(2, "down"), to(4, "down"), to(4, "up"), to(0, "up")], [4, 4, 4, 1, 0]);
  assert.deepEqual([to(2, "last"), to(2, "first")], [4, 0]);
});

test("what the server says of a selection is what is said", async () => {
  const { result } = await sent([200, { ok: true, told: "19,997 clips approved." }]);
  assert.deepEqual(result, { ok: true, told: "19,997 clips approved." });
});
