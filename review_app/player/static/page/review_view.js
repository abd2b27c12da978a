// What the reviewer sees around the stage: decisions, transport, timeline, the close-up of the cut, what is saved and what is not.

import { BoundaryView } from "./boundary_view.js";
import { el, icon, setText, singleClick } from "./dom.js";
import { GoToField } from "./go_to.js";
import { keyShown, keysOf } from "./keys.js";
import { RATES } from "../picture/player.js";
import { StageClock } from "./stage_clock.js";
import { Timeline } from "./timeline.js";
import { capital, clipName, count, stateWords } from "../decisions/words.js";

/** What each button does, also in the help. */
const DECISIONS = {
  approve: "Approve: the clip is exported and can be searched",
  skip: "Skip: not this one. Nothing is exported; the clip stays in the list and can be approved later",
  archive: "Archive: throw it out. Nothing is exported, and files that were made of it are deleted; the row stays, and Undo brings the clip back",
  group: "Group with previous: approve both, as parts of one scene",
  undo: "Undo: take back your latest decision, to any depth",
  redo: "Redo: decide again what you took back last",
};
const TOAST_MS = 9000;

export class ReviewView {
  #toasts = new Map(); // text -> element

  /**
   * root: where to build. act(action, amount): what a button or the timeline wants, in the words of KEYS. onGo(text): as GoToField's. Other
   * handlers as Timeline's.
   */
  constructor({ root, act, onGo, timeline }) {
    this.act = act;
    this.buttons = new Map(); // action -> button
    this.stage = el("div", { class: "stage" });
    this.problem = el("div", { class: "problem", role: "alert", hidden: true });
    this.engine = el("span", { class: "engine" });
    this.stageName = el("div", { class: "stage-name", "aria-hidden": "true" });
    this.goTo = new GoToField({ onGo });
    this.stageBox = el("div", { class: "stage-box" }, this.stage, this.stageName, this.problem, this.goTo.element);
    this.timeline = new Timeline(timeline);
    this.boundary = new BoundaryView({
      onNudge: (frames) => act("nudge", frames),
      onRemove: () => act("remove_cut_point"),
      onOther: () => act("other_cut"),
      onKind: (kind) => act("kind", kind),
      onRange: (end, frames) => act(`range_${end}`, frames),
    });
    this.title = el("h2", { class: "title" });
    this.facts = el("p", { class: "facts" });
    this.state = el("span", { class: "state" });
    this.links = el("span", { class: "links" });
    this.progressText = el("span", { class: "progress-text" });
    this.progressBar = el("progress", { max: "1", value: "0", label: "Clips decided" });
    this.clock = new StageClock({ onTurn: () => act("clock"), onGoTo: () => act("go_to") });
    this.saved = el("span", { class: "saved", role: "status" });
    this.last = el("span", { class: "last", "aria-live": "polite" });
    this.reviewer = el("span", { class: "reviewer" });
    this.toastList = el("div", { class: "toasts", role: "log", "aria-live": "assertive" });
    this.done = el("div", { class: "done", hidden: true }, el("h2"), el("p"), el("p", { class: "ways" }));
    this.panes = el("div", { class: "panes" }, this.#picture(), this.#side(), this.timeline.element);
    this.help = this.#help();
    this.element = el("div", { class: "review" }, this.#head(), this.done, this.panes, this.#foot(), this.toastList, this.help);
    this.element.addEventListener("click", (event) => this.#clicked(event), { capture: true }); // before a dialog remembers the focus
    this.element.addEventListener("keydown", (event) => this.#held(event));
    this.element.addEventListener("fullscreenchange", () => this.#onFullScreen());
    root.append(this.element);
  }

  #head() {
    return el(
      "header",
      { class: "head" },
      el("div", { class: "what" }, this.title, el("div", { class: "under" }, this.state, this.facts, this.links)),
      el("div", { class: "progress" }, this.progressText, this.progressBar),
    );
  }

  #picture() {
    const small = (name, text, action, amount) =>
      el("button", { class: "transport", type: "button", title: `${text} (${keyShown(action, amount)})`, label: text, on: { click: () => this.act(action, amount) } }, icon(name));
    this.playButton = small("play", "Play or pause", "play");
    this.playButton.classList.add("play");
    this.loopButton = small("loop", "Loop", "loop");
    this.muteButton = small("sound", "Sound", "mute");
    this.fullButton = small("full", "Full screen", "full_screen");
    this.rates = RATES.map((rate) =>
      el("button", { class: "rate", type: "button", text: `${rate}×`, title: `Speed ${rate} (${keyShown("rate", rate)})`, label: `Speed ${rate}`, on: { click: () => this.act("rate", rate) } }),
    );
    const bar = el(
      "div",
      { class: "bar", role: "toolbar", label: "Player" },
      el(
        "div",
        { class: "row" },
        small("before", "The clip before, without deciding", "previous_clip"),
        small("start", "First frame", "start"),
        small("back", "One frame back", "step", -1),
        this.playButton,
        small("on", "One frame on", "step", 1),
        small("end", "Last frame", "end"),
        small("after", "Next clip, without deciding", "next_clip"),
      ),
      this.clock.element,
      el("div", { class: "row" }, el("div", { class: "rates", role: "group", label: "Speed" }, ...this.rates), this.loopButton, this.muteButton, this.fullButton),
    );
    return el("section", { class: "picture-side", label: "Clip" }, this.stageBox, bar);
  }

  #side() {
    const decision = (action, text, classes) => {
      const button = el(
        "button",
        { class: `decision ${classes}`, type: "button", title: DECISIONS[action], on: { click: singleClick(() => this.act(action)) } },
        icon(action),
        el("span", { text }),
        el("kbd", { text: keyShown(action) }),
      );
      this.buttons.set(action, button);
      return button;
    };
    return el(
      "aside",
      { class: "side", label: "Decide" },
      el(
        "section",
        { class: "panel decisions", label: "Decision on this clip" },
        decision("approve", "Approve", "approve"),
        decision("skip", "Skip", "skip"),
        decision("archive", "Archive", "archive"),
        decision("group", "Group with previous", "group"),
        decision("undo", "Undo", "undo quiet"),
        decision("redo", "Redo", "redo quiet"),
      ),
      this.boundary.element,
    );
  }

  /** After the mouse the keys are the player's again; focus that came by keyboard stays where it is. */
  #clicked(event) {
    if (event.detail > 0) event.target.closest("button")?.blur();
  }

  /** Enter held down on a button would press it over and over: one press, one decision. */
  #held(event) {
    if (event.repeat && event.key === "Enter" && event.target.closest("button")) event.preventDefault();
  }

  #foot() {
    const help = el("button", { class: "small quiet", type: "button", title: "What the keys and buttons do (?)", on: { click: () => this.act("help") } }, el("span", { text: "Keys" }), el("kbd", { text: "?" }));
    return el("footer", { class: "foot" }, this.saved, this.last, el("span", { class: "gap" }), this.engine, this.reviewer, help);
  }

  #help() {
    const groups = new Map();
    for (const row of keysOf("review")) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
    const dialog = el("dialog", { class: "help", "aria-labelledby": "help-title" });
    const close = el("button", { class: "small", type: "button", text: "Close", title: "Back to the clip (Esc)", on: { click: () => dialog.close() } });
    dialog.append(
      el("header", {}, el("h2", { id: "help-title", text: "Keys" }), close),
      el(
        "div",
        { class: "groups" },
        ...[...groups].map(([name, rows]) =>
          el("section", {}, el("h3", { text: name }), el("dl", {}, ...rows.flatMap(({ shown, label }) => [el("dt", {}, el("kbd", { text: shown })), el("dd", { text: label })]))),
        ),
      ),
      el("h3", { text: "Decisions" }),
      el("dl", { class: "meanings" }, ...Object.values(DECISIONS).flatMap((text) => [el("dt", { text: text.split(": ")[0] }), el("dd", { text: text.slice(text.indexOf(": ") + 2) })])),
      el("p", { class: "muted", text: "The marked cut is the one nearest to the playhead. Held down, the arrow and nudge keys repeat; a decision never does." }),
    );
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    return dialog;
  }

  toggleHelp() {
    if (this.help.open) this.help.close();
    else this.help.showModal();
  }

  /** The picture over the whole screen, with its controls and all that is said; the keys are the same. */
  async toggleFullScreen() {
    try {
      if (this.element.matches(":fullscreen")) await document.exitFullscreen();
      else await this.element.requestFullscreen();
    } catch {
      this.toast("This browser does not show the page in full screen.", { kind: "warning" });
    }
  }

  #onFullScreen() {
    const full = this.element.matches(":fullscreen");
    this.element.classList.toggle("full", full);
    this.fullButton.setAttribute("aria-pressed", String(full));
  }

  /** scene: review_state.scene, or null when there is no clip. */
  update({ scene, media, marked, choice, moving, progress, canUndo, canRedo, pendingIds, reviewer, empty }) {
    this.panes.hidden = !scene;
    this.done.hidden = Boolean(scene);
    setText(this.reviewer, reviewer ?? "");
    this.#progress(progress);
    this.buttons.get("undo").disabled = !canUndo;
    this.buttons.get("redo").disabled = !canRedo;
    if (!scene) {
      setText(this.title, "Review");
      setText(this.facts, "");
      setText(this.state, "");
      this.#links([]);
      setText(this.done.children[0], empty.title);
      setText(this.done.children[1], empty.text);
      this.#ways(empty.ways ?? []);
      return;
    }
    const { clip, video, previous, next } = scene;
    setText(this.title, video?.title ?? "");
    this.title.title = video?.title ?? "";
    const isPending = pendingIds.has(String(clip.id)); // then what the server has said of its stages is not true any more
    setText(this.state, isPending ? `${stateWords(clip.state)} …` : [stateWords(clip.state), clip.beside].filter(Boolean).join(" · "));
    this.state.dataset.state = clip.state;
    setText(this.stageName, capital(video?.title ? `${clipName(clip)} of ${video.title}` : clipName(clip)));
    const length = clip.end_frame - clip.start_frame;
    const grouped = clip.grouped_with_clip_id ? " · grouped with the one before" : "";
    setText(this.facts, `${clipName(clip)} · ${count(length, "frame")} · ${clip.start_frame}–${clip.end_frame - 1} of ${video?.frame_count ?? "?"}${grouped}`);
    this.#links(clip.links ?? []);
    this.buttons.get("group").disabled = !previous;
    const side = marked ?? "start";
    this.boundary.update({
      media,
      left: side === "start" ? previous : clip,
      right: side === "start" ? clip : next,
      side,
      confidence: side === "start" ? clip.start_confidence : clip.end_confidence,
      kind: side === "start" ? clip.start_kind : clip.end_kind,
      both: Boolean(previous && next),
    });
    if (media) this.timeline.update(scene, media, { marked, choice, moving });
  }

  /** Where to go on from here when there is nothing to review. */
  #ways(ways) {
    const place = this.done.children[2];
    const wanted = JSON.stringify(ways);
    if (place.dataset.shown === wanted) return;
    place.dataset.shown = wanted;
    place.replaceChildren(...ways.map(({ label, url }) => el("a", { text: label, href: url })));
  }

  #links(links) {
    const wanted = links.map(({ label, url }) => `${label} ${url}`).join();
    if (this.links.dataset.shown === wanted) return;
    this.links.dataset.shown = wanted;
    // Only addresses of this site or the web: a link is data, and "javascript:" would run.
    const safe = links.filter(({ url }) => ["http:", "https:"].includes(new URL(url, location.href).protocol));
    this.links.replaceChildren(...safe.map(({ label, url }) => el("a", { text: label, href: url, target: "_blank", rel: "noopener" })));
  }

  #progress(progress) {
    this.progressBar.hidden = !(progress?.done || progress?.left); // no bar, and no full one, where there is nothing
    if (this.progressBar.hidden) return setText(this.progressText, "");
    const { done, left, per_hour: rate } = progress;
    this.progressBar.value = done / (done + left);
    setText(this.progressText, `${done} done · ${left} left${rate ? ` · ${Math.round(rate)} an hour` : ""}`);
    return undefined;
  }

  /** The frame on screen. */
  setFrame({ frame, clip, media }) {
    this.clock.setFrame({ frame, clip, index: media.index, source: media.video.source_time });
    this.stage.querySelector("canvas").setAttribute("aria-label", `Frame ${frame - clip.start_frame} of ${clipName(clip)}`);
    this.timeline.setFrame(frame);
  }

  setPlaying({ playing, rate, loop, muted }) {
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    for (const [button, on] of [
      [this.loopButton, loop],
      [this.muteButton, !muted],
      ...this.rates.map((button, place) => [button, RATES[place] === rate]),
    ])
      button.setAttribute("aria-pressed", String(on));
    this.muteButton.replaceChildren(icon(muted ? "mute" : "sound"));
  }

  setEngine({ kind, reason }) {
    this.engine.dataset.kind = kind;
    setText(this.engine, kind === "webcodecs" ? "WebCodecs player" : "Plain video player");
    this.engine.title = reason ? `Frame-exact, a little slower: ${reason}.` : "Frames are decoded one by one from the proxy.";
  }

  setProblem(problem) {
    this.problem.hidden = !problem;
    setText(this.problem, problem ? `${problem.message} Trying again by itself.` : "");
  }

  /** What the outbox says: {waiting, failures, message, kept}. */
  setSaved({ waiting, failures, message, kept }) {
    const trouble = failures > 0;
    this.saved.dataset.state = trouble ? "trouble" : waiting ? "busy" : "saved";
    const where = kept ? "kept in this browser" : "not kept by this browser: leave the page open";
    if (trouble) setText(this.saved, `${message ?? "No connection to the server."} ${count(waiting, "decision")} ${where}; trying again.`);
    else setText(this.saved, waiting ? `Saving ${count(waiting, "decision")} …` : "All decisions saved");
  }

  setLast(text, state) {
    setText(this.last, text);
    this.last.dataset.state = state;
  }

  /** A message that stays a while. kind: "note", "warning" or "taken-back". action: {text, title, run} of a button in it. */
  toast(text, { kind = "note", action = null } = {}) {
    this.#toasts.get(text)?.remove();
    const close = el("button", { class: "close", type: "button", label: "Close this message", title: "Close this message", on: { click: () => toast.remove() } }, icon("remove"));
    const button = action && el("button", { class: "small", type: "button", text: action.text, title: action.title, on: { click: () => (toast.remove(), action.run()) } });
    const toast = el("div", { class: `toast ${kind}` }, el("p", { text }), button, close);
    this.#toasts.set(text, toast);
    this.toastList.append(toast);
    while (this.toastList.childElementCount > 4) this.toastList.firstElementChild.remove();
    setTimeout(() => toast.remove(), kind === "note" ? TOAST_MS / 2 : TOAST_MS);
  }

  close() {
    this.timeline.close();
    this.element.remove();
  }
}
