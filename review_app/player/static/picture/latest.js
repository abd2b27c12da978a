// Latest request wins, without starving: one piece of work runs, the newest request waits, those between are dropped.

export class Latest {
  #work;
  #running = false;
  #waiting = null; // {value, settle}

  /** work(value): promise. It is never run twice at the same time. */
  constructor(work) {
    this.#work = work;
  }

  /** Promise of true when the work on `value` is done, false when a later request replaced it. Rejects when the work does. */
  ask(value) {
    return new Promise((resolve, reject) => {
      this.#waiting?.resolve(false);
      this.#waiting = { value, resolve, reject };
      if (!this.#running) this.#run();
    });
  }

  get idle() {
    return !this.#running;
  }

  async #run() {
    this.#running = true;
    while (this.#waiting) {
      const { value, resolve, reject } = this.#waiting;
      this.#waiting = null;
      try {
        await this.#work(value);
        resolve(true);
      } catch (error) {
        reject(error);
      }
    }
    this.#running = false;
  }
}
