// Times of the source video as people write them: frame numbers, clock times, and SMPTE timecode as in the cut lists. Pure.

const DROPPING = new Set(["30000/1001", "60000/1001", "120000/1001"]);
const EARLY = 0.1; // of a frame, as heaters_dagster/domain/timecode.py has it

/** Frame numbers that a minute counts at `rate`, [n, d]: 30000/1001 counts 30 a second. */
function nominalOf([n, d]) {
  return Math.max(1, Math.round(n / d));
}

/** Frame numbers that drop-frame timecode leaves out at the start of a minute; 0 where the rate has none. */
function droppedOf([n, d]) {
  return DROPPING.has(`${n}/${d}`) ? nominalOf([n, d]) / 15 : 0;
}

const two = (value) => String(value).padStart(2, "0");

/** "01:02:03:12" of a frame number of the timeline; with dropFrame "01:02:03;12" (SMPTE ST 12-1). It begins anew after 24 hours. */
export function timecode(number, rate, { dropFrame = false } = {}) {
  const nominal = nominalOf(rate);
  let frame = number;
  if (dropFrame) {
    const dropped = droppedOf(rate);
    const perMinute = nominal * 60 - dropped;
    const perTenMinutes = perMinute * 10 + dropped;
    const rest = frame % perTenMinutes;
    const minutes = rest < nominal * 60 ? 0 : 1 + Math.floor((rest - nominal * 60) / perMinute);
    frame += dropped * (9 * Math.floor(frame / perTenMinutes) + minutes);
  }
  const seconds = Math.floor(frame / nominal);
  const parts = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts.map(two).join(":")}${dropFrame ? ";" : ":"}${two(frame % nominal)}`;
}

/** Timecode of a moment, counted from the start of the video: the timeline frame nearest to it, as the cut lists count. */
export function timecodeAt(seconds, rate, options) {
  return timecode(Math.round((seconds * rate[0]) / rate[1]), rate, options);
}

/**
 * The camera's own timecode of a moment, as heaters_dagster/domain/timecode.py counts it. source: `source_time` of the video: the count of
 * its first frame, which begins at begins_seconds, and the rate [n, d] at which it counts.
 */
export function cameraTimecodeAt(seconds, source) {
  const { rate, drop_frame: dropFrame } = source;
  const counted = Math.floor(((seconds - source.begins_seconds) * rate[0]) / rate[1] + EARLY);
  const day = framesPerDay(rate, dropFrame);
  return timecode((((source.first_frame + counted) % day) + day) % day, rate, { dropFrame });
}

function framesPerDay(rate, dropFrame) {
  return 86400 * nominalOf(rate) - (dropFrame ? 9 * 144 * droppedOf(rate) : 0);
}

export const hasDropFrame = (rate) => droppedOf(rate) > 0;

/**
 * What somebody typed as a place in the source video: {frame}, or {before}: the last frame that begins before that many seconds; else
 * {problem} in words. rate: [n, d] that timecodes count in. here: the frame on the stage, for "+10" and "-10". source: as for
 * cameraTimecodeAt; timecodes are the camera's then.
 */
export function placeOf(text, { rate, here, source = null }) {
  const typed = text.trim();
  if (/^[+\-\u2212]\d{1,9}$/.test(typed)) return { frame: here + Number(typed.replace("\u2212", "-")) };
  if (/^\d{1,9}$/.test(typed)) return { frame: Number(typed) };
  const code = /^(\d{1,3}):(\d{1,2}):(\d{1,2})([:;])(\d{1,3})$/.exec(typed);
  if (code && source) return placeOfCameraTimecode(typed, code, source);
  if (code) return placeOfTimecode(typed, code, rate);
  const time = /^(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:[.,](\d{1,6}))?$/.exec(typed);
  if (!time)
    return { problem: `\u201c${typed}\u201d is no frame and no time. Type a frame (1234), +10 or -10, a time (01:02:03.500) or a timecode (01:02:03:12).` };
  const [, hours = "0", minutes, seconds, part = ""] = time;
  if (Number(seconds) > 59 || (time[1] !== undefined && Number(minutes) > 59)) return { problem: `${typed}: minutes and seconds go from 00 to 59.` };
  const thousandths = Math.round(Number(`0.${part || 0}`) * 1000);
  // Half a thousandth more: the frame whose time is shown, rounded to thousandths, as this one.
  return { before: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) + (thousandths + 0.5) / 1000 };
}

/** As `SourceTime.seconds_of`: the sign before the frames is not looked at, and a number that is left out is read as the next one. */
function placeOfCameraTimecode(typed, [, ...fields], { first_frame: first, rate, drop_frame: dropFrame, begins_seconds: begins }) {
  const [hours, minutes, seconds] = fields.slice(0, 3).map(Number);
  const nominal = nominalOf(rate);
  const dropped = dropFrame ? droppedOf(rate) : 0;
  const problem = outOfRange(typed, minutes, seconds, Number(fields[4]), nominal);
  if (problem) return { problem };
  const frames = seconds === 0 && minutes % 10 ? Math.max(Number(fields[4]), dropped) : Number(fields[4]);
  const wholeMinutes = hours * 60 + minutes;
  const count = (wholeMinutes * 60 + seconds) * nominal + frames - dropped * (wholeMinutes - Math.floor(wholeMinutes / 10));
  const day = framesPerDay(rate, dropFrame);
  const after = (((count - first) % day) + day) % day; // one that seems to lie before the first frame is of the next day
  return { before: begins + ((after + 0.5) * rate[1]) / rate[0] };
}

function outOfRange(typed, minutes, seconds, frames, nominal) {
  if (minutes > 59 || seconds > 59) return `${typed}: minutes and seconds go from 00 to 59.`;
  if (frames >= nominal) return `${typed}: this video counts ${nominal} frames a second, so the last number goes from 00 to ${two(nominal - 1)}.`;
  return null;
}

function placeOfTimecode(typed, [, ...fields], rate) {
  const [hours, minutes, seconds] = fields.slice(0, 3).map(Number);
  const dropFrame = fields[3] === ";";
  const frames = Number(fields[4]);
  const nominal = nominalOf(rate);
  const dropped = droppedOf(rate);
  const problem = outOfRange(typed, minutes, seconds, frames, nominal);
  if (problem) return { problem };
  if (dropFrame && !dropped)
    return { problem: `${typed}: drop-frame timecode, with a semicolon, exists for 29.97 and 59.94 frames a second only. Type ${typed.replace(";", ":")}.` };
  if (dropFrame && seconds === 0 && minutes % 10 && frames < dropped)
    return { problem: `${typed} is left out by drop-frame timecode: the minute begins with ${typed.slice(0, -fields[4].length)}${two(dropped)}.` };
  const wholeMinutes = hours * 60 + minutes;
  const number = (wholeMinutes * 60 + seconds) * nominal + frames - (dropFrame ? dropped * (wholeMinutes - Math.floor(wholeMinutes / 10)) : 0);
  return { before: ((number + 0.5) * rate[1]) / rate[0] };
}
