// A reviewer's decisions on their way to the server, for every page on which somebody decides: the outbox of this tab, and what closed tabs left.
//
// Each kind of page delivers what pages of its kind have left. In one document a page may be gone and still send; the next page of its kind
// takes over what is stored.

import { claimedLane, takenOver } from "./lane.js";
import { Outbox } from "./outbox.js";
import { browserStorage, MemoryStorage } from "./storage.js";

const ADOPT_MS = 4000;
const nothing = () => ({ ids: {}, versions: {} });
const latest = new Map(); // kind and reviewer -> the delivery that was made last
const leaving = new Set(); // deliveries whose page is gone and that still send

export class Delivery {
  #outbox; // its arguments
  #release = new AbortController(); // lets go of the lane
  #timer = null;
  #closed = false;
  /** Null until the lane is claimed: nothing can be decided before. */
  outbox = null;

  /**
   * kind: of pages; "outbox" is Review, whose decisions are stored by that name since 0.1.0. reviewer: whose decisions. storage, send, learn,
   * onConfirmed, onRefused, onState: as Outbox's. onRestored(decisions): those of an earlier page, which are delivered now.
   */
  constructor({ kind, reviewer, storage = browserStorage(), learn = nothing, onRestored = () => {}, ...others }) {
    Object.assign(this, { kind, reviewer: String(reviewer), onRestored });
    this.#outbox = { storage, learn, ...others };
    latest.set(this.#name, this);
  }

  get #name() {
    return `${this.kind}/${this.reviewer}`;
  }

  get #lane() {
    return { kind: this.kind, reviewer: this.reviewer, release: this.#release.signal };
  }

  /** Decisions without an answer yet, oldest first. */
  get decisions() {
    return this.outbox?.decisions ?? [];
  }

  /** Promise that settles when decisions can be made and those of earlier pages are on their way. */
  async open() {
    for (const other of leaving) if (other.#name === this.#name) other.#letGo(); // what it has not delivered is this one's now
    const lane = await claimedLane(this.#lane);
    if (this.#closed) return;
    this.outbox = new Outbox({ ...this.#outbox, kind: this.kind, reviewer: this.reviewer, lane });
    this.outbox.kept = !(this.#outbox.storage instanceof MemoryStorage);
    const { signal } = this.#release;
    globalThis.addEventListener("online", () => this.outbox.poke(), { signal });
    const warn = (event) => {
      if (!this.outbox.kept && this.decisions.length) event.preventDefault();
    };
    globalThis.addEventListener("beforeunload", warn, { signal });
    this.onRestored(this.decisions);
    await this.#adopt();
    if (this.#closed) return;
    this.outbox.start();
    this.#adoptSoon();
  }

  #adoptSoon() {
    this.#timer = setTimeout(async () => {
      await this.#adopt();
      if (!this.#closed) this.#adoptSoon();
    }, ADOPT_MS);
  }

  /** Take over what other tabs of this reviewer, closed since, have left. */
  async #adopt() {
    for (const lane of this.outbox.otherLanes()) {
      if (!(await takenOver({ ...this.#lane, lane }))) continue;
      const decisions = this.outbox.adopt(lane);
      if (decisions.length && !this.#closed) this.onRestored(decisions);
    }
  }

  /** The page is gone: what is undelivered is sent on as long as the document lives. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    const { outbox } = this;
    const passedOn = outbox?.kept && latest.get(this.#name) !== this; // the next page is there already
    if (!outbox || passedOn) {
      this.#letGo();
      return;
    }
    if (outbox.kept) leaving.add(this);
    outbox.leave().finally(() => this.#letGo());
  }

  /** Send nothing more: the next page takes over what is stored. */
  #letGo() {
    leaving.delete(this);
    this.outbox?.stop();
    this.#release.abort();
  }
}
