// Stopped picture by WebCodecs: byte range -> decoder -> canvas. Frame n asked for is frame n shown.

import { Latest } from "./latest.js";

const PREFETCH_AHEAD = 12;
const PREFETCH_BEHIND = 4;
const STRIDE = 10; // frames; a longer way is a jump, and the next one may follow at once
const AFTER_JUMP_MS = 60;

/**
 * Frames to fetch beforehand, nearest first: in the direction and at the stride of the last step, then in the other direction.
 * frame: shown now; stride: last step (sign = direction); [start, end): the clip.
 */
export function framesAround(frame, stride, start, end) {
  const step = stride && Math.abs(stride) <= STRIDE ? stride : 1;
  const direction = Math.sign(step);
  const frames = [];
  for (let n = 1; n <= 3; n++) frames.push(frame + n * step);
  for (let n = 1; n <= PREFETCH_AHEAD; n++) frames.push(frame + n * direction);
  for (let n = 1; n <= PREFETCH_BEHIND; n++) frames.push(frame - n * direction);
  return [...new Set(frames)].filter((n) => n >= start && n < end);
}

/** Fetch frames beforehand; those on the next page of the index too. */
async function warmed(media, frames) {
  if (!frames.every((frame) => media.index.has(frame)))
    await Promise.all(frames.map((frame) => media.index.ensure(frame, frame + 1))).catch(() => {}); // told when the frame itself is asked for
  await media.frames.warm(frames);
}

export class ExactPlayer {
  kind = "webcodecs";
  #canvas;
  #opened = null; // {media, start, end}
  #latest;
  #warming = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#latest = new Latest(({ opened, frame }) => this.#shown(opened, frame));
  }

  /** Show frames of [start, end) of `media` from now on. */
  open(media, start, end) {
    this.#opened = { media, start, end };
  }

  get frame() {
    return this.#canvas.frame;
  }

  /** Promise of true when `frame` is on the canvas, false when a newer request came in between. Throws what FrameSource throws. */
  show(frame) {
    return this.#latest.ask({ opened: this.#opened, frame });
  }

  async #shown(opened, frame) {
    const { media, start, end } = opened;
    const picture = await media.frames.picture(frame);
    if (opened !== this.#opened && media !== this.#opened?.media) return;
    const stride = this.#canvas.frame === null ? 1 : frame - this.#canvas.frame;
    this.#canvas.draw(picture, frame);
    clearTimeout(this.#warming);
    const warm = () => warmed(media, framesAround(frame, stride, start, end));
    if (Math.abs(stride) <= STRIDE) warm();
    else this.#warming = setTimeout(warm, AFTER_JUMP_MS);
  }

  close() {
    clearTimeout(this.#warming);
    this.#opened = null;
  }
}
