// A grid of clips. Hover plays a preview, a click opens, the box or Space selects, Shift selects a range, and a button selects all that match
// the filters, on other pages too: as a text of the server's that says which they are. A decision on the selection is one request and one
// action. Keys and the delivery of decisions are the player's modules, served under their own address.
// Text is set as text, never as HTML.

import { element, keysDialog, middleOf, placeBeside } from "./elements.js";

const PREVIEW_AFTER_MS = 150;
const DONE = { approve: "approved", skip: "skipped", archive: "archived" };

const MEANINGS = {
  approve: "Approve: the clips are exported and can be searched",
  skip: "Skip: not these. Nothing is exported; they stay in the list and can be approved later",
  archive: "Archive: throw them out. Nothing is exported, and files that were made of them are deleted; Undo brings the clips back",
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

class Grid {
  constructor(root) {
    this.host = root.querySelector(".grid");
    this.bar = root.querySelector(".bar");
    this.cards = new Map(); // id -> card
    this.shown = new Map(); // group and id -> {id, figure, text of its card}
    this.selected = new Set();
    this.matched = null; // {selection, count, newest} while all that match are selected
    this.last = null;
    this.base = null; // what was selected before Shift and an arrow began to select a range
    this.placeOfFocus = 0; // of the figure that had the focus last
    this.matching = 0; // clips that match the filters, on all pages
    this.most = 0; // that can be decided at once
    this.delivery = null; // until the player's modules are there
    this.waiting = 0; // decisions without an answer
    this.selecting = false;
    this.#makeBar();
    this.stop = new AbortController();
    window.addEventListener("keydown", (event) => this.#onKey(event), { signal: this.stop.signal });
  }

  /** The page shows something else. What is undelivered is sent on as long as the document lives. */
  close() {
    this.stop.abort();
    this.tell = () => {};
    this.delivery?.close();
  }

  get busy() {
    return this.selecting || this.waiting > 0;
  }

  update({ cards, token, reviewer_id: reviewer, decisions_url, place, matching, most_matching: most, selection_url: selectionUrl, modules }) {
    if (this.place !== undefined && place !== this.place) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
    this.place = place;
    this.config = { token, decisions_url, selection_url: selectionUrl };
    if (this.api) this.api.config = this.config;
    if (token !== this.token) this.delivery?.outbox?.poke();
    this.token = token;
    if (selectionUrl !== this.selectionUrl) this.matched = null; // other filters
    Object.assign(this, { selectionUrl, most });
    if (token) this.opened ??= this.#open(reviewer, modules);
    this.cards = new Map(cards.map((card) => [card.id, card]));
    this.matching = matching ?? this.cards.size; // a page that has no filters has no others
    for (const id of [...this.selected]) if (!this.cards.has(id)) this.selected.delete(id);
    if (this.matched) this.#tickMatched();
    const hadFocus = this.#figureWithFocus() !== null;
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
    if (hadFocus && !this.#figureWithFocus()) this.#goTo(this.placeOfFocus);
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
    const caption = element("figcaption", {}, title);
    if (card.like_url) {
      const like = element("a", { className: "like", href: card.like_url, textContent: "Similar", title: "Clips like this one" });
      like.addEventListener("click", follow);
      caption.append(like);
    }
    caption.append(state, note);
    if (card.held_by) caption.append(element("span", { className: "held", textContent: `${card.held_by} is on it` }));
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
      this.#selectedAnew();
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
      this.#selectedAnew();
    });
    this.everything = button("", () => this.#selectMatching());
    this.help = button("Keys", () => this.dialog?.showModal(), "What the keys do (?)");
    this.help.className = "help";
    this.help.disabled = true; // until the keys are there
    this.count = element("span", { className: "count" });
    this.decisions = Object.keys(DONE).map((action) => button(action[0].toUpperCase() + action.slice(1), () => this.#decide(action), MEANINGS[action]));
    this.decisions.forEach((made, place) => (made.className = Object.keys(DONE)[place]));
    this.said = element("span", { className: "said" });
    this.said.setAttribute("role", "status");
    this.back = button("Undo", () => this.#undo(), "Undo: take back the decision that was just made");
    this.back.hidden = true;
    this.bar.append(element("label", {}, this.all, this.count), this.everything, ...this.decisions, this.said, this.back, this.help);
  }

  /** Fetch the player's modules. Nothing can be decided before: a decision is stored before it is sent. */
  async #open(reviewer, modules) {
    let fetched;
    try {
      fetched = await Promise.all(["keys", "delivery", "review_api"].map((name) => import(new URL(modules[name], location.href))));
    } catch {
      this.opened = null; // the next run of the page asks again
      this.#say("Nothing can be decided here yet: the server does not answer. Load the page again.");
      return;
    }
    if (this.stop.signal.aborted) return;
    const [keys, { Delivery }, { ReviewApi }] = fetched;
    this.#say("");
    this.#takeKeys(keys);
    this.api = new ReviewApi({ config: this.config, onSignedOut: () => this.#signedOut() });
    this.delivery = new Delivery({
      kind: "grid",
      reviewer,
      send: (decision) => this.#send(decision),
      onConfirmed: (decision, answer) => this.#decided(decision, answer),
      onRefused: (decision, refusal) => this.#decided(decision, null, refusal),
      onState: (state) => this.#delivers(state),
    });
    await this.delivery.open();
    this.#showSelection();
  }

  #showSelection() {
    for (const { id, figure } of this.shown.values()) {
      const box = figure.querySelector("input");
      if (box) box.checked = this.selected.has(id);
      figure.classList.toggle("selected", this.selected.has(id));
    }
    const some = this.matched?.count ?? this.selected.size;
    const here = this.selected.size;
    this.all.checked = here > 0 && here === this.cards.size;
    this.all.indeterminate = here > 0 && here < this.cards.size;
    if (this.matched) this.count.textContent = `All ${number(some)} that match selected`;
    else this.count.textContent = some ? `${number(some)} of ${number(this.matching)} selected` : `${number(this.matching)} match. Select all, or tick clips; Shift ticks a range`;
    this.everything.hidden = Boolean(this.matched) || this.matching <= this.cards.size;
    this.everything.disabled = this.busy || !this.api || this.matching > this.most;
    this.everything.textContent = `Select all ${number(this.matching)} that match`;
    this.everything.title =
      this.matching > this.most
        ? `At most ${number(this.most)} clips are decided at once: choose narrower filters`
        : "Select all clips that match the filters, those on other pages too; they are decided as one, and one Undo takes it back";
    this.bar.hidden = !this.token || !(this.cards.size || this.said.textContent);
    for (const button of this.decisions) button.disabled = !some || this.busy || !this.delivery?.outbox;
    this.back.disabled = this.busy;
  }

  #say(text, key = null) {
    this.said.textContent = text;
    this.back.hidden = !key;
    this.undoKey = key;
  }

  /** Whoever ticks a box means the boxes: all that match are not selected any more. */
  #selectedAnew() {
    this.matched = null;
    this.base = null;
    this.#say("");
    this.#showSelection();
  }

  /** A clip made since was not among those that were selected. */
  #tickMatched() {
    this.selected = new Set([...this.cards.keys()].filter((id) => id <= this.matched.newest));
  }

  async #selectMatching() {
    if (this.busy || !this.api || this.matching <= this.cards.size || this.matching > this.most) return;
    const url = this.selectionUrl;
    this.selecting = true;
    this.#say("Selecting …");
    this.#showSelection();
    try {
      const answer = await this.api.selection();
      if (url === this.selectionUrl) this.matched = answer;
      this.#say("");
    } catch (error) {
      this.#say(`Not selected: ${error.message}`);
    }
    this.selecting = false;
    if (this.matched) this.#tickMatched();
    this.#showSelection();
  }

  #decide(action, only = null) {
    const ids = [...this.cards.keys()].filter((id) => (this.selected.size ? this.selected.has(id) : id === only));
    if (this.busy || !this.delivery?.outbox) return;
    if (this.matched) this.delivery.outbox.add({ action, selection: this.matched.selection });
    else if (ids.length) this.delivery.outbox.add({ action, clip_ids: ids, versions: Object.fromEntries(ids.map((id) => [id, this.cards.get(id).version])) });
  }

  #undo() {
    if (this.undoKey && !this.busy) this.delivery.outbox.add({ action: "undo", target: this.undoKey });
  }

  #send(decision) {
    this.sentWith = this.token;
    return this.api.decide(decision, { many: !decision.clip_ids });
  }

  /** The server has answered: with what it did, or with a no in words. */
  #decided(decision, answer, refusal = null) {
    const { action, clip_ids: ids = [], request_key: key } = decision;
    if (decision.selection) {
      this.matched = null;
      this.selected.clear();
    }
    if (!refusal) for (const id of ids) this.selected.delete(id);
    const told = action === "undo" ? "Taken back." : `${ids.length === 1 ? "1 clip" : `${ids.length} clips`} ${DONE[action]}.`;
    if (refusal) this.#say(`Not done: ${refusal.message}`);
    else this.#say(answer.told ?? told, action === "undo" ? null : key);
    this.tell("changed", Date.now()); // the page draws itself anew
  }

  /** What the outbox says: {waiting, failures, message, kept}. */
  #delivers({ waiting, failures, message, kept }) {
    this.waiting = waiting;
    const where = kept ? "It is kept in this browser" : "Leave this page open";
    if (waiting) this.#say(failures ? `${(message ?? "No connection to the server.").replace(/[.]$/, "")}. ${where}; trying again …` : "Saving …");
    this.#showSelection();
  }

  /** The page is drawn again to bring a fresh token, once for each that is refused. */
  #signedOut() {
    if (this.refused !== this.sentWith) this.tell("changed", Date.now());
    this.refused = this.sentWith;
  }

  // ---- keys

  #takeKeys(keys) {
    this.keys = keys;
    this.help.disabled = false;
    this.decisions.forEach((made, place) => (made.title = `${MEANINGS[Object.keys(DONE)[place]]} (${keys.keyShown(Object.keys(DONE)[place])})`));
    this.dialog = keysDialog(keys.keysOf("grid"), Object.values(MEANINGS));
    this.bar.after(this.dialog);
  }

  #onKey(event) {
    if (!this.token || !this.cards.size || !this.host.isConnected || this.dialog?.open) return;
    const row = this.keys?.keyMeaning(event, this.host, { page: "grid" });
    if (!row || row.action === "filters") return; // the page has that one
    event.preventDefault();
    this.#act(row.action, row.amount);
  }

  /** An action in the words of KEYS. */
  #act(action, amount) {
    const figure = this.#figureWithFocus();
    const id = figure && Number(figure.dataset.id);
    if (action === "help") this.dialog.showModal();
    else if (action === "undo") this.#undo();
    else if (action === "move") this.#move(amount, figure);
    else if (action === "extend") this.#extend(amount, figure);
    else if (action === "open") figure?.querySelector(".picture").click();
    else if (action === "select_all" && this.selected.size === this.cards.size) this.#selectMatching();
    else if (action === "select_all" || action === "select_none") {
      this.selected = new Set(action === "select_all" ? this.cards.keys() : []);
      this.#selectedAnew();
    } else if (action === "select" && figure) {
      this.selected[this.selected.has(id) ? "delete" : "add"](id);
      this.last = id;
      this.#selectedAnew();
    } else if (action === "select") this.#goTo(this.placeOfFocus);
    else this.#decide(action, id);
  }

  get #figures() {
    return [...this.host.querySelectorAll("figure")];
  }

  #figureWithFocus() {
    const figure = this.host.getRootNode().activeElement?.closest?.("figure") ?? null;
    if (!figure || !this.host.contains(figure)) return null;
    this.placeOfFocus = this.#figures.indexOf(figure);
    return figure;
  }

  #goTo(place) {
    const figures = this.#figures;
    const figure = figures[Math.min(Math.max(place, 0), figures.length - 1)];
    figure?.querySelector(".picture").focus({ focusVisible: true });
    this.#figureWithFocus();
  }

  #move(way, from) {
    this.base = null;
    this.#goTo(from ? placeBeside(this.#figures.map(middleOf), this.placeOfFocus, way) : this.placeOfFocus);
    if (from) this.last = Number(this.#figures[this.placeOfFocus].dataset.id);
  }

  /** Select from where Shift began to where the arrow leads, beside what was selected before. */
  #extend(way, from) {
    if (!from) return this.#goTo(this.placeOfFocus);
    this.base ??= { from: this.placeOfFocus, before: new Set(this.selected) };
    const { base } = this;
    this.#goTo(placeBeside(this.#figures.map(middleOf), this.placeOfFocus, way));
    const [low, high] = [base.from, this.placeOfFocus].sort((a, b) => a - b);
    this.selected = new Set([...base.before, ...this.#figures.slice(low, high + 1).map(({ dataset }) => Number(dataset.id))]);
    this.#selectedAnew();
    this.base = base;
    return undefined;
  }
}

/** 20000 -> "20,000" */
function number(count) {
  return count.toLocaleString("en");
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
