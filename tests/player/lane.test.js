import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { claimedLane, takenOver } from "../../review_app/player/static/decisions/lane.js";
import { Outbox } from "../../review_app/player/static/decisions/outbox.js";
import { MemoryStorage } from "../../review_app/player/static/decisions/storage.js";
import { FakeLocks } from "./fake_locks.js";

const browser = (locks) => Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
const turn = () => new Promise(setImmediate);
const MINUTE = 60_000;

/** A page load in a tab; a duplicated tab begins with a copy of `storage`. */
class PageLoad extends AbortController {
  constructor({ shared, storage = new MemoryStorage() }) {
    super();
    Object.assign(this, { shared, storage, events: new EventTarget() });
  }

  get #options() {
    globalThis.addEventListener = this.events.addEventListener.bind(this.events);
    return { reviewer: "1", release: this.signal, shared: this.shared };
  }

  claim() {
    return claimedLane({ ...this.#options, storage: this.storage });
  }

  takeOver(lane) {
    return takenOver({ ...this.#options, lane });
  }

  hide() {
    this.events.dispatchEvent(new Event("pagehide"));
  }
}

function copyOf(storage) {
  const copy = new MemoryStorage();
  for (let n = 0; n < storage.length; n++) copy.setItem(storage.key(n), storage.getItem(storage.key(n)));
  return copy;
}

let shared;
beforeEach(() => {
  shared = new MemoryStorage();
  mock.timers.enable({ apis: ["setInterval", "Date"], now: 10 * MINUTE });
});
afterEach(() => mock.timers.reset());

test("with locks a reload keeps the lane, and a duplicated tab gets one of its own", async () => {
  browser(new FakeLocks());
  const first = new PageLoad({ shared });
  const lane = await first.claim();
  const duplicate = new PageLoad({ shared, storage: copyOf(first.storage) });
  assert.notEqual(await duplicate.claim(), lane);
  first.abort();
  await turn();
  assert.equal(await new PageLoad({ shared, storage: first.storage }).claim(), lane);
  assert.equal(shared.length, 0);
});

test("with locks a lane in use is not taken over, one that was let go is", async () => {
  browser(new FakeLocks());
  const [first, second] = [new PageLoad({ shared }), new PageLoad({ shared })];
  const lane = await first.claim();
  assert.equal(await second.takeOver(lane), false);
  first.abort();
  await turn();
  assert.equal(await second.takeOver(lane), true);
});

test("without locks every page load has a lane of its own, a duplicated tab's too", async () => {
  browser(undefined);
  const first = new PageLoad({ shared });
  const lanes = [await first.claim(), await new PageLoad({ shared, storage: copyOf(first.storage) }).claim(), await first.claim()];
  assert.equal(new Set(lanes).size, 3);
});

test("without locks a duplicated tab's decisions have keys of their own", async () => {
  browser(undefined);
  const first = new PageLoad({ shared });
  const lanes = [await first.claim(), await new PageLoad({ shared, storage: copyOf(first.storage) }).claim()];
  const boxes = lanes.map((lane) => new Outbox({ storage: shared, reviewer: "1", lane, onState: () => {} }));
  const keys = boxes.map((box) => box.add({ action: "approve", clip_id: 1 }).request_key);
  assert.equal(new Set(keys).size, 2);
  assert.equal(boxes[0].otherLanes().length, 1, "both are in the storage");
});

test("without locks the lane of a page that lives is left alone, however long it lives", async () => {
  browser(undefined);
  const [first, second] = [new PageLoad({ shared }), new PageLoad({ shared })];
  const lane = await first.claim();
  mock.timers.tick(5 * MINUTE);
  assert.equal(await second.takeOver(lane), false);
});

test("without locks the lane of a page that was left, closed or has crashed is taken over, by one page", async () => {
  browser(undefined);
  const [left, closed, next, later] = Array.from({ length: 4 }, () => new PageLoad({ shared }));
  const lanes = [await left.claim(), await closed.claim(), "crashed"];
  shared.setItem("heaters.lane/1/crashed", String(Date.now() - 2 * MINUTE));
  left.hide();
  closed.abort();
  for (const lane of lanes) assert.equal(await next.takeOver(lane), true);
  for (const lane of lanes) assert.equal(await later.takeOver(lane), false);
});

test("without locks nothing stays in the storage of pages that are gone", async () => {
  browser(undefined);
  shared.setItem("heaters.lane/1/crashed", String(Date.now() - 2 * MINUTE));
  const page = new PageLoad({ shared });
  await page.claim();
  assert.equal(shared.length, 1);
  page.abort();
  assert.equal(shared.length, 0);
});

test("storage that is switched off or full gives a lane all the same", async () => {
  browser(undefined);
  const full = new MemoryStorage();
  full.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  assert.ok(await new PageLoad({ shared: full, storage: full }).claim());
  assert.ok(await new PageLoad({ shared: null, storage: null }).claim());
});
