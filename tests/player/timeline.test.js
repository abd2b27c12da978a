import assert from "node:assert/strict";
import { test } from "node:test";

import { cutAtX, filmSlots, frameAtX, rulerStep, viewOf, xOf } from "../../review_app/player/static/page/timeline_scale.js";
import { peaksOf } from "../../review_app/player/static/picture/waveform.js";
import { clock, confidenceWords, decisionWords } from "../../review_app/player/static/decisions/words.js";

const range = (start, end) => ({ start_frame: start, end_frame: end });

test("in view is the clip and the near part of its neighbours", () => {
  assert.deepEqual(viewOf({ clip: range(1000, 2000), previous: range(0, 1000), next: range(2000, 9000) }), { start: 720, end: 2280 });
  assert.deepEqual(viewOf({ clip: range(10, 12), previous: range(0, 10), next: range(12, 900) }), { start: 0, end: 36 });
  assert.deepEqual(viewOf({ clip: range(0, 50), previous: null, next: null }), { start: 0, end: 50 });
});

test("every frame's place leads back to the frame, and a cut snaps to the nearest border", () => {
  const view = { start: 100, end: 340 };
  for (let frame = view.start; frame < view.end; frame++) assert.equal(frameAtX(xOf(frame + 0.5, view, 977), view, 977), frame);
  for (let cut = view.start; cut <= view.end; cut++) assert.equal(cutAtX(xOf(cut, view, 977) + 1.5, view, 977), cut);
  assert.equal(frameAtX(-50, view, 977), 100);
  assert.equal(frameAtX(9999, view, 977), 339);
});

test("the filmstrip fills the width and never has more pictures than frames", () => {
  const slots = filmSlots({ start: 0, end: 500 }, 1000, 128);
  assert.equal(slots.length, 8);
  assert.deepEqual([slots[0].frame, slots.at(-1).frame], [31, 468]);
  assert.equal(slots.at(-1).x + slots.at(-1).width, 1000);
  assert.deepEqual(filmSlots({ start: 7, end: 9 }, 1000, 128).map(({ frame }) => frame), [7, 8]);
});

test("no picture of the filmstrip lies over a cut", () => {
  const view = { start: 100, end: 340 };
  const slots = filmSlots(view, 1000, 128, [100, 131, 338, 340]);
  let x = 0;
  for (const slot of slots) {
    assert.ok(Math.abs(slot.x - x) < 1e-9, "side by side");
    x = slot.x + slot.width;
    assert.ok(slot.width <= 128);
    assert.equal(frameAtX(slot.x + slot.width / 2, view, 1000), slot.frame);
    for (const cut of [131, 338]) assert.ok(slot.frame < cut ? x <= xOf(cut, view, 1000) + 1e-9 : slot.x >= xOf(cut, view, 1000) - 1e-9);
  }
  assert.ok(Math.abs(x - 1000) < 1e-9);
});

test("ruler marks are readable at any length", () => {
  for (const seconds of [0.3, 2, 14, 300, 5000]) assert.ok((rulerStep(seconds, 1200, 72) / seconds) * 1200 >= 72);
});

test("peaks are the loudest of each part", () => {
  assert.deepEqual([...peaksOf([Float32Array.from([0, 0.5, -1, 0.25])], 2)], [0.5, 1]);
  assert.deepEqual([...peaksOf([Float32Array.from([0, 0]), Float32Array.from([0.25, -0.5])], 2)], [0.25, 0.5]);
  assert.equal(peaksOf([], 10).length, 0);
});

test("times and confidences in words", () => {
  assert.equal(clock(65.25), "01:05.250");
  assert.equal(clock(3661.0009), "1:01:01.001");
  assert.equal(clock(0), "00:00.000");
  assert.deepEqual([0.95, 0.6, 0.2, null].map((value) => confidenceWords(value).level), ["sure", "likely", "doubtful", "manual"]);
  assert.deepEqual(confidenceWords(null, "chapter"), { level: "sure", text: "chapter" });
  assert.equal(decisionWords({ action: "move_cut_point", frame: 24, new_frame: 26 }, "clip 3"), "moved a cut of clip 3 from frame 24 to 26");
});
