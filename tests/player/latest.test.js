import assert from "node:assert/strict";
import { test } from "node:test";

import { Latest } from "../../review_app/player/static/picture/latest.js";
import { framesAround } from "../../review_app/player/static/picture/exact_player.js";
import { FrameCache } from "../../review_app/player/static/picture/frame_cache.js";

test("the running request finishes, the newest follows, those between are passed over", async () => {
  const done = [];
  const latest = new Latest(async (value) => {
    await null;
    done.push(value);
  });
  const answers = await Promise.all([1, 2, 3, 4].map((value) => latest.ask(value)));
  assert.deepEqual(done, [1, 4]);
  assert.deepEqual(answers, [true, false, false, true]);
});

test("a failure reaches its asker and does not stop the next", async () => {
  const latest = new Latest(async (value) => {
    if (value === 1) throw new Error("no");
  });
  const first = latest.ask(1);
  const second = latest.ask(2);
  await assert.rejects(first, /no/);
  assert.equal(await second, true);
});

test("frames around are in the clip, in the direction of the last step first", () => {
  assert.deepEqual(framesAround(100, 1, 0, 1000).slice(0, 3), [101, 102, 103]);
  assert.deepEqual(framesAround(100, -10, 0, 1000).slice(0, 3), [90, 80, 70]);
  assert.ok(framesAround(100, 400, 0, 1000).includes(101), "a jump is no stride");
  assert.deepEqual(framesAround(0, 1, 0, 2), [1]);
  assert.deepEqual(framesAround(5, 1, 5, 6), []);
});

test("the cache closes what it drops, oldest use first, and keeps the two newest", () => {
  const closed = [];
  const picture = (name) => ({ width: 10, height: 10, close: () => closed.push(name) });
  const cache = new FrameCache({ budgetBytes: 1000 });
  cache.set("a", picture("a"));
  cache.set("b", picture("b"));
  cache.get("a");
  cache.set("c", picture("c"));
  assert.deepEqual(closed, ["b"]);
  const tight = new FrameCache({ budgetBytes: 1 });
  for (const name of ["x", "y", "z"]) tight.set(name, picture(name));
  assert.deepEqual(closed, ["b", "x"]);
  assert.equal(tight.size, 2);
  cache.clear();
  assert.deepEqual(closed, ["b", "x", "a", "c"]);
});
