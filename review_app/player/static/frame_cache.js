// Decoded pictures within a byte budget, least recently used out first.

export class FrameCache {
  #pictures = new Map(); // key -> ImageBitmap
  #bytes = 0;

  constructor({ budgetBytes }) {
    this.budgetBytes = budgetBytes;
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
      if (this.#bytes <= this.budgetBytes || this.#pictures.size <= 2) break;
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
  return picture.width * picture.height * 4;
}
