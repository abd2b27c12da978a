import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Delivery } from "../../review_app/player/static/decisions/delivery.js";
import { Refusal } from "../../review_app/player/static/decisions/outbox.js";
import { NotSignedInError, ReviewApi } from "../../review_app/player/static/decisions/review_api.js";
import { MemoryStorage } from "../../review_app/player/static/decisions/storage.js";
import { FakeLocks } from "./fake_locks.js";

const SKIP = { action: "skip", clip_ids: [1, 2], versions: { 1: 4, 2: 4 } };
const turns = async () => {
  for (let n = 0; n < 20; n++) await new Promise(setImmediate);
};

let shared; // the browser's storage
let server; // what it answers; it throws while there is an outage
let events;
let pages;
beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  shared = storageOfBrowser();
  server = () => ({ ok: true });
  events = new EventTarget();
  globalThis.addEventListener = events.addEventListener.bind(events);
  pages = [];
  newLocks();
});
afterEach(() => {
  for (const page of pages) page.delivery.close();
  mock.timers.reset();
});

/** All tabs that were open are closed or have crashed: their locks are free. */
function newLocks() {
  Object.defineProperty(globalThis, "navigator", { value: { locks: new FakeLocks() }, configurable: true });
}

/** As localStorage: no MemoryStorage, which is lost with the page. */
function storageOfBrowser() {
  const items = new MemoryStorage();
  return {
    get length() {
      return items.length;
    },
    key: (n) => items.key(n),
    getItem: (name) => items.getItem(name),
    setItem: (name, value) => items.setItem(name, value),
    removeItem: (name) => items.removeItem(name),
  };
}

/** A page on which somebody decides: what it sent, restored and was told. */
async function opened({ kind = "grid", reviewer = 1, storage = shared } = {}) {
  const page = { sent: [], restored: [], confirmed: [], refused: [], dead: false };
  page.delivery = new Delivery({
    kind,
    reviewer,
    storage,
    send: async (decision) => {
      if (page.dead) return new Promise(() => {});
      page.sent.push(decision.request_key);
      return server(decision);
    },
    onRestored: (decisions) => page.restored.push(...decisions.map((one) => one.request_key)),
    onConfirmed: (decision) => page.confirmed.push(decision.request_key),
    onRefused: (decision, refusal) => page.refused.push([decision.request_key, refusal.message]),
  });
  pages.push(page);
  await page.delivery.open();
  await turns();
  return page;
}

const outage = () => {
  throw new Error("No connection to the server.");
};

test("what a closed tab has left is delivered by the next page of its kind, under its key, and by nobody else's", async () => {
  server = outage;
  const first = await opened();
  const { request_key: key } = first.delivery.outbox.add(SKIP);
  await turns();
  first.dead = true;
  newLocks();
  server = () => ({ ok: true });
  const [player, bobs] = [await opened({ kind: "outbox" }), await opened({ reviewer: 2 })];
  assert.deepEqual([...player.sent, ...bobs.sent], []);
  const next = await opened();
  assert.deepEqual([next.restored, next.sent, next.confirmed], [[key], [key], [key]]);
  assert.equal(shared.length, 0);
});

test("a tab that is closed while another is open is taken over by that one", async () => {
  server = outage;
  const [first, second] = [await opened(), await opened()];
  const { request_key: key } = first.delivery.outbox.add(SKIP);
  await turns();
  mock.timers.tick(4000);
  await turns();
  assert.deepEqual(second.restored, [], "it lives, and sends by itself");
  first.delivery.close(); // the second one is the document's page by now
  server = () => ({ ok: true });
  await turns();
  mock.timers.tick(4000);
  await turns();
  assert.deepEqual([second.restored, second.confirmed], [[key], [key]]);
});

test("a page that is left sends on until the next page of its kind takes over", async () => {
  server = outage;
  const first = await opened();
  const { request_key: key } = first.delivery.outbox.add(SKIP);
  await turns();
  first.delivery.close();
  const player = await opened({ kind: "outbox" });
  mock.timers.tick(400);
  await turns();
  assert.equal(first.sent.length, 2, "sent on, though the page is gone");
  const next = await opened();
  mock.timers.tick(20_000);
  await turns();
  assert.equal(first.sent.length, 2, "no longer");
  assert.deepEqual([player.restored, next.restored], [[], [key]]);
  server = () => ({ ok: true });
  mock.timers.tick(20_000);
  await turns();
  assert.deepEqual(next.confirmed, [key]);
});

test("a refusal is told to the page that is there", async () => {
  server = () => {
    throw new Refusal("Ada was faster", "stale");
  };
  const page = await opened();
  const { request_key: key } = page.delivery.outbox.add(SKIP);
  await turns();
  assert.deepEqual(page.refused, [[key, "Ada was faster"]]);
});

test("the connection that is back is used at once", async () => {
  server = outage;
  const page = await opened();
  page.delivery.outbox.add(SKIP);
  await turns();
  server = () => ({ ok: true });
  events.dispatchEvent(new Event("online"));
  await turns();
  assert.equal(page.confirmed.length, 1);
});

test("where the browser keeps nothing, a page with undelivered decisions asks before it is left", async () => {
  server = outage;
  const page = await opened({ storage: new MemoryStorage() });
  const asks = () => !events.dispatchEvent(new Event("beforeunload", { cancelable: true }));
  assert.equal(asks(), false);
  page.delivery.outbox.add(SKIP);
  assert.equal(asks(), true);
});

/** What becomes of a decision that is answered by `response`. */
async function answered(response) {
  const asked = { signedOut: 0 };
  const api = new ReviewApi({ config: { decisions_url: "/d", token: "t" }, fetch: async () => response, onSignedOut: () => asked.signedOut++ });
  const outcome = await api.decide(SKIP).catch((error) => error);
  return { ...asked, outcome };
}

test("only a no of the server in words is a refusal; a refused token, a foreign page or a fault is tried again", async () => {
  const json = (status, body) => answered(new Response(JSON.stringify(body), { status }));
  assert.deepEqual((await json(200, { told: "19,997 clips approved." })).outcome, { told: "19,997 clips approved." });
  const { outcome: no } = await json(409, { error: "Ada was faster", code: "stale" });
  assert.ok(no instanceof Refusal);
  assert.deepEqual([no.message, no.code], ["Ada was faster", "stale"]);
  const token = await json(401, { error: "signed out" });
  assert.ok(token.outcome instanceof NotSignedInError);
  assert.equal(token.signedOut, 1);
  const others = [await json(503, { error: "down" }), await json(409, {}), await answered(new Response("<html>", { status: 200 }))];
  for (const { outcome } of others) assert.ok(outcome instanceof Error && !(outcome instanceof Refusal));
});
