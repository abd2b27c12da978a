// The review page without its host: keys and buttons in, decisions out, the next clip on the stage at once.

import { addChoice, canRedo, decisionFor, newsFor } from "./choices.js";
import { CutHand } from "./cut_hand.js";
import { AHEAD, Feed } from "./feed.js";
import { keyMeaning } from "./keys.js";
import { claimedLane } from "./lane.js";
import { Notices } from "./notices.js";
import { MemoryStorage, Outbox, touchedIds } from "./outbox.js";
import { Player, RATES } from "./player.js";
import { ReviewApi } from "./review_api.js";
import { ReviewView } from "./review_view.js";
import { EMPTY, isReturn, lesson, progressShown, reduced, scene, upcoming, visible, WAITING } from "./review_state.js";
import { placeOf } from "./timecode.js";
import { nextStop, NO_TRAIL, renamedTrail, visited } from "./trail.js";
import { MediaLibrary } from "./video_media.js";
import { sentence } from "./words.js";

const HABITS = "heaters.player";
const ADVANCING = new Set(["approve", "skip", "archive", "group"]);
const NEXT = 2; // clips whose first picture is decoded beforehand
const leaving = new Set(); // pages that are gone and still send what the reviewer decided there

export class Review {
  #stop = new AbortController();
  #lane = new AbortController(); // lets go of the outbox's lane
  #opened = null; // {video, start, end} on the stage
  #wishPlay = false;
  #trail = NO_TRAIL;
  #seen = null; // id of the clip on the stage once a frame of it has been drawn
  #habits = "";
  #shownSide = null;
  state;
  outbox = null;
  /** Frame to open the next clip at. */
  placed = null;

  /**
   * root: element or shadow root. config: see README.md, "Configuration".
   * onSignedOut(): the token is refused; call update() with a fresh one. storage: for undelivered decisions.
   */
  constructor({ root, config, onSignedOut = () => {}, storage = defaultStorage() }) {
    this.config = config;
    this.storage = storage;
    this.state = { ...EMPTY, me: config.reviewer.id };
    this.api = new ReviewApi({ config, onSignedOut });
    this.feed = new Feed(this, { signal: this.#stop.signal, lane: this.#lane.signal });
    this.notices = new Notices(this);
    this.cut = new CutHand(this);
    this.library = new MediaLibrary({ enabled: config.webcodecs_enabled !== false, refresh: (id) => this.feed.video(id) });
    this.view = new ReviewView({
      root,
      act: (action, amount) => this.act(action, amount),
      onGo: (text) => this.goTo(text),
      timeline: {
        onScrub: (frame) => this.#scrub(frame),
        onOpen: (clip) => this.open(clip.id),
        onMark: (side) => this.cut.mark(side),
        onPreview: (side, frame) => this.cut.preview(side, frame),
        onMoved: () => this.cut.settle(),
        onAdd: () => this.act("add_cut_point"),
        onRemove: () => this.act("remove_cut_point"),
        onNudge: (frames) => this.act("nudge", frames),
      },
    });
    this.player = new Player({ stage: this.view.stage, library: this.library });
    this.player.on("frame", ({ frame }) => this.#onFrame(frame));
    this.player.on("state", (state) => this.#onPlayerState(state));
    this.player.on("engine", (engine) => this.view.setEngine(engine));
    this.player.on("problem", (problem) => this.view.setProblem(problem));
    this.player.on("note", ({ message }) => this.view.toast(message));
    this.player.on("rest", () => this.#provide());
    this.#recallHabits();
    this.#fit();
  }

  /** Leave the page around us its height. */
  #fit() {
    const pixels = this.config.host_height_pixels;
    if (pixels !== undefined) this.view.element.style.setProperty("--host-height", `${pixels}px`);
  }

  #onPlayerState({ playing, rate, loop, muted }) {
    this.view.setPlaying({ playing, rate, loop, muted });
    const habits = JSON.stringify({ rate, loop, muted });
    if (habits === this.#habits) return;
    this.#habits = habits;
    try {
      this.storage.setItem(HABITS, habits);
    } catch {
      // a convenience only
    }
  }

  /** Speed, loop and sound as this reviewer left them in this browser. */
  #recallHabits() {
    const { rate = 1, loop = true, muted = false } = JSON.parse(this.storage.getItem(HABITS) ?? "{}");
    this.player.setRate(RATES.includes(rate) ? rate : 1);
    this.player.setLoop(loop !== false);
    this.player.setMuted(muted === true);
  }

  get pending() {
    return this.outbox?.decisions ?? [];
  }

  /** Take up where the tab was: undelivered decisions first, then the queue. */
  async start() {
    const { signal } = this.#stop;
    const reviewer = String(this.config.reviewer.id);
    const listen = (target, event, handler) => target.addEventListener(event, handler, { signal });
    listen(window, "keydown", (event) => this.#onKey(event));
    for (const input of ["keydown", "pointerdown", "pointermove", "wheel"]) listen(window, input, () => this.feed.onInput());
    listen(window, "online", () => this.outbox?.poke());
    listen(window, "pagehide", () => this.cut.settle());
    listen(document, "visibilitychange", () => {
      if (document.visibilityState === "hidden") this.cut.settle();
      this.feed.onVisibility();
    });
    listen(window, "beforeunload", (event) => {
      if (this.outbox && !this.outbox.kept && this.outbox.decisions.length) event.preventDefault();
    });
    this.render();
    for (const page of leaving) page.#letGo(); // what it has not delivered is this page's now
    const lane = await claimedLane({ reviewer, release: this.#lane.signal });
    if (signal.aborted) return;
    this.outbox = new Outbox({
      storage: this.storage,
      reviewer,
      lane,
      send: (decision) => this.api.decide(decision),
      learn: lesson,
      onConfirmed: (decision, answer) => this.#confirmed(decision, answer),
      onRefused: (decision, refusal, dropped) => this.#refused(decision, refusal, dropped),
      onState: (state) => this.view.setSaved(state),
    });
    this.outbox.kept = !(this.storage instanceof MemoryStorage);
    this.feed.loading = true; // an empty queue asks for more, and that request would not name the clip to begin with
    this.dispatch({ type: "restored", decisions: this.outbox.decisions });
    await this.feed.adoptLanes();
    this.outbox.start();
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
    if (this.outbox?.kept) leaving.add(this);
    if (this.outbox) this.outbox.leave().finally(() => this.#letGo());
    else this.#letGo();
    this.feed.close();
    this.cut.close();
    this.player.close();
    this.view.close();
    this.library.close();
  }

  /** Send nothing more: the next page takes over what is stored. */
  #letGo() {
    leaving.delete(this);
    this.outbox?.stop();
    this.#lane.abort();
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
        return this.#opened && player.toggle();
      case "step":
        return player.step(amount);
      case "start":
        return clip && player.show(clip.start_frame);
      case "end":
        return clip && player.show(clip.end_frame - 1);
      case "previous_cut":
      case "next_cut":
        return this.#toCut(action === "next_cut");
      case "previous_clip":
      case "next_clip":
        return this.#toClip(action === "next_clip");
      case "go_to":
        return clip && this.view.goTo.toggle();
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
    if (action !== "move_cut_point" && !isReturn({ action }) && this.lacksPicture()) return;
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
    this.#wishPlay = ADVANCING.has(action) && this.player.playing;
    // The cut stays in sight: the left half is next, and its last frame is the one beside the new cut.
    this.placed = action === "add_cut_point" ? at.frame - 1 : this.player.frame;
    this.cut.marked = action === "add_cut_point" ? "end" : null;
    const kept = this.outbox.add(decision);
    this.notices.made(kept, before);
    this.dispatch({ type: "decided", decision: kept });
  }

  /** Whether no frame of the clip has been drawn since it came to the stage; then it says so. */
  lacksPicture() {
    const clip = scene(this.state)?.clip;
    if (!clip) return false;
    const { shown, clip: on } = this.player;
    const there = shown !== null && on?.media.video.id === clip.source_video_id && shown >= clip.start_frame && shown < clip.end_frame;
    if (there || this.#seen === clip.id) return false;
    this.notices.noPicture(clip);
    return true;
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
    if (next !== null) this.open(next);
  }

  #scrub(frame) {
    const clip = scene(this.state)?.clip;
    if (clip) this.player.show(Math.min(Math.max(frame, clip.start_frame), clip.end_frame - 1));
  }

  /** Bring a clip to the stage, without deciding anything. frame: to begin with, the clip's first by default. */
  open(id, frame = null) {
    this.cut.settle();
    this.view.timeline.letGo();
    this.cut.marked = null;
    this.placed = frame;
    this.#wishPlay = false;
    this.dispatch({ type: "opened", id });
    this.feed.sync();
  }

  /** To the clip's edge in that direction; from the edge on to the neighbour. */
  #toCut(forward) {
    const found = scene(this.state);
    if (!found) return;
    const { clip, previous, next } = found;
    const edge = forward ? clip.end_frame - 1 : clip.start_frame;
    const neighbour = forward ? next : previous;
    if (this.player.frame !== edge) this.player.show(edge);
    else if (neighbour) this.open(neighbour.id);
  }

  #toClip(forward) {
    const id = nextStop(this.state, this.#trail, scene(this.state), forward);
    if (id !== null) this.pass(id);
    else this.view.toast(forward ? "No other clip waits here." : "There is no clip before this one.");
  }

  /** Go to another clip and leave the one on the stage as it is, at its place in the queue. */
  pass(id) {
    this.cut.settle();
    this.cut.marked = null;
    this.placed = null;
    this.#wishPlay = false;
    if (visible(this.state).clips.get(id)?.state !== WAITING) this.feed.linked = id;
    this.dispatch({ type: "passed", id });
    this.feed.sync();
  }

  /** Go to a place in the source video. Promise of null, or of what is wrong in words. */
  async goTo(text) {
    const found = scene(this.state);
    if (!found?.video) return "There is no clip on the stage.";
    const { clip, video } = found;
    const { index } = this.library.of(video);
    try {
      await index.ensure(0, 1);
      const place = placeOf(text, { rate: index.header.frameRate, here: this.player.frame });
      if (place.problem) return place.problem;
      const frame = place.frame ?? (await index.frameBefore(place.before));
      if (frame === null || frame < 0 || frame >= video.frame_count)
        return `${text.trim()} is not in this video: it has the frames 0 to ${video.frame_count - 1}.`;
      if (this.state.current !== clip.id) return null; // the reviewer has gone on meanwhile
      if (frame >= clip.start_frame && frame < clip.end_frame) {
        this.player.show(frame);
        return null;
      }
      const id = await this.feed.clipAt(video.id, frame);
      this.feed.linked = id;
      this.open(id, frame);
      return null;
    } catch (error) {
      return sentence(error.message);
    }
  }

  // ---- what the server says

  #confirmed(decision, answer) {
    this.notices.confirmed(decision, answer);
    const idle = !this.pending.length && !this.state.preview;
    this.#trail = renamedTrail(this.#trail, lesson(decision, answer).ids);
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
    this.#trail = visited(this.#trail, this.state.current);
    if (this.#seen !== this.state.current) this.#seen = null;
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
      canUndo: Boolean(this.outbox),
      canRedo: Boolean(this.outbox) && canRedo(state),
      pendingIds: new Set(state.pending.flatMap((decision) => [...touchedIds(decision)])),
      reviewer: this.config.reviewer.name,
      empty: this.#emptyWords(),
    });
    this.#stageUp(shown);
  }

  #emptyWords() {
    const { failed, loading } = this.feed;
    if (failed) return { title: "The queue cannot be loaded", text: `${sentence(failed)} Trying again by itself.` };
    if (loading || !this.outbox) return { title: "Loading clips …", text: "" };
    if (this.feed.empty) return this.feed.empty;
    return { title: "Nothing left to review here", text: "New clips appear by themselves. Ctrl+Z takes back your last decision." };
  }

  #stageUp(shown) {
    if (!shown) {
      this.#opened = null;
      return;
    }
    const { clip, video } = shown;
    const now = { id: clip.id, video: video.id, start: clip.start_frame, end: clip.end_frame };
    const old = this.#opened;
    if (old && old.video === now.video && old.start === now.start && old.end === now.end) {
      this.#opened = now;
      return;
    }
    this.#opened = now;
    const inside = (frame) => frame !== null && frame >= now.start && frame < now.end;
    const frame = old?.video === now.video && inside(this.placed) ? this.placed : now.start;
    if (!this.state.preview && old?.id !== now.id && this.cut.marked && !inside(this.placed)) this.cut.marked = null;
    const play = this.#wishPlay;
    this.#wishPlay = false;
    this.placed = null;
    this.player.open(video, now.start, now.end, { frame, play }).then(() => this.#warmNext());
  }

  /** Have the next clips ready, so that they appear at once. */
  #warmNext() {
    for (const next of upcoming(this.state).slice(0, NEXT)) {
      const video = this.state.videos[next.source_video_id];
      if (video) this.player.warm(video, next.start_frame, next.end_frame);
    }
  }

  /** The picture stands: stepping has pushed the next clips' pictures out, and those behind them can be looked at when the server goes away. */
  #provide() {
    this.#warmNext();
    const later = upcoming(this.state).slice(NEXT, AHEAD).filter((next) => next.source_video_id === this.#opened?.video);
    this.player.hoard(later.map((next) => [next.start_frame, next.end_frame]));
  }

  #onFrame(frame) {
    const found = scene(this.state);
    if (!found?.video) return;
    const { clip } = found;
    if (frame >= clip.start_frame && frame < clip.end_frame) this.#seen = clip.id;
    const { side } = this.cut;
    this.view.setFrame({ frame, clip, media: this.library.of(found.video) });
    // While playing only the playhead moves; marks and buttons follow when it stands.
    if (!this.player.playing || side !== this.#shownSide) {
      this.#shownSide = side;
      this.render();
    }
  }
}

function defaultStorage() {
  try {
    const { localStorage } = window;
    localStorage.getItem("heaters");
    return localStorage;
  } catch {
    return new MemoryStorage();
  }
}
