// The frame index of one video: for every proxy frame its pts, byte offset and byte size, loaded in pages as they are needed.
//
// A time is always pts x time base. `frame / rate` is wrong on a variable frame rate and, rounded, on a constant one.

export const PAGE_FRAMES = 1024;
/** In one request; the server answers with 20,000 rows at most. */
export const PAGES_AT_ONCE = 16;
const HELD_PAGES = 64; // 1.5 MB of a video of any length; those used longest ago go

/** The index cannot be used: cut off, of another video, or not in order. The message is for people. */
export class FrameIndexError extends Error {
  constructor(message) {
    super(message);
    this.name = "FrameIndexError";
  }
}

/**
 * The answer of the index route as typed columns.
 *
 * Integers beyond 2^53 cannot be told apart by a browser, so they are refused instead of rounded (pts in nanoseconds reach that after 104 days).
 * Returns {firstFrame, endFrame, endPts, timeBase: [n, d], frameRate: [n, d], frameCount, width, height, aspect, avcc: Uint8Array, hasAudio, pts, byteOffset,
 * byteSize}; endPts is the pts at which the slice's last frame stops showing. Throws FrameIndexError.
 */
export function parsedSlice(json) {
  const count = json?.pts?.length;
  if (!Number.isInteger(count) || count === 0) throw new FrameIndexError("The frame index came back empty.");
  if (json.byte_offset?.length !== count || json.byte_size?.length !== count)
    throw new FrameIndexError("The columns of the frame index differ in length.");
  const [n, d] = json.time_base ?? [];
  if (!(n > 0 && d > 0)) throw new FrameIndexError("The frame index has no time base.");
  if (!(json.width > 0 && json.height > 0 && typeof json.avcc === "string" && json.avcc.length >= 12))
    throw new FrameIndexError("The frame index does not say how the video is coded.");
  const firstFrame = wholeNumber(json.first_frame, "first_frame");
  const frameCount = wholeNumber(json.frame_count, "frame_count");
  if (firstFrame < 0 || firstFrame + count > frameCount)
    throw new FrameIndexError(`The frame index holds frames ${firstFrame}..${firstFrame + count - 1} of a video of ${frameCount} frames.`);
  const pts = column(json.pts, "pts");
  const byteOffset = column(json.byte_offset, "byte_offset");
  const byteSize = column(json.byte_size, "byte_size");
  const endPts = wholeNumber(json.end_pts, "end_pts");
  for (let i = 0; i < count; i++) {
    const next = i + 1 < count ? pts[i + 1] : endPts;
    if (next <= pts[i]) throw new FrameIndexError(`Frame ${firstFrame + i + 1} of the frame index is not later than the one before it.`);
    if (byteSize[i] <= 0 || byteOffset[i] < 0) throw new FrameIndexError(`Frame ${firstFrame + i} of the frame index has no bytes.`);
  }
  const [across, down] = json.sample_aspect_ratio ?? [1, 1];
  return {
    firstFrame,
    endFrame: firstFrame + count,
    endPts,
    timeBase: [n, d],
    frameCount,
    frameRate: json.frame_rate?.[0] > 0 && json.frame_rate[1] > 0 ? json.frame_rate : [25, 1],
    width: json.width,
    height: json.height,
    aspect: (json.width * (across > 0 && down > 0 ? across / down : 1)) / json.height,
    avcc: Uint8Array.from(atob(json.avcc), (letter) => letter.charCodeAt(0)),
    hasAudio: Boolean(json.has_audio),
    pts,
    byteOffset,
    byteSize,
  };
}

function wholeNumber(value, name) {
  if (!Number.isSafeInteger(value)) throw new FrameIndexError(`The frame index has ${name} = ${value}, which is no exact whole number.`);
  return value;
}

function column(values, name) {
  for (const value of values) wholeNumber(value, name);
  return Float64Array.from(values);
}

export class FrameIndex {
  #load;
  #pages = new Map(); // page number -> parsed slice
  #loading = new Map(); // page number -> promise
  #header = null;
  #uses = 0;

  /** frameCount: of the video. load(start, end): promise of the index route's answer for frames [start, end). */
  constructor({ frameCount, load }) {
    this.frameCount = frameCount;
    this.#load = load;
  }

  /** What holds for all frames ({timeBase, width, height, aspect, avcc, hasAudio}); null until the first page is here. */
  get header() {
    return this.#header;
  }

  /** Resolves when all frames [start, end) are held; neighbouring missing pages come in one request, 16 at most. Throws FrameIndexError. */
  async ensure(start, end) {
    const first = Math.floor(Math.max(0, start) / PAGE_FRAMES);
    const last = Math.floor((Math.min(end, this.frameCount) - 1) / PAGE_FRAMES);
    let run = null;
    const runs = [];
    for (let page = first; page <= last; page++) {
      if (this.#pages.has(page) || this.#loading.has(page)) run = null;
      else if (run && run.end - run.start < PAGES_AT_ONCE) run.end = page + 1;
      else runs.push((run = { start: page, end: page + 1 }));
    }
    for (const missing of runs) {
      const promise = this.#loadPages(missing.start, missing.end);
      for (let page = missing.start; page < missing.end; page++) this.#loading.set(page, promise);
    }
    for (let page = first; page <= last; page++) if (!this.#pages.has(page)) await this.#loading.get(page);
  }

  async #loadPages(firstPage, endPage) {
    const start = firstPage * PAGE_FRAMES;
    const end = Math.min(endPage * PAGE_FRAMES, this.frameCount);
    try {
      const slice = parsedSlice(await this.#load(start, end));
      if (slice.frameCount !== this.frameCount)
        throw new FrameIndexError(`The frame index is of a video of ${slice.frameCount} frames, this one has ${this.frameCount}.`);
      if (slice.firstFrame !== start || slice.endFrame !== end)
        throw new FrameIndexError(
          `Frames ${start}..${end - 1} of the frame index were asked for, ${slice.firstFrame}..${slice.endFrame - 1} came.`,
        );
      if (this.#header && String(this.#header.avcc) !== String(slice.avcc))
        throw new FrameIndexError("The proxy was made anew while it was open.");
      this.#header = slice;
      for (let page = firstPage; page < endPage; page++) {
        const low = page * PAGE_FRAMES - start;
        const high = Math.min(low + PAGE_FRAMES, end - start);
        this.#pages.set(page, {
          pts: slice.pts.slice(low, high),
          byteOffset: slice.byteOffset.slice(low, high),
          byteSize: slice.byteSize.slice(low, high),
          endPts: high < slice.pts.length ? slice.pts[high] : slice.endPts,
          used: ++this.#uses,
        });
      }
      this.#forgetOld(endPage - firstPage);
    } finally {
      for (let page = firstPage; page < endPage; page++) this.#loading.delete(page);
    }
  }

  /** loaded: how many pages have just come; they stay. */
  #forgetOld(loaded) {
    const most = Math.max(HELD_PAGES, loaded);
    if (this.#pages.size <= most) return;
    const oldest = [...this.#pages].sort(([, one], [, other]) => one.used - other.used);
    for (const [page] of oldest.slice(0, this.#pages.size - most)) this.#pages.delete(page);
  }

  /** Forget all pages. */
  clear() {
    this.#pages.clear();
    this.#header = null;
  }

  has(frame) {
    return frame >= 0 && frame < this.frameCount && this.#pages.has(Math.floor(frame / PAGE_FRAMES));
  }

  /** Whether all frames [start, end) are held. */
  hasAll(start, end) {
    for (let frame = start; frame < end; frame = (Math.floor(frame / PAGE_FRAMES) + 1) * PAGE_FRAMES) if (!this.has(frame)) return false;
    return this.has(end - 1);
  }

  /** pts of a frame; `frameCount` gives the end of the last one. Throws FrameIndexError when its page is not held. */
  pts(frame) {
    if (frame > 0 && !this.has(frame) && this.has(frame - 1) && frame % PAGE_FRAMES === 0) return this.#page(frame - 1).endPts;
    if (frame > 0 && frame === this.frameCount) return this.#page(frame - 1).endPts;
    return this.#page(frame).pts[frame % PAGE_FRAMES];
  }

  #page(frame) {
    const page = this.has(frame) ? this.#pages.get(Math.floor(frame / PAGE_FRAMES)) : undefined;
    if (!page) throw new FrameIndexError(`Frame ${frame} of the frame index is not loaded.`);
    page.used = ++this.#uses;
    return page;
  }

  /** Where a frame's bytes lie in the proxy: {offset, size}. */
  bytes(frame) {
    const page = this.#page(frame);
    const at = frame % PAGE_FRAMES;
    return { offset: page.byteOffset[at], size: page.byteSize[at] };
  }

  /** Seconds from the showing of `from` (default: pts 0) to the showing of `frame`. */
  seconds(frame, from) {
    const [n, d] = this.#header.timeBase;
    return ((this.pts(frame) - (from === undefined ? 0 : this.pts(from))) / d) * n;
  }

  /** The middle of a frame's showing, on a timeline that begins with frame `from`: the one place where a seek cannot hit a neighbour. */
  middleSeconds(frame, from) {
    return (this.seconds(frame, from) + this.seconds(frame + 1, from)) / 2;
  }

  /** Promise of the last frame that begins before `seconds`, null when none does or the video has ended by then. It loads the pages that it needs. */
  async frameBefore(seconds) {
    let low = 0; // page that begins before
    let high = Math.ceil(this.frameCount / PAGE_FRAMES); // page that does not, or the end
    const begins = async (frame) => {
      await this.ensure(frame, frame + 1);
      return this.seconds(frame);
    };
    if ((await begins(0)) >= seconds) return null;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((await begins(middle * PAGE_FRAMES)) < seconds) low = middle;
      else high = middle;
    }
    await this.ensure(low * PAGE_FRAMES, low * PAGE_FRAMES + 1);
    let first = low * PAGE_FRAMES;
    let last = Math.min(first + PAGE_FRAMES, this.frameCount) - 1;
    while (first < last) {
      const middle = (first + last + 1) >> 1;
      if (this.seconds(middle) < seconds) first = middle;
      else last = middle - 1;
    }
    return first === this.frameCount - 1 && this.seconds(this.frameCount) < seconds ? null : first;
  }

  /**
   * The frame of [start, end) that a video element names by `mediaTime`, on a timeline that begins with frame `start`.
   * The nearest first showing, not the one before: browsers round media times to whole microseconds, down as well as up.
   */
  frameOfMediaTime(mediaTime, start, end) {
    let low = start;
    let high = end - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.seconds(middle, start) <= mediaTime) low = middle;
      else high = middle - 1;
    }
    if (low + 1 < end && this.seconds(low + 1, start) - mediaTime < mediaTime - this.seconds(low, start)) return low + 1;
    return low;
  }
}
