// A <video> on the served segment of one clip: plays with sound, timeline from 0, and names its frames by presented media time.
//
// `currentTime` is never used to name a frame: it named another frame than the one on screen in 13 of 25 pauses.

const READY_MS = 15_000;
const PRESENTED_MS = 2_500;
const GRACE_MS = 250; // from the end of a seek to the presentation of its frame, on a busy machine
/** A longer clip is played in parts of so many frames, two minutes or so: a segment is a file that the server makes while the browser waits. */
export const PART_FRAMES = 4096;
const SEEK_PLACES = [0.5, 0.3, 0.7, 0.5]; // where in the frame's showing to seek, one try after the other

export class PlaybackError extends Error {
  constructor(message) {
    super(message);
    this.name = "PlaybackError";
  }
}

/** The part of a clip [start, end) that is played with `frame`: [start, end); a clip that is not long is one part. */
export function playedWith(frame, start, end, most = PART_FRAMES) {
  if (end - start <= most) return [start, end];
  const first = start + Math.floor((frame - start) / most) * most;
  return [first, Math.min(first + most, end)];
}

/** Why a segment does not load, asked of the server: a video element says "format error" to everything. null when it is served. */
async function reason(url) {
  try {
    const response = await fetch(url, { headers: { Range: "bytes=0-0" }, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(READY_MS) });
    if (response.ok) return null;
    const words = await response.json().then(({ error }) => error).catch(() => null);
    return new PlaybackError(words ?? `The media server answers ${response.status}.`);
  } catch {
    return new PlaybackError("The media server does not answer.");
  }
}

export class Playback {
  #clip = null; // {media, start, end}
  #opened = null; // {media, start, end, ready}: the part of the clip that is loaded; ready: promise once prepare() was asked for
  #loop = false;
  #loaded = null; // the same object once its segment is the video's source
  #waiters = new Set();
  #callback = null;
  #replaced = null; // ends the load that is under way; null when none is
  #wanted = null; // the play() that stands, null when a pause has come since
  #broken = null; // why the source that was loaded is of no more use
  #stands = null; // the frame with which the last seek ended; null when it plays, or has not been sought
  playing = false;
  /** Frame last presented by the video element, null before the first. */
  shown = null;

  /**
   * onFrame(frame): each frame presented while playing. onEnded(). onStalled(boolean): waits for data.
   * onMoved(): stopped, the video element presents another frame after the one that was sought, as a busy browser may.
   * onBroken(PlaybackError): the segment had loaded and then failed; the next prepare() loads it anew.
   */
  constructor(video, { onFrame = () => {}, onEnded = () => {}, onStalled = () => {}, onMoved = () => {}, onBroken = () => {}, partFrames = PART_FRAMES } = {}) {
    Object.assign(this, { video, onFrame, onEnded, onStalled, onMoved, onBroken, partFrames });
    video.preload = "auto";
    video.playsInline = true;
    video.disablePictureInPicture = true;
    this.named = typeof video.requestVideoFrameCallback === "function";
    this.#listen("ended", () => this.#onPartEnded());
    this.#listen("error", () => this.#onError());
    this.#listen("waiting", () => this.playing && this.onStalled(true));
    this.#listen("playing", () => this.onStalled(false));
    if (this.named) this.#watch();
  }

  #listen(event, handler) {
    this.video.addEventListener(event, handler);
  }

  #watch() {
    this.#callback = this.video.requestVideoFrameCallback((now, { mediaTime }) => {
      this.#watch();
      this.#presented(mediaTime);
    });
  }

  /** The end of the clip, or of a part: then the next one plays on, and after the last one the first when it is to loop. */
  #onPartEnded() {
    const { start, end } = this.#clip ?? {};
    const over = !this.#opened || this.#opened.end >= end;
    if (!this.playing || (over && !(this.#loop && !this.#isWhole))) {
      this.#wanted = null;
      this.playing = false;
      this.onEnded();
      return;
    }
    this.onStalled(true);
    const wanted = this.play(over ? start : this.#opened.end, { rate: this.video.playbackRate, loop: this.#loop });
    wanted.catch((error) => {
      this.playing = false;
      this.onBroken(error);
    });
  }

  /** Whether the loaded part is the whole clip. */
  get #isWhole() {
    return this.#opened?.start === this.#clip?.start && this.#opened?.end === this.#clip?.end;
  }

  /** Take the part of the clip that holds `frame`. */
  #enter(frame) {
    if (!this.#clip || (this.#opened && frame >= this.#opened.start && frame < this.#opened.end)) return;
    const { media } = this.#clip;
    const [start, end] = playedWith(frame, this.#clip.start, this.#clip.end, this.partFrames);
    this.#opened = { media, start, end, ready: null };
    this.#loaded = this.#broken = null;
    this.shown = this.#stands = null;
  }

  /** prepare() throws an error that comes while a segment loads; one later is a link that expired or a line that broke beyond what is buffered. */
  #onError() {
    if (!this.#loaded || this.#replaced) return;
    this.#broken = new PlaybackError(`The clip does not load any further (${this.video.error?.message || "no reason given"}).`);
    this.#unload();
    this.#wanted = null;
    this.playing = false;
    this.onBroken(this.#broken);
  }

  /** The loaded segment is of no more use: the next prepare() loads it again. */
  #unload() {
    if (this.#loaded) this.#loaded.ready = null;
    this.#loaded = this.shown = this.#stands = null;
  }

  #presented(mediaTime) {
    const opened = this.#loaded;
    if (!opened) return;
    this.shown = opened.media.index.frameOfMediaTime(mediaTime, opened.start, opened.end);
    this.video.dataset.frame = this.shown;
    for (const waiter of this.#waiters) waiter(this.shown);
    if (this.playing) this.onFrame(this.shown);
    else if (this.#stands !== null && this.#stands !== this.shown && !this.video.seeking) {
      this.#stands = null;
      this.onMoved();
    }
  }

  /** Play [start, end) of `media` from now on. Nothing is fetched before prepare(), seek() or play(). */
  open(media, start, end) {
    const same = this.#clip && this.#clip.media === media && this.#clip.start === start && this.#clip.end === end;
    if (same) return;
    this.halt();
    this.#clip = { media, start, end };
    this.#enter(start);
  }

  /** Have the segment loaded that holds `frame` (default: that of the loaded part), once for all who ask. Throws PlaybackError. */
  async prepare(frame = null) {
    if (frame !== null) this.#enter(frame);
    const opened = this.#opened;
    if (!opened) throw new PlaybackError("No clip is open.");
    const ready = (opened.ready ??= this.#prepared(opened));
    try {
      await ready;
    } catch (error) {
      if (opened.ready === ready) opened.ready = null; // the next prepare() begins anew
      throw error;
    }
    this.#mustBe(opened);
    if (opened !== this.#loaded) throw this.#broken; // just now
  }

  #mustBe(opened) {
    if (opened !== this.#opened) throw new PlaybackError("Another clip was opened.");
  }

  async #prepared(opened) {
    await opened.media.index.ensure(opened.start, opened.end + 1);
    this.#mustBe(opened);
    try {
      await this.#load(opened);
    } catch {
      this.#mustBe(opened);
      // An expired link looks like any other media error: once more, with fresh links.
      await opened.media.refresh().catch(() => {});
      this.#mustBe(opened);
      try {
        await this.#load(opened);
      } catch (lasting) {
        if (opened === this.#loaded) this.#loaded = null;
        throw (await reason(opened.media.segmentUrl(opened.start, opened.end))) ?? lasting;
      }
    }
  }

  /** Set the source. Promise that is settled when its first frame is there; asked once per source: a seek lowers readyState again. */
  #load(opened) {
    const { video } = this;
    const stop = new AbortController();
    this.#replaced?.();
    this.#loaded = opened;
    this.shown = null;
    const ready = new Promise((resolve, reject) => {
      const settle = (how, value) => {
        stop.abort();
        clearTimeout(timer);
        this.#replaced = null;
        how(value);
      };
      const refused = () => settle(reject, new PlaybackError(`The browser cannot play the clip (${video.error?.message || "no reason given"}).`));
      const timer = setTimeout(() => settle(reject, new PlaybackError("The clip does not load.")), READY_MS);
      this.#replaced = () => settle(reject, new PlaybackError("Another clip was opened."));
      video.addEventListener("loadeddata", () => settle(resolve), { signal: stop.signal });
      video.addEventListener("error", refused, { signal: stop.signal });
    });
    video.src = opened.media.segmentUrl(opened.start, opened.end);
    video.load();
    return ready;
  }

  /** Promise that resolves when the video element presents exactly `frame`, stopped; a play() that stands goes before. Throws PlaybackError. */
  async seek(frame) {
    await this.prepare(frame);
    const opened = this.#loaded;
    const { index } = opened.media;
    const passedOver = () => {
      if (this.#wanted) throw new PlaybackError("The clip was played meanwhile.");
    };
    passedOver();
    // Only where a seek has ended: after a pause the element may show the frame after the one that it presented last, without presenting it.
    if (this.#stands === frame && this.shown === frame && !this.video.seeking) return;
    this.#stands = null;
    const from = index.seconds(frame, opened.start);
    const length = index.seconds(frame + 1, opened.start) - from;
    for (const place of SEEK_PLACES) {
      const presented = this.#afterSeek(frame);
      this.video.currentTime = from + length * place;
      const shown = await presented;
      if (opened !== this.#loaded) throw this.#broken ?? new PlaybackError("Another clip was opened.");
      passedOver();
      if (shown === frame || !this.named) {
        this.shown = this.#stands = frame;
        return;
      }
    }
    const { shown } = this;
    this.#unload();
    throw new PlaybackError(`The browser shows frame ${shown} of this clip instead of ${frame}.`);
  }

  /**
   * The frame on screen once the seek has ended: `frame` as soon as it is presented, another when the seek ended without it.
   * Without requestVideoFrameCallback the end of the seek must do.
   */
  #afterSeek(frame) {
    return new Promise((resolve) => {
      const stop = new AbortController();
      const settle = () => {
        stop.abort();
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        resolve(this.shown);
      };
      let presented = false;
      const waiter = (shown) => {
        presented = shown === frame;
        if (presented && !this.video.seeking) settle();
      };
      const timer = setTimeout(settle, PRESENTED_MS);
      // Until the seek has ended, a frame that was played before it may still come in.
      const ended = () => {
        if (!this.named) requestAnimationFrame(settle);
        else if (presented) settle();
        else setTimeout(settle, GRACE_MS);
      };
      this.#waiters.add(waiter);
      this.video.addEventListener("seeked", ended, { signal: stop.signal });
      this.video.addEventListener("error", settle, { signal: stop.signal });
    });
  }

  /** Play on from `frame`, unless paused before it begins. Resolves then; sound is muted when the browser forbids it, and then true is returned. */
  async play(frame, { rate, loop }) {
    const wanted = (this.#wanted = {});
    this.#stands = null;
    try {
      await this.prepare(frame);
    } catch (error) {
      if (wanted === this.#wanted) this.#wanted = null;
      throw error;
    }
    if (wanted !== this.#wanted) return false;
    const opened = this.#loaded;
    const { video } = this;
    this.set({ rate, loop });
    const target = opened.media.index.middleSeconds(frame, opened.start);
    if (this.shown !== frame || video.ended || Math.abs(video.currentTime - target) > 1) {
      video.currentTime = target;
      this.shown = null;
    }
    this.playing = true;
    try {
      await video.play();
      return false;
    } catch (error) {
      if (error.name === "AbortError") return false; // paused or replaced meanwhile
      if (wanted !== this.#wanted) return false;
      if (error.name !== "NotAllowedError") {
        this.playing = false;
        this.#wanted = null;
        throw new PlaybackError(`The browser does not play the clip: ${error.message}`);
      }
      video.muted = true;
      await video.play();
      return true;
    }
  }

  set({ rate, loop }) {
    if (rate !== undefined) this.video.playbackRate = this.video.defaultPlaybackRate = rate;
    if (loop === undefined) return;
    this.#loop = loop;
    this.video.loop = loop && this.#isWhole;
  }

  /** Stop. Promise of the frame that is on screen: the last one presented, also when it comes in just after the pause; null when it had not begun. */
  async pause() {
    const begun = this.playing || this.video.ended;
    this.#wanted = null;
    this.playing = false;
    this.video.pause();
    for (let i = 0; i < 2; i++) await new Promise((done) => requestAnimationFrame(done));
    return begun ? this.shown : null;
  }

  /** Stop at once and let go of the clip. */
  halt() {
    this.#wanted = null;
    this.playing = false;
    this.video.pause();
    this.#clip = this.#opened = this.#loaded = this.#broken = null;
    this.shown = this.#stands = null;
    delete this.video.dataset.frame;
  }

  close() {
    this.halt();
    if (this.named) this.video.cancelVideoFrameCallback(this.#callback);
    this.video.removeAttribute("src");
    this.video.load(); // lets go of the connection
  }
}
