// Decisions on a selection on their way to the server: kept in the browser until there is an answer.

const PREFIX = "heaters.grid";
const WAITS_MS = [400, 800, 1500, 3000, 6000, 12_000];
const REFUSALS = new Set([400, 404, 409, 410, 422]);

/**
 * One reviewer's decisions on selections without an answer yet, oldest first. They outlive the page: the next page that reads the storage sends them,
 * under the same request keys. storage: localStorage or alike; null when it is switched off.
 */
export class Undelivered {
  #held = new Map(); // name -> entry; with those that the storage did not take

  constructor(reviewer, storage) {
    this.prefix = `${PREFIX}/${reviewer}/`;
    this.storage = storage;
  }

  /** entry: {decision, told, undoKey}. Returns whether it would survive a reload. */
  add(entry) {
    const name = `${this.prefix}${entry.decision.request_key}`;
    const stamped = { ...entry, at: Date.now() };
    this.#held.set(name, stamped);
    try {
      this.storage.setItem(name, JSON.stringify(stamped));
      return true;
    } catch {
      return false;
    }
  }

  /** The oldest entry, or undefined. */
  first() {
    for (let n = 0; n < (this.storage?.length ?? 0); n++) {
      const name = this.storage.key(n);
      if (!name.startsWith(this.prefix) || this.#held.has(name)) continue;
      try {
        const entry = JSON.parse(this.storage.getItem(name));
        if (entry?.decision) this.#held.set(name, entry);
      } catch {
        // damaged: left alone
      }
    }
    return [...this.#held.values()].sort((one, other) => one.at - other.at)[0];
  }

  remove({ decision }) {
    const name = `${this.prefix}${decision.request_key}`;
    this.#held.delete(name);
    this.storage?.removeItem(name);
  }
}

/**
 * Send a decision until the server has answered. Promise of {ok, error, told}; told: the server's own words for what was done, where it has
 * some; a refusal of the server is an answer, everything else is temporary.
 * send(decision): promise of a Response. onWait(error, status): before each wait. wait(ms): promise.
 */
export async function answered(decision, { send, onWait, wait }) {
  for (let tried = 0; ; tried++) {
    let error = "No connection to the server";
    let status = null;
    try {
      const response = await send(decision);
      const answer = await response.json().catch(() => null);
      if (response.ok && answer) return answer.told ? { ok: true, told: answer.told } : { ok: true };
      status = response.status;
      error = answer?.error ?? `The server answers ${status}`;
      if (REFUSALS.has(status) && answer?.error) return { ok: false, error };
    } catch {
      // sent again below
    }
    onWait(error, status);
    await wait(WAITS_MS[Math.min(tried, WAITS_MS.length - 1)]);
  }
}

export function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
