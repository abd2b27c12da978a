// Frame number -> picture: index, bytes, decoder and cache put together. Each frame is fetched and decoded once, whoever asks.

const DECODE_AHEAD = 3;

export class FrameSource {
  #pending = new Map(); // frame -> promise of the picture
  #warming = 0;

  /**
   * index: FrameIndex; bytes: ByteSource; decoder: FrameDecoder; cache: FrameCache (may be shared, hence `name`, which tells videos and
   * sizes apart); width: pixels across of the pictures, null for the video's own size.
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
    try {
      const { displayWidth, displayHeight } = decoded;
      const options = this.width
        ? { resizeWidth: this.width, resizeHeight: Math.max(1, Math.round((this.width * displayHeight) / displayWidth)), resizeQuality: "medium" }
        : {};
      this.cache.set(this.key(frame), await createImageBitmap(decoded, options)); // the bitmap is the cache's to close
    } finally {
      decoded.close(); // the decoder gave it to us; held frames stall a hardware decoder
    }
  }

  /** Fetch the bytes of `frames` (nearest first) and decode the first few. A newer call replaces what is still to be done. */
  async warm(frames, { ahead = DECODE_AHEAD } = {}) {
    const ticket = ++this.#warming;
    const wanted = frames.filter((frame) => this.index.has(frame) && !this.cache.has(this.key(frame)));
    this.bytes.prefetch(wanted.map((frame) => this.index.bytes(frame)));
    for (const frame of wanted.slice(0, ahead)) {
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
