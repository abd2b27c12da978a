// Decisions on their way to the server: numbered, stored before anything is sent, sent in order, and removed only when the server has answered.
//
// A decision is sent again until there is an answer; the server knows it by its request key and applies it once. So a burst, a double send,
// a lost connection or a reload in the middle neither loses nor doubles a decision. One tab is one lane; a closed tab's lane is taken over.

import { randomId } from "./lane.js";

const WAITS_MS = [400, 800, 1500, 3000, 6000, 12_000];

/** The server has refused the decision. `code`: "stale", "lease", "illegal", ...; `body`: its whole answer. */
export class Refusal extends Error {
  constructor(message, code, body = {}) {
    super(message);
    this.name = "Refusal";
    this.code = code;
    this.body = body;
  }
}

/** Id that stands for the nth clip that a decision makes, until the server has given it one. */
export function provisionalId(key, place) {
  return `~${key}/${place}`;
}

/** Ids of the clips that a decision names, as strings. */
export function touchedIds(decision) {
  return new Set([decision.clip_id, ...Object.keys(decision.versions ?? {})].filter((id) => id !== undefined && id !== null).map(String));
}

/**
 * A decision with what is known from the answer to an earlier one: ids of new clips, and their versions after it.
 * ids: {provisional id: id}; versions: {id: version}. Only versions not yet known (null) are filled in: a known one is what the reviewer saw.
 */
export function informed(decision, { ids, versions }) {
  const real = (id) => ids[id] ?? id;
  const known = {};
  for (const [id, version] of Object.entries(decision.versions ?? {})) known[real(id)] = version ?? versions[real(id)] ?? null;
  const changed = { ...decision, versions: known };
  if (decision.clip_id !== undefined) changed.clip_id = real(decision.clip_id);
  return changed;
}

export class Outbox {
  #storage;
  #entries = []; // {number, decision, lane}
  #next;
  #page = randomId(4); // part of every request key: without it a page that could not store its numbers would use them again after a reload
  #sending = false;
  #running = null; // promise of the end of the sending
  #left = false;
  #stopped = true;
  #failures = 0;
  #timer = null;
  #poked = null;
  /** Whether every undelivered decision would survive a reload. */
  kept = true;

  /**
   * storage: localStorage or alike. kind: of pages whose decisions these are, each kind has its own. reviewer: whose; lane: id of this tab.
   * send(decision): promise of the server's answer; throws Refusal when the server refuses, anything else for "try again".
   * learn(decision, answer): {ids, versions} for the decisions behind it.
   * Handlers: onConfirmed(decision, answer), onRefused(decision, refusal, dropped), where `dropped` are later decisions that rested on it,
   * onState({waiting, failures, message, kept}).
   */
  constructor({ storage, kind = "outbox", reviewer, lane, send, learn, onConfirmed, onRefused, onState = () => {} }) {
    Object.assign(this, { kind, reviewer, lane, send, learn, onConfirmed, onRefused, onState });
    this.#storage = storage;
    this.#entries = this.#stored(lane);
    this.#next = Math.max(...this.#entries.map((entry) => entry.number), 0) + 1;
  }

  /** Decisions without an answer yet, oldest first. */
  get decisions() {
    return this.#entries.map((entry) => entry.decision);
  }

  get #prefix() {
    return `heaters.${this.kind}/${this.reviewer}/`;
  }

  #name(entry) {
    return `${this.#prefix}${entry.lane}/${String(entry.number).padStart(9, "0")}`;
  }

  #stored(lane) {
    const prefix = `${this.#prefix}${lane}/`;
    return storedNames(this.#storage, prefix)
      .map((name) => ({ number: Number(name.slice(prefix.length)), lane, decision: parsed(this.#storage.getItem(name)) }))
      .filter((entry) => entry.decision && entry.number > 0);
  }

  /** Lanes of this reviewer with undelivered decisions, other than this one. */
  otherLanes() {
    const lanes = storedNames(this.#storage, this.#prefix).map((name) => name.slice(this.#prefix.length).split("/")[0]);
    return [...new Set(lanes)].filter((lane) => lane !== this.lane);
  }

  /** Take over what a closed tab left: its decisions go before ours, under their own keys. Returns them. */
  adopt(lane) {
    const known = new Set(this.#entries.map((entry) => this.#name(entry)));
    const found = this.#stored(lane).filter((entry) => !known.has(this.#name(entry)));
    const behind = this.#sending ? 1 : 0; // never before the one that is being sent
    this.#entries.splice(behind, 0, ...found);
    this.poke();
    return found.map((entry) => entry.decision);
  }

  /** The request key that the next decision will have. */
  get nextKey() {
    return `${this.lane}-${this.#page}-${this.#next}`;
  }

  /**
   * Keep `decision` and send it when its turn comes. Returns it with its request_key. It is in the storage when this returns, so a reload
   * on the next line loses nothing; when the storage refuses (full, or switched off), `kept` is false from then on and onState says so.
   */
  add(decision) {
    const entry = { number: this.#next, lane: this.lane, decision: { ...decision, request_key: this.nextKey } };
    this.#next++;
    this.#keep(this.#name(entry), JSON.stringify(entry.decision));
    this.#entries.push(entry);
    this.#tell();
    this.#run();
    return entry.decision;
  }

  #keep(name, value) {
    try {
      this.#storage.setItem(name, value);
    } catch {
      this.kept = false;
    }
  }

  start() {
    this.#stopped = false;
    this.#tell();
    this.#run();
  }

  /**
   * The page is gone but not the document: go on sending. A refusal stays stored, so that the next page shows it. Promise that settles
   * when nothing more is sent; stop() ends it sooner.
   */
  async leave() {
    this.#left = true;
    Object.assign(this, { onConfirmed: () => {}, onState: () => {} });
    await this.#running;
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#poked?.();
  }

  /** Try now instead of at the end of the wait: the connection is back, or somebody pressed a button. */
  poke() {
    this.#poked?.();
    this.#run();
  }

  #run() {
    if (!this.#sending && !this.#stopped) this.#running = this.#sendAll();
  }

  async #sendAll() {
    this.#sending = true;
    try {
      while (this.#entries.length && !this.#stopped) await this.#sendFirst();
    } finally {
      this.#sending = false;
    }
  }

  async #sendFirst() {
    const entry = this.#entries[0];
    let answer;
    try {
      answer = await this.send(entry.decision);
    } catch (error) {
      if (error instanceof Refusal && this.#left) this.stop();
      else if (error instanceof Refusal) this.#refused(entry, error);
      else await this.#pause(error);
      return;
    }
    this.#failures = 0;
    const lesson = this.learn(entry.decision, answer);
    this.#teach(this.#entries.slice(1), lesson);
    // Removed last: when the page dies before this line the decision is sent again, and the server answers as it did.
    this.#remove(entry);
    this.onConfirmed(entry.decision, answer);
    this.#tell();
  }

  /**
   * Ids go to all waiting decisions. A version goes only to the first that touches the clip: later ones depend on the version that this one makes.
   */
  #teach(entries, { ids, versions }) {
    const open = { ...versions };
    for (const entry of entries) {
      const taught = informed(entry.decision, { ids, versions: open });
      for (const id of touchedIds(taught)) delete open[id];
      if (JSON.stringify(taught) === JSON.stringify(entry.decision)) continue;
      entry.decision = taught;
      this.#keep(this.#name(entry), JSON.stringify(taught));
    }
  }

  #refused(entry, refusal) {
    this.#failures = 0;
    this.#remove(entry);
    const gone = touchedIds(entry.decision);
    const keys = new Set([entry.decision.request_key]);
    const dropped = [];
    for (const later of [...this.#entries]) {
      const ids = touchedIds(later.decision);
      const made = [...ids].some((id) => [...keys].some((key) => id.startsWith(`~${key}/`)));
      if (!made && ![...ids].some((id) => gone.has(id)) && !keys.has(later.decision.target)) continue;
      for (const id of ids) gone.add(id);
      keys.add(later.decision.request_key);
      this.#remove(later);
      dropped.push(later.decision);
    }
    this.onRefused(entry.decision, refusal, dropped);
    this.#tell();
  }

  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#storage.removeItem(this.#name(entry));
  }

  async #pause(error) {
    const wait = WAITS_MS[Math.min(this.#failures++, WAITS_MS.length - 1)];
    // One request that meets a reset connection is no outage: the next try, in less than half a second, mostly arrives.
    if (this.#failures > 1) this.#tell(error.message);
    await new Promise((done) => {
      this.#poked = done;
      this.#timer = setTimeout(done, wait);
    });
    clearTimeout(this.#timer);
    this.#poked = null;
  }

  #tell(message = null) {
    this.onState({ waiting: this.#entries.length, failures: this.#failures, message, kept: this.kept });
  }
}

function storedNames(storage, prefix) {
  const names = [];
  for (let i = 0; i < storage.length; i++) {
    const name = storage.key(i);
    if (name?.startsWith(prefix)) names.push(name);
  }
  return names.sort();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
