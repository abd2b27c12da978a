// The stage: the exact picture when stopped, <video> with sound when playing. Chooses between WebCodecs and the plain <video> and says which.

import { BytesError } from "./byte_source.js";
import { ExactCanvas } from "./exact_canvas.js";
import { ExactPlayer } from "./exact_player.js";
import { FallbackPlayer } from "./fallback_player.js";
import { FrameBytesError, FrameDecodeError } from "./frame_decoder.js";
import { FrameIndexError } from "./frame_index.js";
import { Playback, playedWith } from "./playback.js";

export const RATES = [0.5, 1, 1.5, 2, 4];
const PRELOAD_AFTER_MS = 350;
const RETRY_MS = 3000;
const LATE_MS = 400; // a picture that takes longer is said to be on its way
const REST_MS = 250; // without a wish, after the picture is there
const MOST_MOVES = 3;
const REST_LATEST_MS = 2000; // a browser that is never idle is at rest then

/**
 * Events, by `on(name, handler)`:
 *   "frame" {frame, playing}: that frame is on screen. "state" {playing, rate, loop, muted}: a control changed.
 *   "engine" {kind: "webcodecs"|"video", reason}: which player is in use, and why not the other.
 *   "problem" {message} | null: the picture cannot be shown, in words; null when it can again. "note" {message}: worth a mention.
 *   "rest": the picture is there, nobody has asked for another since, and the browser has nothing else to do.
 */
export class Player {
  #handlers = new Map();
  #exact;
  #fallback;
  #engine = null; // the one in use
  #playback;
  #clip = null; // {media, start, end}
  #retry = null;
  #preload = null;
  #late = null;
  #rest = null;
  #wishes = 0;
  #moves = 0; // of the plain video by itself, since the last wish
  #closed = false;
  kind = null;
  reason = null;
  /** Frame wanted last; the one on screen is `shown`. */
  frame = 0;
  shown = null;
  playing = false;
  rate = 1;
  loop = true;

  /** stage: element that gets the canvas and the video. library: MediaLibrary. */
  constructor({ stage, library }) {
    this.stage = stage;
    this.library = library;
    const document = stage.ownerDocument;
    const video = document.createElement("video");
    video.className = "picture moving";
    video.setAttribute("aria-hidden", "true");
    video.tabIndex = -1;
    const canvas = document.createElement("canvas");
    canvas.className = "picture still";
    canvas.setAttribute("role", "img");
    stage.append(video, canvas);
    this.video = video;
    this.canvas = new ExactCanvas(canvas);
    this.#exact = new ExactPlayer(this.canvas);
    this.#playback = new Playback(video, {
      onFrame: (frame) => this.#onPlayed(frame),
      onEnded: () => this.#onEnded(),
      onStalled: (stalled) => stage.classList.toggle("stalled", stalled),
      onMoved: () => this.#onMoved(),
      onBroken: (error) => this.#onBroken(error),
    });
    this.#fallback = new FallbackPlayer(this.#playback);
  }

  on(name, handler) {
    this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler]);
  }

  #tell(name, value) {
    for (const handler of this.#handlers.get(name) ?? []) handler(value);
  }

  get clip() {
    return this.#clip;
  }

  /** Show the frames [start, end) of `video` from now on, `frame` first. Promise of true once that frame is on screen. */
  async open(video, start, end, { frame = start, play = false } = {}) {
    const wish = ++this.#wishes;
    const media = this.library.of(video);
    const foreign = this.#clip?.media !== media || this.shown === null || this.shown < start || this.shown >= end;
    this.#stopPlaying();
    this.#clip = { media, start, end };
    this.frame = Math.min(Math.max(frame, start), end - 1);
    if (foreign) {
      // Until the clip's own picture is there, the old one is veiled: it must not be taken for the clip.
      this.shown = null;
      this.stage.classList.add("loading");
      this.#awaits();
    }
    return this.#try(wish, async () => {
      const obstacle = await media.obstacle();
      // A clip of any length: its first frame, from which times count, and the one to show; more as it is needed.
      await Promise.all([media.index.ensure(start, start + 1), media.index.ensure(this.frame, this.frame + 1)]);
      if (wish !== this.#wishes) return false;
      this.#use(obstacle ? this.#fallback : this.#exact, obstacle);
      this.#engine.open(media, start, end);
      this.#playback.open(media, start, end);
      const shown = await this.#showNow(wish, this.frame);
      if (shown && play) await this.play();
      else this.#preloadSoon();
      return shown;
    });
  }

  /** Have the beginning of a clip that comes later ready, so that it appears at once. */
  async warm(video, start, end) {
    const media = this.library.of(video);
    try {
      const obstacle = await media.obstacle();
      if (obstacle) return void (await media.warmSegment(...playedWith(start, start, end)));
      const frames = [start, start + 1, start + 2, start + 3, end - 1].filter((frame, place, all) => frame < end && all.indexOf(frame) === place);
      await Promise.all([media.index.ensure(start, frames.length > 1 ? frames.at(-2) + 1 : start + 1), media.index.ensure(end - 1, end)]);
      await media.frames.warm(frames, { ahead: 1 });
    } catch {
      // told when the clip is opened
    }
  }

  /**
   * Have the bytes of the first pictures of clips that come later, one after the other, so that an outage does not end the review at once.
   * Meant for "rest"; the next wish ends it. Clips of other videos are left out: only a few videos are held open.
   * clips: [[start, end]] of the video on the stage.
   */
  async hoard(clips) {
    const wish = this.#wishes;
    const { media } = this.#clip ?? {};
    if (!media || this.#engine !== this.#exact) return;
    for (const [start] of clips) {
      if (wish !== this.#wishes || this.#closed) return;
      try {
        await media.index.ensure(start, start + 1);
        await media.bytes.read(media.index.bytes(start));
      } catch {
        return; // told when the clip is opened
      }
    }
  }

  #use(engine, reason) {
    if (this.#engine === engine && this.reason === reason) return;
    this.#engine = engine;
    this.kind = engine.kind;
    this.reason = reason;
    this.stage.dataset.player = engine.kind;
    this.#tell("engine", { kind: engine.kind, reason });
  }

  /** Show a frame of the clip, stopped; outside frames count as the first or last. Promise of true when it is on screen, false when passed over. */
  show(frame) {
    if (!this.#clip) return Promise.resolve(false);
    const wish = ++this.#wishes;
    this.#moves = 0;
    this.#stopPlaying();
    this.frame = Math.min(Math.max(frame, this.#clip.start), this.#clip.end - 1);
    return this.#try(wish, () => this.#showNow(wish, this.frame));
  }

  step(frames) {
    return this.show(this.frame + frames);
  }

  async #showNow(wish, frame) {
    const clip = this.#clip;
    let done;
    this.#awaits();
    try {
      done = await this.#engine.show(frame);
    } catch (error) {
      if (!(error instanceof FrameDecodeError) || clip !== this.#clip || this.playing) throw error;
      this.#use(this.#fallback, error.message);
      this.#fallback.open(clip.media, clip.start, clip.end);
      done = await this.#fallback.show(frame);
    }
    if (clip !== this.#clip || this.playing) return false;
    if (done) this.#onShown(frame);
    return done && wish === this.#wishes;
  }

  #onShown(frame) {
    if (frame === this.frame) this.#onTime();
    this.shown = frame;
    this.stage.classList.remove("playing", "loading");
    this.#tell("problem", null);
    this.#tell("frame", { frame, playing: false });
    this.#restSoon();
  }

  #restSoon() {
    clearTimeout(this.#rest);
    const wish = this.#wishes;
    const rest = () => wish === this.#wishes && !this.#closed && this.#tell("rest");
    this.#rest = setTimeout(() => whenIdle(rest), REST_MS);
  }

  #awaits() {
    clearTimeout(this.#late);
    this.#late = setTimeout(() => this.stage.classList.add("stalled"), LATE_MS);
  }

  /** The picture wanted is there, or something else is said or done about it. */
  #onTime() {
    clearTimeout(this.#late);
    this.stage.classList.remove("stalled");
  }

  /** Run a request; a failure is shown in words, and the request is tried again until it succeeds or a newer one replaces it. */
  async #try(wish, work) {
    clearTimeout(this.#retry);
    try {
      return await work();
    } catch (error) {
      if (wish !== this.#wishes || this.#closed || error.name === "AbortError") return false;
      this.#onTime();
      this.#tell("problem", { message: error.message || String(error), code: error instanceof BytesError ? error.code : null });
      const foreign = error instanceof FrameBytesError || error instanceof FrameIndexError || error.code === "mismatch";
      if (foreign) this.#clip?.media.reset();
      this.#retry = setTimeout(() => wish === this.#wishes && this.#again(), RETRY_MS);
      return false;
    }
  }

  #again({ play = false } = {}) {
    const { media, start, end } = this.#clip;
    this.open(media.video, start, end, { frame: this.frame, play });
  }

  /** The video that is on screen has failed: show the frame where it stood, and play on if it played. */
  #onBroken(error) {
    const { playing } = this;
    if (!this.#clip || (!playing && this.#engine !== this.#fallback)) return; // out of sight: loaded anew when it is played
    const wish = ++this.#wishes;
    this.#stopPlaying();
    this.#tell("problem", { message: error.message, code: null });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => wish === this.#wishes && this.#again({ play: playing }), RETRY_MS);
  }

  /** The plain video moved by itself while it stood: show again the frame that was wanted. */
  #onMoved() {
    if (!this.#clip || this.playing || this.#engine !== this.#fallback || this.shown !== this.frame || ++this.#moves > MOST_MOVES) return;
    const wish = ++this.#wishes;
    this.#try(wish, () => this.#showNow(wish, this.frame));
  }

  #preloadSoon() {
    clearTimeout(this.#preload);
    if (this.#engine === this.#fallback) return; // it has loaded the segment already
    this.#preload = setTimeout(() => this.#playback.prepare(this.frame).catch(() => {}), PRELOAD_AFTER_MS);
  }

  async play() {
    if (!this.#clip || !this.#engine || this.playing) return;
    const wish = ++this.#wishes;
    const clip = this.#clip;
    clearTimeout(this.#preload);
    const from = this.frame >= clip.end - 1 ? clip.start : this.frame;
    this.#setPlaying(true);
    try {
      const muted = await this.#playback.play(from, { rate: this.rate, loop: this.loop });
      if (wish !== this.#wishes) return;
      this.#tell("problem", null);
      this.#restSoon();
      if (muted) {
        this.#tell("note", { message: "The browser allows sound only after a click: playing without." });
        this.#tellState();
      }
    } catch (error) {
      if (wish !== this.#wishes) return;
      this.#setPlaying(false);
      this.stage.classList.remove("playing");
      this.#tell("note", { message: error.message });
    }
  }

  #onPlayed(frame) {
    if (!this.playing) return;
    // The canvas stays on top until the video has presented its first frame: no flash of an older one.
    this.stage.classList.add("playing");
    this.stage.classList.remove("loading");
    this.frame = this.shown = frame;
    this.#tell("frame", { frame, playing: true });
  }

  #onEnded() {
    if (this.playing) this.pause();
  }

  /** Stop, and show the very frame at which the picture stood. Promise of true when it is on screen. */
  async pause() {
    if (!this.playing) return false;
    const wish = ++this.#wishes;
    this.#setPlaying(false);
    const frame = await this.#playback.pause();
    if (wish !== this.#wishes) return false;
    if (frame !== null) this.frame = frame;
    return this.#try(wish, () => this.#showNow(wish, this.frame));
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  #stopPlaying() {
    clearTimeout(this.#preload);
    if (!this.playing) return;
    this.#playback.pause();
    this.#setPlaying(false);
  }

  #setPlaying(playing) {
    this.playing = playing;
    this.#onTime();
    this.#tellState();
  }

  #tellState() {
    this.#tell("state", { playing: this.playing, rate: this.rate, loop: this.loop, muted: this.video.muted });
  }

  setRate(rate) {
    this.rate = rate;
    this.#playback.set({ rate });
    this.#tellState();
  }

  setLoop(loop) {
    this.loop = loop;
    this.#playback.set({ loop });
    this.#tellState();
  }

  setMuted(muted) {
    this.video.muted = muted;
    this.#tellState();
  }

  close() {
    this.#closed = true;
    this.#wishes++;
    clearTimeout(this.#retry);
    clearTimeout(this.#preload);
    clearTimeout(this.#late);
    clearTimeout(this.#rest);
    this.#playback.close();
    this.#exact.close();
  }
}

/** Run `work` once the browser has nothing else to do. */
function whenIdle(work) {
  if (typeof requestIdleCallback === "function") requestIdleCallback(work, { timeout: REST_LATEST_MS });
  else setTimeout(work);
}
