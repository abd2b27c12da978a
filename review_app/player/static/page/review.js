// The review page without its host: keys and buttons in, decisions out. What is on the stage, where the reviewer goes and what is said of it
// have files of their own.

import { learnKindWords } from "../decisions/cut_kind.js";
import { addChoice, canRedo, canUndo, decisionFor, newsFor } from "../decisions/choices.js";
import { Delivery } from "../decisions/delivery.js";
import { Feed } from "../decisions/feed.js";
import { touchedIds } from "../decisions/outbox.js";
import { ReviewApi } from "../decisions/review_api.js";
import { EMPTY, isReturn, lesson, progressShown, reduced, scene, upcoming, visible, WAITING } from "../decisions/review_state.js";
import { browserStorage } from "../decisions/storage.js";
import { learnStateWords, sentence } from "../decisions/words.js";
import { Player } from "../picture/player.js";
import { MediaLibrary } from "../picture/video_media.js";
import { CutHand } from "./cut_hand.js";
import { Habits } from "./habits.js";
import { keyMeaning } from "./keys.js";
import { Notices } from "./notices.js";
import { ReviewView } from "./review_view.js";
import { Stage } from "./stage.js";
import { nextClock } from "./stage_clock.js";
import { Ways } from "./ways.js";

const OF_THE_CUT = new Set(["move_cut_point", "edit_cut"]); // shown first, with its picture
const ADVANCING = new Set(["approve", "skip", "archive", "group"]);

export class Review {
  #stop = new AbortController();
  state;

  /**
   * root: element or shadow root. config: see README.md, "Configuration".
   * onSignedOut(): the token is refused; call update() with a fresh one. storage: for undelivered decisions.
   */
  constructor({ root, config, onSignedOut = () => {}, storage = browserStorage() }) {
    this.config = config;
    learnStateWords(config.state_words ?? {});
    learnKindWords(config.kind_words ?? {});
    this.state = { ...EMPTY, me: config.reviewer.id };
    this.api = new ReviewApi({ config, onSignedOut });
    this.delivery = new Delivery({
      kind: "outbox",
      reviewer: config.reviewer.id,
      storage,
      send: (decision) => this.api.decide(decision),
      learn: lesson,
      onRestored: (decisions) => this.dispatch({ type: "restored", decisions }),
      onConfirmed: (decision, answer) => this.#confirmed(decision, answer),
      onRefused: (decision, refusal, dropped) => this.#refused(decision, refusal, dropped),
      onState: (state) => this.view.setSaved(state),
    });
    this.feed = new Feed(this, { signal: this.#stop.signal });
    this.stage = new Stage(this);
    this.ways = new Ways(this);
    this.notices = new Notices(this);
    this.cut = new CutHand(this);
    this.library = new MediaLibrary({ enabled: config.webcodecs_enabled !== false, refresh: (id) => this.feed.video(id) });
    this.view = new ReviewView({
      root,
      act: (action, amount) => this.act(action, amount),
      onGo: (text) => this.ways.goTo(text),
      timeline: {
        onScrub: (frame) => this.ways.scrub(frame),
        onOpen: (clip) => this.ways.open(clip.id),
        onMark: (side) => this.cut.mark(side),
        onPreview: (side, frame) => this.cut.preview(side, frame),
        onMoved: () => this.cut.settle(),
        onAdd: () => this.act("add_cut_point"),
        onRemove: () => this.act("remove_cut_point"),
        onNudge: (frames) => this.act("nudge", frames),
      },
    });
    this.habits = new Habits(storage);
    this.player = new Player({ stage: this.view.stage, library: this.library });
    this.player.on("frame", ({ frame }) => this.stage.drawn(frame));
    this.player.on("state", (state) => this.#onPlayerState(state));
    this.player.on("engine", (engine) => this.view.setEngine(engine));
    this.player.on("problem", (problem) => this.view.setProblem(problem));
    this.player.on("note", ({ message }) => this.view.toast(message));
    this.player.on("rest", () => this.stage.provide());
    this.habits.recall(this.player, this.view.clock);
    this.#fit();
  }

  /** Leave the page around us its height. */
  #fit() {
    const pixels = this.config.host_height_pixels;
    if (pixels !== undefined) this.view.element.style.setProperty("--host-height", `${pixels}px`);
  }

  #onPlayerState({ playing, rate, loop, muted }) {
    this.view.setPlaying({ playing, rate, loop, muted });
    this.habits.keep({ rate, loop, muted });
  }

  #turnClock() {
    this.view.clock.show(nextClock(this.view.clock.shown));
    this.habits.keep({ clock: this.view.clock.shown });
  }

  /** Null until decisions can be made. */
  get outbox() {
    return this.delivery.outbox;
  }

  get pending() {
    return this.delivery.decisions;
  }

  /** Take up where the tab was: undelivered decisions first, then the queue. */
  async start() {
    const { signal } = this.#stop;
    const listen = (target, event, handler) => target.addEventListener(event, handler, { signal });
    listen(window, "keydown", (event) => this.#onKey(event));
    for (const input of ["keydown", "pointerdown", "pointermove", "wheel"]) listen(window, input, () => this.feed.onInput());
    listen(window, "pagehide", () => this.cut.settle());
    listen(document, "visibilitychange", () => {
      if (document.visibilityState === "hidden") this.cut.settle();
      this.feed.onVisibility();
    });
    this.render();
    this.feed.loading = true; // an empty queue asks for more, and that request would not name the clip to begin with
    await this.delivery.open();
    if (signal.aborted) return;
    this.feed.syncSoon();
    await this.feed.begin({ fresh: false });
  }

  /** A new configuration: a fresh token is taken over quietly, another queue begins anew. */
  update(config) {
    const another = config.queue_url !== this.config.queue_url || config.open_clip_id !== this.config.open_clip_id;
    const token = config.token !== this.config.token;
    this.config = this.api.config = config;
    this.library.enabled = config.webcodecs_enabled !== false;
    this.#fit();
    if (token) this.outbox?.poke();
    if (another && this.outbox) {
      this.cut.settle();
      this.feed.begin({ fresh: true });
    }
    this.render();
  }

  close() {
    this.cut.settle();
    this.#stop.abort();
    this.api.onSignedOut = () => {};
    this.delivery.close();
    this.feed.close();
    this.cut.close();
    this.player.close();
    this.view.close();
    this.library.close();
  }

  // ---- what the reviewer does

  #onKey(event) {
    const open = this.view.help.open;
    const row = keyMeaning(event, this.view.element, { moving: Boolean(this.state.preview) });
    if (!row || (open && row.action !== "help") || !this.view.element.isConnected) return;
    event.preventDefault();
    this.act(row.action, row.amount);
  }

  /** An action in the words of KEYS. */
  act(action, amount) {
    const { player } = this;
    const clip = scene(this.state)?.clip;
    switch (action) {
      case "help":
        return this.view.toggleHelp();
      case "filters":
        return window.heatersFilters?.(); // of the page around us
      case "play":
        return this.stage.isOpen && player.toggle();
      case "step":
        return player.step(amount);
      case "start":
        return clip && player.show(clip.start_frame);
      case "end":
        return clip && player.show(clip.end_frame - 1);
      case "previous_cut":
      case "next_cut":
        return this.ways.toCut(action === "next_cut");
      case "previous_clip":
      case "next_clip":
        return this.ways.toClip(action === "next_clip");
      case "go_to":
        return clip && this.view.goTo.toggle();
      case "clock":
        return this.#turnClock();
      case "full_screen":
        return this.view.toggleFullScreen();
      case "loop":
        return player.setLoop(!player.loop);
      case "mute":
        return player.setMuted(!player.video.muted);
      case "rate":
        return player.setRate(amount);
      case "other_cut":
        return this.cut.markOther();
      case "nudge":
        return this.cut.nudge(amount);
      case "kind":
        return this.cut.kind(amount);
      case "range_first":
      case "range_last":
        return this.cut.range(action === "range_first" ? "first" : "last", amount);
      case "put_back":
        return this.cut.putBack();
      case "add_cut_point":
        this.cut.settle();
        return this.decide(action, { frame: player.frame });
      case "remove_cut_point":
        this.cut.settle();
        return this.decide(action, { frame: this.cut.frameOf(this.cut.side) ?? -1 });
      default:
        this.cut.settle();
        return this.decide(action);
    }
  }

  /** Make a decision, if the reviewer has seen what it is about. at: as for decisionFor. */
  decide(action, at) {
    if (!this.outbox) return;
    const before = scene(this.state)?.clip ?? null;
    if (!OF_THE_CUT.has(action) && !isReturn({ action }) && this.stage.lacksPicture()) return;
    const decision = decisionFor(this.state, action, this.outbox.nextKey, at);
    const news = decision.problem ? [] : newsFor(this.state, decision);
    if (news.length && !isReturn(decision)) {
      this.#passUnseen(news, before);
      return;
    }
    if (decision.problem) {
      this.notices.problem(decision.problem);
      this.render();
      return;
    }
    this.view.timeline.letGo();
    this.stage.wishPlay = ADVANCING.has(action) && this.player.playing;
    // The cut stays in sight: the left half is next, and its last frame is the one beside the new cut.
    this.stage.placed = action === "add_cut_point" ? at.frame - 1 : this.player.frame;
    this.cut.marked = action === "add_cut_point" ? "end" : null;
    const kept = this.outbox.add(decision);
    this.notices.made(kept, before);
    this.dispatch({ type: "decided", decision: kept });
  }

  /**
   * A colleague has changed what the key is about, and the reviewer may not have seen it yet. A clip on which they have decided is left for
   * the next one; anything else is looked at again. Either way this key decides nothing.
   */
  #passUnseen(news, before) {
    const decided = news.some(({ clip, was }) => clip.id === before.id && was && clip.state !== WAITING);
    const next = decided ? (upcoming(this.state)[0]?.id ?? null) : null;
    this.notices.unseen(news, next === null ? null : before.id);
    this.dispatch({ type: "told" });
    if (next !== null) this.ways.open(next);
  }

  // ---- what the server says

  #confirmed(decision, answer) {
    this.notices.confirmed(decision, answer);
    const idle = !this.pending.length && !this.state.preview;
    this.ways.rename(lesson(decision, answer).ids);
    this.dispatch({ type: "confirmed", decision, answer, follow: idle });
  }

  #refused(decision, refusal, dropped) {
    const words = this.notices.refusedWords(decision);
    this.dispatch({ type: "refused", decision, dropped, answer: refusal.body });
    this.notices.refused(decision, refusal, dropped, words);
  }

  // ---- what is shown

  dispatch(event) {
    const shown = scene(this.state);
    const { news } = this.state;
    this.state = reduced(this.state, event);
    this.ways.visit(this.state.current, event.type === "decided" && event.decision.action !== "undo");
    this.stage.turn(this.state.current);
    this.#tellNews(news, event);
    // The server had no more, but what a colleague has given back since is asked for before the page says that nothing is left.
    const asks = !this.state.exhausted || (shown && !scene(this.state));
    if (this.feed.isShort && asks && this.outbox && !this.feed.isIdle && event.type !== "queue_loaded") this.feed.load();
    this.render();
  }

  /** Say at once what a colleague has done to the clip on the stage; a refusal has said it already. */
  #tellNews(old, event) {
    const { current, news } = this.state;
    if (event.type === "refused" || !news[current] || news[current] === old[current]) return;
    const clip = visible(this.state).clips.get(current);
    if (clip) this.notices.news({ clip, ...news[current] });
  }

  /** The cut on the move is about to be decided: what is shown stays as it is. */
  forgetPreview() {
    this.state = { ...this.state, preview: null };
  }

  render() {
    const { state } = this;
    const found = scene(state);
    const shown = found?.video ? found : null;
    if (found && !shown) this.feed.fetchVideo(found.clip.source_video_id);
    const media = shown && this.library.of(shown.video);
    this.view.update({
      scene: shown,
      media,
      marked: shown && this.cut.side,
      choice: shown ? addChoice(shown.clip, this.player.frame) : { add: false },
      moving: Boolean(state.preview),
      progress: progressShown(state),
      canUndo: Boolean(this.outbox) && canUndo(state),
      canRedo: Boolean(this.outbox) && canRedo(state),
      pendingIds: new Set(state.pending.flatMap((decision) => [...touchedIds(decision)])),
      reviewer: this.config.reviewer.name,
      empty: this.#emptyWords(),
    });
    this.stage.up(shown);
  }

  #emptyWords() {
    const { failed, loading } = this.feed;
    if (failed) return { title: "The queue cannot be loaded", text: `${sentence(failed)} Trying again by itself.` };
    if (loading || !this.outbox) return { title: "Loading clips …", text: "" };
    if (this.feed.empty) return this.feed.empty;
    return { title: "Nothing left to review here", text: "New clips appear by themselves. Ctrl+Z takes back your last decision." };
  }
}
