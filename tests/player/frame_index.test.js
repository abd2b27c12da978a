import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameIndex, FrameIndexError, PAGE_FRAMES, parsedSlice } from "../../review_app/player/static/picture/frame_index.js";

const AVCC = Buffer.from([1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 1, 2, 3, 1, 0, 1, 0x68]).toString("base64");

/** The index route's answer for frames [start, end) of a video whose frame n begins at pts(n). */
function slice(start, end, { frameCount = end, pts = (n) => n * 1001, timeBase = [1, 24000], ...more } = {}) {
  const frames = Array.from({ length: end - start }, (_, i) => start + i);
  return {
    first_frame: start,
    frame_count: frameCount,
    time_base: timeBase,
    end_pts: pts(end),
    width: 64,
    height: 48,
    sample_aspect_ratio: [1, 1],
    has_audio: true,
    avcc: AVCC,
    pts: frames.map(pts),
    byte_offset: frames.map((n) => 1000 + n * 100),
    byte_size: frames.map(() => 90),
    ...more,
  };
}

function indexOf(frameCount, options = {}) {
  const asked = [];
  const index = new FrameIndex({
    frameCount,
    load: async (start, end) => {
      asked.push([start, end]);
      return slice(start, end, { frameCount, ...options });
    },
  });
  return { index, asked };
}

test("times come from pts and time base", async () => {
  const { index } = indexOf(10);
  await index.ensure(0, 10);
  assert.equal(index.seconds(0), 0);
  assert.ok(Math.abs(index.seconds(9) - (9 * 1001) / 24000) < 1e-12);
  assert.ok(Math.abs(index.seconds(10, 4) - (6 * 1001) / 24000) < 1e-12, "the end of the last frame counts as a time");
  assert.deepEqual(index.bytes(3), { offset: 1300, size: 90 });
});

test("the middle of a frame lies between its own showing and the next, on a variable frame rate too", async () => {
  const times = [0, 3750, 7500, 9000, 10500, 22500, 26250];
  const { index } = indexOf(6, { pts: (n) => times[n], timeBase: [1, 90000] });
  await index.ensure(0, 6);
  for (let frame = 0; frame < 6; frame++) {
    const middle = index.middleSeconds(frame, 0) * 90000;
    assert.ok(times[frame] < middle && middle < times[frame + 1]);
  }
  assert.ok(Math.abs(index.middleSeconds(4, 2) * 90000 - (16500 - 7500)) < 1e-6, "counted from the clip's first frame");
});

test("a media time rounded to microseconds names its frame, rounded down or up", async () => {
  const { index } = indexOf(240);
  await index.ensure(0, 240);
  for (let frame = 24; frame < 200; frame++) {
    const exact = index.seconds(frame, 24);
    assert.equal(index.frameOfMediaTime(Math.floor(exact * 1e6) / 1e6, 24, 200), frame);
    assert.equal(index.frameOfMediaTime(Math.ceil(exact * 1e6) / 1e6, 24, 200), frame);
  }
  assert.equal(index.frameOfMediaTime(999, 24, 200), 199);
  assert.equal(index.frameOfMediaTime(-1, 24, 200), 24);
});

test("no request is for more pages than one answer holds", async () => {
  const { index, asked } = indexOf(35 * PAGE_FRAMES);
  await index.ensure(0, 35 * PAGE_FRAMES);
  assert.deepEqual(
    asked.map(([start, end]) => [start / PAGE_FRAMES, end / PAGE_FRAMES]),
    [
      [0, 16],
      [16, 32],
      [32, 35],
    ],
  );
  assert.ok(index.has(35 * PAGE_FRAMES - 1));
});

test("missing pages come in one request and are asked for once", async () => {
  const { index, asked } = indexOf(3 * PAGE_FRAMES + 5);
  await Promise.all([index.ensure(10, 20), index.ensure(0, 2 * PAGE_FRAMES)]);
  await index.ensure(0, 2 * PAGE_FRAMES);
  assert.deepEqual(asked, [
    [0, PAGE_FRAMES],
    [PAGE_FRAMES, 2 * PAGE_FRAMES],
  ]);
  await index.ensure(3 * PAGE_FRAMES, 9 * PAGE_FRAMES);
  assert.deepEqual(asked.at(-1), [3 * PAGE_FRAMES, 3 * PAGE_FRAMES + 5], "never beyond the end of the video");
});

test("the last frame of a page knows its end without the next page", async () => {
  const { index } = indexOf(3 * PAGE_FRAMES);
  await index.ensure(0, 1);
  assert.equal(index.pts(PAGE_FRAMES), PAGE_FRAMES * 1001);
  assert.throws(() => index.pts(PAGE_FRAMES + 1), FrameIndexError);
});

test("offsets beyond 4 GiB are exact, integers beyond 2^53 are refused", () => {
  const far = parsedSlice(slice(0, 2, { byte_offset: [6 * 2 ** 40, 6 * 2 ** 40 + 1] }));
  assert.equal(far.byteOffset[1], 6 * 2 ** 40 + 1);
  assert.throws(() => parsedSlice(slice(0, 2, { byte_offset: [0, 2 ** 53] })), /no exact whole number/);
});

test("a slice that cannot be right is refused in words", () => {
  const cases = [
    [{ pts: [0, 5, 5, 9] }, /Frame 2 .* not later/],
    [{ byte_size: [1, 1, 1] }, /differ in length/],
    [{ byte_size: [1, 0, 1, 1] }, /Frame 1 .* no bytes/],
    [{ frame_count: 3 }, /frames 0\.\.3 of a video of 3/],
    [{ time_base: [0, 1] }, /no time base/],
    [{ avcc: "" }, /how the video is coded/],
    [{ pts: [] }, /empty/],
    [{ end_pts: 10 }, /not later/],
  ];
  for (const [change, message] of cases) assert.throws(() => parsedSlice({ ...slice(0, 4), ...change }), message);
});

test("an index of another video is refused, and can be asked for again", async () => {
  let length = 99;
  const index = new FrameIndex({ frameCount: 10, load: async (start, end) => slice(start, end, { frameCount: length }) });
  await assert.rejects(index.ensure(0, 10), /video of 99 frames, this one has 10/);
  length = 10;
  await index.ensure(0, 10);
  assert.ok(index.has(9));
});

test("only so many pages are held, and those in use stay", async () => {
  const { index, asked } = indexOf(300 * PAGE_FRAMES);
  await index.ensure(0, 1);
  for (let page = 1; page < 300; page++) {
    await index.ensure(page * PAGE_FRAMES, page * PAGE_FRAMES + 1);
    index.seconds(page * PAGE_FRAMES, 0); // as the clock under the picture: from the clip's first frame
  }
  const held = Array.from({ length: 300 }, (_, page) => index.has(page * PAGE_FRAMES)).filter(Boolean).length;
  assert.equal(held, 64);
  assert.ok(index.has(0) && index.has(299 * PAGE_FRAMES) && !index.has(PAGE_FRAMES));
  await index.ensure(PAGE_FRAMES, PAGE_FRAMES + 1);
  assert.deepEqual(asked.at(-1), [PAGE_FRAMES, 2 * PAGE_FRAMES], "asked for again when it is needed");
});

test("the frame of a time is found with a few pages, on a variable frame rate too", async () => {
  const count = 200 * PAGE_FRAMES + 7;
  const pts = (n) => n * 3000 + (n % 7) * 400 + (n > 100_000 ? 900_000 : 0);
  const { index, asked } = indexOf(count, { pts, timeBase: [1, 90000] });
  for (const frame of [0, 1, PAGE_FRAMES - 1, PAGE_FRAMES, 99_999, 100_001, count - 1]) {
    assert.equal(await index.frameBefore(pts(frame) / 90000 + 1e-6), frame);
    if (frame) assert.equal(await index.frameBefore(pts(frame) / 90000), frame - 1);
  }
  assert.equal(await index.frameBefore(0), null);
  assert.equal(await index.frameBefore(pts(count) / 90000 + 1), null, "beyond the end");
  assert.ok(asked.length < 60 && asked.every(([start, end]) => end - start <= PAGE_FRAMES), `${asked.length} requests`);
});
