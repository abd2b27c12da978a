// A grid of clips. Hover plays a preview, a click opens, the box or Space selects, Shift selects a range. A decision on the selection is one
// request and one action, kept in the browser and sent until there is an answer: the server applies it once however often it is sent.
// Text is set as text, never as HTML.

const PREVIEW_AFTER_MS = 150;
const PREFIX = "heaters.grid";
const WAITS_MS = [400, 800, 1500, 3000, 6000, 12_000];
const TIMEOUT_MS = 15_000;
const REFUSALS = new Set([400, 404, 409, 410, 422]);
const DONE = { approve: "approved", skip: "skipped", archive: "archived" };

const MEANINGS = {
  approve: "Approve: the clips are exported and can be searched (A)",
  skip: "Skip: not these. Nothing is exported; they stay in the list and can be approved later (S)",
  archive: "Archive: throw them out. Nothing is exported, and files that were made of them are deleted; Undo brings the clips back (X)",
};

const grids = new WeakMap(); // parentElement -> Grid

export default function ({ data, parentElement, setTriggerValue }) {
  let grid = grids.get(parentElement);
  if (!grid) grids.set(parentElement, (grid = new Grid(parentElement)));
  grid.tell = setTriggerValue;
  grid.update(data);
  return () => {
    grid.close();
    grids.delete(parentElement);
  };
}

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
 * Send a decision until the server has answered. Promise of {ok, error}; a refusal of the server is an answer, everything else is temporary.
 * send(decision): promise of a Response. onWait(error, status): before each wait. wait(ms): promise.
 */
export async function answered(decision, { send, onWait, wait }) {
  for (let tried = 0; ; tried++) {
    let error = "No connection to the server";
    let status = null;
    try {
      const response = await send(decision);
      const answer = await response.json().catch(() => null);
      if (response.ok && answer) return { ok: true };
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

class Grid {
  constructor(root) {
    this.host = root.querySelector(".grid");
    this.bar = root.querySelector(".bar");
    this.cards = new Map(); // id -> card
    this.shown = new Map(); // group and id -> {id, figure, text of its card}
    this.selected = new Set();
    this.last = null;
    this.busy = false;
    this.#makeBar();
    this.stop = new AbortController();
    window.addEventListener("online", () => this.poke?.(), { signal: this.stop.signal });
  }

  /** The page shows something else. What is being sent is sent on as long as the page lives. */
  close() {
    this.stop.abort();
    this.tell = () => {};
  }

  update({ cards, token, reviewer_id: reviewer, decisions_url: url, place }) {
    if (this.place !== undefined && place !== this.place) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
    this.place = place;
    if (token !== this.token) this.poke?.();
    this.token = token;
    this.url = url;
    if (token) {
      this.undelivered ??= new Undelivered(reviewer, browserStorage());
      this.#deliver();
    }
    this.cards = new Map(cards.map((card) => [card.id, card]));
    for (const id of [...this.selected]) if (!this.cards.has(id)) this.selected.delete(id);
    const children = [];
    let group = "";
    let row = null;
    for (const card of cards) {
      if (card.group && card.group !== group) {
        row = element("section", {}, element("h3", { textContent: card.group }), element("div", { className: "row" }));
        children.push(row);
      }
      group = card.group;
      (card.group ? row.lastElementChild : { append: (figure) => children.push(figure) }).append(this.#figure(card));
    }
    const names = new Set(cards.map(nameOf));
    for (const name of [...this.shown.keys()]) if (!names.has(name)) this.shown.delete(name);
    // Figures that stay in place are left alone: one that is taken out and put back ends its preview.
    if (children.length !== this.host.childElementCount || children.some((child, place) => child !== this.host.children[place]))
      this.host.replaceChildren(...children);
    this.bar.hidden = !token || !cards.length;
    this.#showSelection();
  }

  /** The card's figure, the same one as long as the card says the same. */
  #figure(card) {
    const text = JSON.stringify([card, Boolean(this.token)]);
    const known = this.shown.get(nameOf(card));
    if (known?.text === text) return known.figure;
    const figure = this.#makeFigure(card);
    this.shown.set(nameOf(card), { id: card.id, figure, text });
    return figure;
  }

  #makeFigure(card) {
    const still = element("img", { loading: "lazy", decoding: "async", alt: "", src: card.still_url });
    const picture = element("a", { className: "picture", href: card.open_url }, still);
    const name = `${card.title} ${card.number}`;
    picture.setAttribute("aria-label", `Open ${name}`);
    picture.addEventListener("click", follow);
    this.#previewOn(picture, card.preview_url);
    const state = element("span", { className: "state", textContent: card.state_words });
    // A long title is cut short, the number never: it tells the clips apart.
    const title = element("span", { className: "title", title: name }, element("span", { className: "name", textContent: card.title }), element("span", { className: "number", textContent: ` ${card.number}` }));
    const note = element("span", { className: "note", textContent: card.note });
    const caption = element("figcaption", {}, title, note, state);
    if (card.held_by) caption.append(element("span", { className: "held", textContent: `${card.held_by} is on it` }));
    if (card.like_url) {
      const like = element("a", { className: "like", href: card.like_url, textContent: "Similar", title: "Clips like this one" });
      like.addEventListener("click", follow);
      caption.append(like);
    }
    const figure = element("figure", {}, picture, caption);
    Object.assign(figure.dataset, { id: card.id, state: card.state });
    if (this.token) figure.append(this.#box(card));
    return figure;
  }

  #previewOn(picture, url) {
    let wait = 0;
    const stop = () => {
      clearTimeout(wait);
      picture.querySelector("video")?.remove();
    };
    const play = () => {
      if (picture.querySelector("video")) return;
      clearTimeout(wait);
      wait = setTimeout(() => {
        const video = element("video", { src: url, muted: true, loop: true, autoplay: true, playsInline: true });
        video.addEventListener("error", () => video.remove());
        picture.append(video);
      }, PREVIEW_AFTER_MS);
    };
    for (const event of ["pointerenter", "focus"]) picture.addEventListener(event, play);
    for (const event of ["pointerleave", "blur"]) picture.addEventListener(event, stop);
  }

  #box(card) {
    const box = element("input", { type: "checkbox" });
    box.setAttribute("aria-label", `Select ${card.title} ${card.number}`);
    box.addEventListener("click", (event) => {
      const range = event.shiftKey && this.cards.has(this.last) ? this.#between(this.last, card.id) : [card.id];
      for (const id of range) this.selected[box.checked ? "add" : "delete"](id);
      this.last = card.id;
      this.#say("");
      this.#showSelection();
    });
    return element("label", {}, box);
  }

  #between(first, second) {
    const ids = [...this.cards.keys()];
    const [low, high] = [ids.indexOf(first), ids.indexOf(second)].sort((a, b) => a - b);
    return ids.slice(low, high + 1);
  }

  #makeBar() {
    const button = (text, press, title = "") => {
      const made = element("button", { type: "button", textContent: text, title });
      made.addEventListener("click", press);
      return made;
    };
    this.all = element("input", { type: "checkbox" });
    this.all.setAttribute("aria-label", "Select all on this page");
    this.all.addEventListener("change", () => {
      this.selected = new Set(this.all.checked ? this.cards.keys() : []);
      this.#say("");
      this.#showSelection();
    });
    this.count = element("span", { className: "count" });
    this.decisions = Object.keys(DONE).map((action) => button(action[0].toUpperCase() + action.slice(1), () => this.#decide(action), MEANINGS[action]));
    this.decisions.forEach((made, place) => (made.className = Object.keys(DONE)[place]));
    this.said = element("span", { className: "said" });
    this.said.setAttribute("role", "status");
    this.back = button("Undo", () => this.#undo());
    this.back.hidden = true;
    this.bar.append(element("label", {}, this.all, this.count), ...this.decisions, this.said, this.back);
  }

  #showSelection() {
    for (const { id, figure } of this.shown.values()) {
      const box = figure.querySelector("input");
      if (box) box.checked = this.selected.has(id);
      figure.classList.toggle("selected", this.selected.has(id));
    }
    const some = this.selected.size;
    this.all.checked = some > 0 && some === this.cards.size;
    this.all.indeterminate = some > 0 && some < this.cards.size;
    this.count.textContent = some ? `${some} selected` : "Select all, or tick clips; Shift ticks a range";
    for (const button of this.decisions) button.disabled = !some || this.busy;
    this.back.disabled = this.busy;
  }

  #say(text, key = null) {
    this.said.textContent = text;
    this.back.hidden = !key;
    this.undoKey = key;
  }

  async #decide(action) {
    const ids = [...this.cards.keys()].filter((id) => this.selected.has(id));
    if (!ids.length || this.busy) return;
    const versions = Object.fromEntries(ids.map((id) => [id, this.cards.get(id).version]));
    const key = `grid-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const told = `${ids.length === 1 ? "1 clip" : `${ids.length} clips`} ${DONE[action]}.`;
    this.#keep({ decision: { request_key: key, action, clip_ids: ids, versions }, told, undoKey: key });
  }

  #undo() {
    const target = this.undoKey;
    if (target && !this.busy) this.#keep({ decision: { request_key: `${target}-undo`, action: "undo", target }, told: "Taken back.", undoKey: null });
  }

  #keep(entry) {
    this.kept = this.undelivered.add(entry);
    this.#deliver();
  }

  /** Send the waiting decisions, one after the other, and show each result. */
  async #deliver() {
    if (this.busy) return;
    for (let entry = this.undelivered.first(); entry; entry = this.undelivered.first()) {
      this.busy = true;
      this.#say("Saving …");
      this.#showSelection();
      const { ok, error } = await answered(entry.decision, {
        send: (decision) => this.#send(decision),
        onWait: (words, status) => this.#waits(words, status),
        wait: (ms) => this.#wait(ms),
      });
      this.undelivered.remove(entry);
      this.busy = false;
      if (ok) for (const id of entry.decision.clip_ids ?? []) this.selected.delete(id);
      this.#say(ok ? entry.told : `Not done: ${error}`, ok ? entry.undoKey : null);
      this.#showSelection();
      this.tell("changed", Date.now()); // the page draws itself anew
    }
  }

  #send(decision) {
    this.sentWith = this.token;
    const headers = { "Content-Type": "application/json", "X-Heaters-Token": this.token };
    return fetch(this.url, { method: "POST", headers, body: JSON.stringify(decision), signal: AbortSignal.timeout(TIMEOUT_MS) });
  }

  #waits(error, status) {
    const where = this.kept === false ? "Leave this page open" : "It is kept in this browser";
    this.#say(`${error.replace(/[.]$/, "")}. ${where}; trying again …`);
    // When the page is drawn again, it brings a fresh token.
    if (status === 401 && this.refused !== this.sentWith) this.tell("changed", Date.now());
    if (status === 401) this.refused = this.sentWith;
  }

  /** Until the time is over, the connection is back or there is a fresh token. */
  async #wait(ms) {
    let timer;
    await new Promise((done) => {
      this.poke = done;
      timer = setTimeout(done, ms);
    });
    clearTimeout(timer);
    this.poke = null;
  }
}

function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/** Go to another page without loading all of it anew, as Back and Forward do: by the address, which Streamlit then reads. */
function follow(event) {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState({}, "", event.currentTarget.href);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

/** A clip can stand in several groups, each time as a card of its own. */
function nameOf(card) {
  return `${card.id} ${card.group}`;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
