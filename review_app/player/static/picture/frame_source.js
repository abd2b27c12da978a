// Frame number -> picture: index, bytes, decoder and cache put together. Each frame is fetched and decoded once, however many callers ask.

const DECODE_AHEAD = 3;

export class FrameSource {
  #pending = new Map(); // frame -> promise of the picture
  #warming = 0;

  /**
   * index: FrameIndex; bytes: ByteSource; decoder: FrameDecoder; cache: FrameCache (may be shared, hence `name`, which tells videos and
   * sizes apart); width: pixels across of scaled copies. null keeps the decoder's own VideoFrames: drawing one takes a fraction of the time
   * of making an ImageBitmap (0.4 against 17 ms at 720p without a GPU), but only a handful may be held.
   */
  constructor({ index, bytes, decoder, cache, name, width = null }) {
    Object.assign(this, { index, bytes, decoder, cache, name, width });
  }

  key(frame) {
    return `${this.name}/${frame}`;
  }

  /** Promise of the picture of `frame`, lent by the cache: draw it at once, do not close it. Throws BytesError, FrameDecodeError and kin. */
  async picture(frame, { urgent = true, signal = null } = {}) {
    const held = this.cache.get(this.key(frame));
    if (held) return held;
    let pending = this.#pending.get(frame);
    if (!pending) {
      pending = this.#decoded(frame, urgent, signal).finally(() => this.#pending.delete(frame));
      this.#pending.set(frame, pending);
    }
    await pending;
    return this.cache.get(this.key(frame)) ?? this.picture(frame, { urgent, signal });
  }

  async #decoded(frame, urgent, signal) {
    await this.index.ensure(frame, frame + 1);
    const data = await this.bytes.read(this.index.bytes(frame));
    const decoded = await this.decoder.decode(frame, data, { urgent, signal });
    if (!this.width) {
      this.cache.set(this.key(frame), decoded); // the decoder gave it to us, the cache closes it
      return;
    }
    try {
      const { displayWidth, displayHeight } = decoded;
      const resizeHeight = Math.max(1, Math.round((this.width * displayHeight) / displayWidth));
      const small = await createImageBitmap(decoded, { resizeWidth: this.width, resizeHeight, resizeQuality: "medium" });
      this.cache.set(this.key(frame), small); // the cache closes it
    } finally {
      decoded.close(); // the decoder gave it to us
    }
  }

  /**
   * Fetch the bytes of `frames` (nearest first) and have the first `ahead` of them decoded. A newer call replaces what is still to be done.
   * Those that the cache holds count as used: it holds six, and each one decoded beyond the first `ahead` would drive out one that is needed sooner.
   */
  async warm(frames, { ahead = DECODE_AHEAD } = {}) {
    const ticket = ++this.#warming;
    const known = frames.filter((frame) => this.index.has(frame));
    this.bytes.prefetch(known.filter((frame) => !this.cache.has(this.key(frame))).map((frame) => this.index.bytes(frame)));
    for (const frame of known.slice(0, ahead)) {
      if (ticket !== this.#warming) return;
      try {
        await this.picture(frame, { urgent: false });
      } catch {
        return; // told when somebody asks for the frame itself
      }
    }
  }

  close() {
    this.#warming++;
    this.decoder.close();
  }
}
