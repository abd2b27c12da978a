/** Web Locks as far as lanes use them; a request that would wait is given up at once. */
export class FakeLocks {
  #held = new Set();

  async request(name, { signal }, hold) {
    if (this.#held.has(name)) {
      if (signal) throw new DOMException("timed out", "TimeoutError");
      return hold(null);
    }
    this.#held.add(name);
    await hold({ name });
    this.#held.delete(name);
  }
}
