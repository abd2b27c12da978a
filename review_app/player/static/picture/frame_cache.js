// Decoded pictures within a budget, least recently used out first.

export class FrameCache {
  #pictures = new Map(); // key -> VideoFrame or ImageBitmap
  #bytes = 0;

  /** budgetBytes: of pixels; most: pictures. VideoFrames are few by nature: a hardware decoder has a small pool of them and stops when all are held. */
  constructor({ budgetBytes = Infinity, most = Infinity }) {
    this.budgetBytes = budgetBytes;
    this.most = most;
  }

  get size() {
    return this.#pictures.size;
  }

  has(key) {
    return this.#pictures.has(key);
  }

  /** The picture is lent: draw it at once, do not close it. undefined when it is not held. */
  get(key) {
    const picture = this.#pictures.get(key);
    if (picture) {
      this.#pictures.delete(key);
      this.#pictures.set(key, picture);
    }
    return picture;
  }

  /** Takes ownership of `picture`: it is closed here when it goes. The two newest stay whatever their size, or nothing could be drawn. */
  set(key, picture) {
    this.#drop(key);
    this.#pictures.set(key, picture);
    this.#bytes += bytesOf(picture);
    for (const old of this.#pictures.keys()) {
      if ((this.#bytes <= this.budgetBytes && this.#pictures.size <= this.most) || this.#pictures.size <= 2) break;
      this.#drop(old);
    }
  }

  clear() {
    for (const key of [...this.#pictures.keys()]) this.#drop(key);
  }

  #drop(key) {
    const picture = this.#pictures.get(key);
    if (!picture) return;
    this.#pictures.delete(key);
    this.#bytes -= bytesOf(picture);
    picture.close(); // the cache owned it: decoder -> frame_source -> here
  }
}

function bytesOf(picture) {
  return (picture.displayWidth ?? picture.width) * (picture.displayHeight ?? picture.height) * 4;
}
