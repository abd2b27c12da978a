import assert from "node:assert/strict";
import { test } from "node:test";

import { cameraTimecodeAt, placeOf, timecode, timecodeAt } from "../../review_app/player/static/picture/timecode.js";

const NTSC = [30000, 1001];
const FILM = [24, 1];
const placed = (text, rate = FILM, here = 100) => placeOf(text, { rate, here });

test("timecodes count as the cut lists do", () => {
  // As tests/pipeline of the cut lists: SMPTE ST 12-1.
  assert.equal(timecode(0, FILM), "00:00:00:00");
  assert.equal(timecode(24 * 3600 + 25, FILM), "01:00:01:01");
  assert.equal(timecode(1799, NTSC, { dropFrame: true }), "00:00:59;29");
  assert.equal(timecode(1800, NTSC, { dropFrame: true }), "00:01:00;02");
  assert.equal(timecode(17982, NTSC, { dropFrame: true }), "00:10:00;00");
  assert.equal(timecode(107892, NTSC, { dropFrame: true }), "01:00:00;00");
  assert.equal(timecode(3600, [60000, 1001], { dropFrame: true }), "00:01:00;04");
  assert.equal(timecodeAt(1001 / 30, NTSC), "00:00:33:10");
  assert.equal(timecode(24 * 86400, FILM), "00:00:00:00", "it begins anew after a day");
});

test("frames, steps, times and timecodes are understood", () => {
  assert.deepEqual(placed("1234"), { frame: 1234 });
  assert.deepEqual(placed(" +10 "), { frame: 110 });
  assert.deepEqual(placed("-10"), { frame: 90 });
  assert.deepEqual(placed("\u221210"), { frame: 90 });
  const near = ({ before }, seconds) => assert.ok(Math.abs(before - seconds) < 1e-9, `${before}`);
  near(placed("01:02:03.500"), 3723.5005);
  near(placed("1:2,25"), 62.2505);
  near(placed("00:10"), 10.0005);
  near(placed("00:00:01:12"), 1 + 12.5 / 24);
  near(placed("00:01:00;02", NTSC), (1800.5 * 1001) / 30000);
  near(placed("01:00:00;00", NTSC), (107892.5 * 1001) / 30000);
  near(placed("00:01:00:00", NTSC), (1800.5 * 1001) / 30000);
});

test("what cannot be understood is said with what can", () => {
  assert.match(placed("noon").problem, /no frame and no time.*01:02:03:12/);
  assert.match(placed("1.5").problem, /no frame and no time/);
  assert.match(placed("00:61:00").problem, /from 00 to 59/);
  assert.match(placed("00:00:61:00").problem, /from 00 to 59/);
  assert.match(placed("00:00:01:24").problem, /24 frames a second.*00 to 23/);
  assert.match(placed("00:00:01;12").problem, /29\.97 and 59\.94.*Type 00:00:01:12/);
  assert.match(placed("00:01:00;01", NTSC).problem, /left out by drop-frame.*00:01:00;02/);
  assert.equal(placed("00:10:00;00", NTSC).problem, undefined, "a tenth minute leaves nothing out");
});

const TEN = { first_frame: 900000, rate: [25, 1], drop_frame: false, begins_seconds: 0.5 };
const DROP = { first_frame: 1798, rate: NTSC, drop_frame: true, begins_seconds: 0 };
const MIDNIGHT = { first_frame: 2589407, rate: NTSC, drop_frame: true, begins_seconds: 0 };

test("the camera's timecode counts from that of the first frame", () => {
  // As tests/domain/test_timecode.py: SMPTE ST 12-1, and a frame has the timecode in which it begins.
  assert.equal(cameraTimecodeAt(0.5, TEN), "10:00:00:00");
  assert.equal(cameraTimecodeAt(1.52, TEN), "10:00:01:00", "50 frames a second share each in pairs");
  assert.equal(cameraTimecodeAt(1.54, TEN), "10:00:01:01");
  assert.deepEqual([0, 1, 2].map((frame) => cameraTimecodeAt((frame * 1001) / 30000, DROP)), ["00:00:59;28", "00:00:59;29", "00:01:00;02"]);
  assert.deepEqual([0, 1].map((frame) => cameraTimecodeAt((frame * 1001) / 30000, MIDNIGHT)), ["23:59:59;29", "00:00:00;00"]);
});

test("a timecode of the camera leads to its frame", () => {
  const near = (text, source, seconds) => {
    const { before } = placeOf(text, { rate: source.rate, here: 0, source });
    assert.ok(Math.abs(before - seconds) < 1e-9, `${text}: ${before}`);
  };
  near("10:00:01:00", TEN, 1.5 + 0.02);
  near("00:01:00;02", DROP, (2.5 * 1001) / 30000);
  near("00:01:00:00", DROP, (2.5 * 1001) / 30000);
  near("00:00:00;00", MIDNIGHT, (1.5 * 1001) / 30000);
  assert.deepEqual(placeOf("17", { rate: FILM, here: 0, source: TEN }), { frame: 17 });
  assert.match(placeOf("10:00:00:25", { rate: FILM, here: 0, source: TEN }).problem, /25 frames a second.*00 to 24/);
  assert.match(placeOf("10:61:00:00", { rate: FILM, here: 0, source: TEN }).problem, /from 00 to 59/);
});
