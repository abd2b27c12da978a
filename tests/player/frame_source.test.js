import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameCache } from "../../review_app/player/static/picture/frame_cache.js";
import { FrameSource } from "../../review_app/player/static/picture/frame_source.js";

class Picture {
  displayWidth = 64;
  displayHeight = 48;
  closed = false;

  constructor(frame) {
    this.frame = frame;
  }

  close() {
    this.closed = true;
  }
}

/** A source of ten frames. fail: how many decodings fail first. */
function source({ fail = 0, width = null, cache = new FrameCache({ most: 4 }) } = {}) {
  const seen = { read: [], decoded: [], urgent: [], prefetched: [], pictures: [] };
  const made = new FrameSource({
    index: { ensure: async () => {}, has: (frame) => frame < 10, bytes: (frame) => ({ offset: frame * 100, size: 90 }) },
    bytes: {
      read: async ({ offset }) => void seen.read.push(offset),
      prefetch: (spans) => seen.prefetched.push(spans.map(({ offset }) => offset)),
    },
    decoder: {
      async decode(frame, data, { urgent }) {
        seen.decoded.push(frame);
        seen.urgent.push(urgent);
        await new Promise(setImmediate);
        if (fail-- > 0) throw new Error("planned");
        seen.pictures.push(new Picture(frame));
        return seen.pictures.at(-1);
      },
      close() {},
    },
    cache,
    name: "1/full",
    width,
  });
  return { frames: made, seen, cache };
}

test("several who ask for a frame share one fetch and one decoding, and it is held from then on", async () => {
  const { frames, seen } = source();
  const asked = await Promise.all([frames.picture(3), frames.picture(3)]);
  assert.deepEqual([...asked, await frames.picture(3)].map((picture) => picture.frame), [3, 3, 3]);
  assert.deepEqual([seen.read, seen.decoded], [[300], [3]]);
});

test("a frame that failed is told to all who asked, and decoded anew when asked again", async () => {
  const { frames } = source({ fail: 1 });
  const answers = await Promise.allSettled([frames.picture(3), frames.picture(3)]);
  assert.deepEqual(answers.map(({ status }) => status), ["rejected", "rejected"]);
  assert.equal((await frames.picture(3)).frame, 3);
});

test("a picture that left the cache before it was taken is decoded again", async () => {
  const cache = new FrameCache({ most: 4 });
  const { frames, seen } = source({ cache });
  const { set } = cache;
  cache.set = (key, picture) => {
    set.call(cache, key, picture);
    cache.set = set;
    cache.clear();
  };
  assert.equal((await frames.picture(3)).frame, 3);
  assert.deepEqual(seen.decoded, [3, 3]);
});

test("warming fetches all and has the first few decoded, without urgency; what is held is left out", async () => {
  const { frames, seen } = source();
  await frames.picture(2);
  await frames.warm([1, 2, 3, 4, 5, 99]);
  assert.deepEqual(seen.prefetched, [[100, 300, 400, 500]]);
  assert.deepEqual(seen.decoded, [2, 1, 3]);
  assert.deepEqual(seen.urgent, [true, false, false]);
});

test("step by step each frame is decoded once: warming drives out nothing that is needed sooner", async () => {
  const { frames, seen } = source();
  for (let frame = 0; frame < 6; frame++) {
    await frames.picture(frame);
    await frames.warm(Array.from({ length: 9 - frame }, (_, n) => frame + 1 + n));
  }
  assert.deepEqual(seen.decoded, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test("what is warmed again stays, though the cache has held it for long", async () => {
  const { frames, seen } = source();
  await frames.warm([9], { ahead: 1 });
  await frames.warm([0, 1, 2]);
  await frames.warm([9], { ahead: 1 });
  await frames.warm([3, 4, 5]);
  await frames.picture(9);
  assert.deepEqual(seen.decoded, [9, 0, 1, 2, 3, 4, 5]);
});

test("a newer warming replaces the older one, and a frame that fails ends it quietly", async () => {
  const { frames, seen } = source();
  await Promise.all([frames.warm([1, 2, 3]), frames.warm([7, 8, 9])]);
  assert.deepEqual([...seen.decoded].sort(), [1, 7, 8, 9]);
  const failing = source({ fail: 1 });
  await failing.frames.warm([1, 2, 3]);
  assert.deepEqual(failing.seen.decoded, [1]);
});

test("a small picture is scaled, and the decoder's own is closed, also when the scaling fails", async () => {
  globalThis.createImageBitmap = async (picture, { resizeWidth, resizeHeight }) => ({ frame: picture.frame, width: resizeWidth, height: resizeHeight, close() {} });
  const { frames, seen } = source({ width: 32 });
  const { width, height } = await frames.picture(3);
  assert.deepEqual([width, height], [32, 24]);
  globalThis.createImageBitmap = async () => {
    throw new Error("no memory");
  };
  await assert.rejects(frames.picture(4), /no memory/);
  assert.ok(seen.pictures.every((picture) => picture.closed));
});
