import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY } from "../../review_app/player/static/decisions/review_state.js";
import { nextStop, NO_TRAIL, renamedTrail, visited } from "../../review_app/player/static/decisions/trail.js";

const clip = (id, state = "pending_review") => ({ id, source_video_id: 1, sequence: id, start_frame: id * 10, end_frame: id * 10 + 10, state, version: 1 });
const stateAt = (current, clips, queue) => ({ ...EMPTY, current, queue, clips: Object.fromEntries(clips.map((one) => [one.id, one])) });
const walked = (...ids) => ids.reduce(visited, NO_TRAIL);

test("back leads where the reviewer was, on leads forward again, then to the next that waits", () => {
  const clips = [1, 2, 3, 4].map((id) => clip(id));
  const trail = walked(1, 2, 3);
  const state = (current) => stateAt(current, clips, [1, 2, 3, 4]);
  assert.equal(nextStop(state(3), trail, null, false), 2);
  const back = visited(trail, 2);
  assert.deepEqual([nextStop(state(2), back, null, false), nextStop(state(2), back, null, true)], [1, 3]);
  assert.equal(nextStop(state(3), visited(back, 3), null, true), 4);
  assert.deepEqual(visited(back, 4), { ids: [1, 2, 4], at: 2 }, "another clip ends what lay beyond");
});

test("a clip left undecided that comes again after a decision is no step back, so on does not lead to the decided one", () => {
  const clips = [clip(1), clip(2, "review_approved"), clip(3)];
  const again = visited(walked(1, 2), 1, true);
  assert.deepEqual(again, { ids: [1, 2, 1], at: 2 });
  assert.equal(nextStop(stateAt(1, clips, [1, 3]), again, null, true), 3);
  assert.equal(nextStop(stateAt(1, clips, [1, 3]), again, null, false), 2, "back leads to what was decided last");
  assert.deepEqual(visited(visited(walked(1, 2), 1), 2, true), { ids: [1, 2], at: 1 }, "decided after a step back: on along the trail");
});

test("clips that are gone are stepped over, and new ids take the place of provisional ones", () => {
  const trail = renamedTrail(walked(1, "~k/0", 3), { "~k/0": 8 });
  assert.deepEqual(trail.ids, [1, 8, 3]);
  assert.equal(nextStop(stateAt(3, [clip(1), clip(3)], [3]), trail, null, false), 1);
});

test("at the ends there is the neighbour in the video, or nothing", () => {
  const alone = stateAt(1, [clip(1)], [1]);
  assert.equal(nextStop(alone, walked(1), { previous: { id: 9 } }, false), 9);
  assert.equal(nextStop(alone, walked(1), { previous: null }, false), null);
  assert.equal(nextStop(alone, walked(1), null, true), null);
  const decided = stateAt(2, [clip(1, "review_skipped"), clip(2), clip(3, "review_approved")], [1, 2, 3]);
  assert.equal(nextStop(decided, walked(2), null, true), null, "only clips that wait");
});
