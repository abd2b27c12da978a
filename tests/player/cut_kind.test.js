import assert from "node:assert/strict";
import { test } from "node:test";

import { around, asKind, cutWords, framesBeside, learnKindWords, nextKind, rangeMoved } from "../../review_app/player/static/decisions/cut_kind.js";

learnKindWords({ hard: "hard cut", dissolve: "dissolve", fade: "fade", hand: "made by hand" });
const [left, right] = [{ start_frame: 0, end_frame: 40 }, { start_frame: 40, end_frame: 80 }];
const cut = (kind, first = null, last = null) => ({ kind, first_frame: first, last_frame: last });

test("a cut is told in words, with the frames that its transition takes", () => {
  assert.equal(cutWords(null), "kind not known");
  assert.equal(cutWords(cut("hard")), "hard cut");
  assert.deepEqual([cutWords(cut("fade", 36, 36)), cutWords(cut("dissolve", 36, 43))], ["fade, 1 frame", "dissolve, 8 frames"]);
  assert.equal(cutWords(cut("end")), "end", "a kind that nobody may give has the server's own name");
});

test("a step away from the cut makes a transition, and the step back takes it away again", () => {
  const begun = rangeMoved(cut("hard"), "first", -1, left, right);
  assert.deepEqual(begun, cut("dissolve", 39, 39));
  assert.deepEqual(rangeMoved(begun, "last", 1, left, right), cut("dissolve", 39, 40));
  assert.deepEqual(rangeMoved(begun, "first", 1, left, right), cut("dissolve"));
  assert.deepEqual(rangeMoved(null, "last", 3, left, right), cut("dissolve", 40, 42));
  assert.deepEqual(rangeMoved(null, "first", 1, left, right), cut("hard"), "there is nothing to take away");
  assert.deepEqual(rangeMoved(cut("hand"), "last", 1, left, right), cut("hand", 40, 40), "only what cannot be gradual becomes a dissolve");
});

test("a transition touches its cut and stays within the two clips", () => {
  const wide = cut("fade", 30, 50);
  assert.deepEqual(rangeMoved(wide, "first", -100, left, right), cut("fade", 0, 50));
  assert.deepEqual(rangeMoved(wide, "first", 100, left, right), cut("fade", 40, 50));
  assert.deepEqual(rangeMoved(wide, "last", 100, left, right), cut("fade", 30, 79));
  assert.deepEqual(rangeMoved(wide, "last", -100, left, right), cut("fade", 30, 39));
  assert.deepEqual(around(wide, 45, 35, 48), cut("fade", 35, 47));
  assert.deepEqual(around(wide, 51, 0, 80), wide, "directly behind it");
  assert.deepEqual(around(wide, 52, 0, 80), cut("fade"));
  assert.equal(around(null, 5, 0, 80), null);
});

test("another kind keeps the frames, unless it has none", () => {
  assert.deepEqual(asKind(cut("dissolve", 36, 43), "fade"), cut("fade", 36, 43));
  assert.deepEqual(asKind(cut("dissolve", 36, 43), "hard"), cut("hard"));
  assert.deepEqual(asKind(null, "fade"), cut("fade"));
  assert.deepEqual([null, cut("hard"), cut("hand"), cut("end")].map(nextKind), ["hard", "dissolve", "hard", "hard"]);
});

test("the frames beside a transition are those of one shot alone, and of the two clips", () => {
  assert.deepEqual(framesBeside(cut("hard"), left, right), [39, 40]);
  assert.deepEqual(framesBeside(cut("dissolve", 36, 43), left, right), [35, 44]);
  assert.deepEqual(framesBeside(cut("dissolve", 0, 79), left, right), [0, 79]);
});
