// The timeline's scale: which frames are in view, and where. One scale for all of it, so that a distance looks the same on both sides of a cut.

const LEAST_MARGIN = 24; // frames of a neighbour in view beside a short clip
const MARGIN = 0.28; // of the clip's length, beside a long one

/** Frames in view, [start, end): the clip and the near part of its neighbours. */
export function viewOf({ clip, previous, next }) {
  const margin = Math.max(LEAST_MARGIN, Math.round((clip.end_frame - clip.start_frame) * MARGIN));
  return {
    start: previous ? Math.max(previous.start_frame, clip.start_frame - margin) : clip.start_frame,
    end: next ? Math.min(next.end_frame, clip.end_frame + margin) : clip.end_frame,
  };
}

/** Distance from the left edge of the place where `frame` begins. */
export function xOf(frame, view, width) {
  return ((frame - view.start) / (view.end - view.start)) * width;
}

/** The frame under x, within the view. */
export function frameAtX(x, view, width) {
  const frame = view.start + Math.floor((x / width) * (view.end - view.start));
  return Math.min(Math.max(frame, view.start), view.end - 1);
}

/** The place for a cut nearest to x: the border of two frames. */
export function cutAtX(x, view, width) {
  return view.start + Math.round((x / width) * (view.end - view.start));
}

/**
 * Pictures of the filmstrip: [{frame, x, width}], at most as wide as a picture is, each showing the frame under its middle.
 * edges: frames at which a clip begins; the row begins anew at each, so that no picture of one clip lies over another.
 */
export function filmSlots(view, width, pictureWidth, edges = []) {
  const borders = [view.start, ...edges.filter((edge) => edge > view.start && edge < view.end), view.end];
  return borders.slice(1).flatMap((end, place) => {
    const start = borders[place];
    const left = xOf(start, view, width);
    const part = xOf(end, view, width) - left;
    const count = Math.max(1, Math.min(Math.ceil(part / pictureWidth), end - start));
    return Array.from({ length: count }, (_, n) => ({
      frame: start + Math.floor(((n + 0.5) / count) * (end - start)),
      x: left + (n * part) / count,
      width: part / count,
    }));
  });
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

/** Seconds between the marks of the ruler, so that marks are at least `pixels` apart. */
export function rulerStep(seconds, width, pixels) {
  return STEPS.find((step) => (step / seconds) * width >= pixels) ?? STEPS.at(-1);
}
