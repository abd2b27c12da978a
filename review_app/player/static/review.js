// The review page without its host: keys and buttons in, decisions out, the next clip on the stage at once.

import { keyMeaning } from "./keys.js";
import { claimedLane, takenOver } from "./lane.js";
import { MemoryStorage, Outbox, touchedIds } from "./outbox.js";
import { Player, RATES } from "./player.js";
import { ReviewApi } from "./review_api.js";
import { ReviewView } from "./review_view.js";
import { addChoice, canRedo, clipsMeetingAt, decisionFor, EMPTY, lesson, moveRange, progressShown, reduced, scene, upcoming, visible } from "./review_state.js";
import { MediaLibrary } from "./video_media.js";
import { clipName, count, decisionWords, sentence } from "./words.js";

const AHEAD = 6; // clips asked for at once; they are leased, so not more than one reviewer looks at soon
const REFILL_BELOW = 4;
const NUDGE_PAUSE_MS = 800; // a row of nudges is one decision
const SYNC_MS = 4000;
const SYNC_HIDDEN_MS = 20_000;
const IDLE_MS = 5 * 60_000; // without any input for so long, the clips go back to the queue
const HABITS = "heaters.player";
const ADVANCING = new Set(["approve", "skip", "archive", "group"]);
const leaving = new Set(); // pages that are gone and still send what the reviewer decided there

export class Review {
  #state = EMPTY;
  #stop = new AbortController();
  #lane = new AbortController(); // lets go of the outbox's lane
  #outbox = null;
  #opened = null; // {video, start, end} on the stage
  #marked = null; // side of the cut that the reviewer marked; null: the nearest
  #nudging = null; // timer
  #syncing = null;
  #loading = false;
  #loadFailed = null;
  #wishPlay = false;
  #placed = null; // frame to open the next clip at
  #fetching = null; // id of the video that is being asked for
  #inputAt = Date.now();
  #asked = { open: null, fresh: false }; // what the next queue is to bring: the clip to begin with, and whether it begins anew
  #linked = null; // id of the clip that the page's address names
  #filters = 0; // counts changes of the queue's address

  /**
   * root: element or shadow root. config: see README.md, "Configuration".
   * onSignedOut(): the token is refused; call update() with a fresh one. storage: for undelivered decisions.
   */
  constructor({ root, config, onSignedOut = () => {}, storage = defaultStorage() }) {
    this.config = config;
    this.storage = storage;
    this.api = new ReviewApi({ config, onSignedOut });
    this.library = new MediaLibrary({ enabled: config.webcodecs_enabled !== false, refresh: (id) => this.#video(id) });
    this.view = new ReviewView({
      root,
      act: (action, amount) => this.act(action, amount),
      timeline: {
        onScrub: (frame) => this.#scrub(frame),
        onOpen: (clip) => this.#open(clip.id),
        onMark: (side) => this.#mark(side),
        onPreview: (side, frame) => this.#previewTo(side, frame),
        onMoved: () => this.#settleCut(),
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
    if (habits === this.habits) return;
    this.habits = habits;
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

  get state() {
    return this.#state;
  }

  get pending() {
    return this.#outbox?.decisions ?? [];
  }

  /** Take up where the tab was: undelivered decisions first, then the queue. */
  async start() {
    const { signal } = this.#stop;
    const reviewer = String(this.config.reviewer.id);
    const listen = (target, event, handler) => target.addEventListener(event, handler, { signal });
    listen(window, "keydown", (event) => this.#onKey(event));
    for (const input of ["keydown", "pointerdown", "pointermove", "wheel"]) listen(window, input, () => this.#onInput());
    listen(window, "online", () => this.#outbox?.poke());
    listen(window, "pagehide", () => this.#settleCut());
    listen(document, "visibilitychange", () => this.#onVisibility());
    listen(window, "beforeunload", (event) => {
      if (this.#outbox && !this.#outbox.kept && this.#outbox.decisions.length) event.preventDefault();
    });
    this.#render();
    for (const page of leaving) page.#letGo(); // what it has not delivered is this page's now
    const lane = await claimedLane({ reviewer, release: this.#lane.signal });
    if (signal.aborted) return;
    this.#outbox = new Outbox({
      storage: this.storage,
      reviewer,
      lane,
      send: (decision) => this.api.decide(decision),
      learn: lesson,
      onConfirmed: (decision, answer) => this.#confirmed(decision, answer),
      onRefused: (decision, refusal, dropped) => this.#refused(decision, refusal, dropped),
      onState: (state) => this.view.setSaved(state),
    });
    this.#outbox.kept = !(this.storage instanceof MemoryStorage);
    this.#loading = true; // an empty queue asks for more, and that request would not name the clip to begin with
    this.#dispatch({ type: "restored", decisions: this.#outbox.decisions });
    await this.#adoptLanes();
    this.#outbox.start();
    this.#syncSoon();
    this.#loading = false;
    this.#asked = { open: this.config.open_clip_id ?? null, fresh: false };
    await this.#load();
  }

  /** A new configuration: a fresh token is taken over quietly, another queue begins anew. */
  update(config) {
    const another = config.queue_url !== this.config.queue_url || config.open_clip_id !== this.config.open_clip_id;
    const token = config.token !== this.config.token;
    this.config = this.api.config = config;
    this.library.enabled = config.webcodecs_enabled !== false;
    this.#fit();
    if (token) this.#outbox?.poke();
    if (another && this.#outbox) {
      this.#settleCut();
      this.#filters++;
      this.#loading = false;
      this.#asked = { open: config.open_clip_id ?? null, fresh: true };
      this.#load();
    }
    this.#render();
  }

  close() {
    this.#settleCut();
    this.#stop.abort();
    this.api.onSignedOut = () => {};
    if (this.#outbox?.kept) leaving.add(this);
    if (this.#outbox) this.#outbox.leave().finally(() => this.#letGo());
    else this.#letGo();
    clearTimeout(this.#syncing);
    clearTimeout(this.#nudging);
    this.player.close();
    this.view.close();
    this.library.close();
  }

  /** Send nothing more: the next page takes over what is stored. */
  #letGo() {
    leaving.delete(this);
    this.#outbox?.stop();
    this.#lane.abort();
  }

  // ---- what the reviewer does

  get #isIdle() {
    return Date.now() - this.#inputAt > IDLE_MS;
  }

  /** Back at the page: take the clips again, or hear who has them. */
  #onInput() {
    const back = this.#isIdle;
    this.#inputAt = Date.now();
    if (back && this.#outbox) this.#sync();
  }

  #onKey(event) {
    const open = this.view.help.open;
    const row = keyMeaning(event, this.view.element, { moving: Boolean(this.#state.preview) });
    if (!row || (open && row.action !== "help") || !this.view.element.isConnected) return;
    event.preventDefault();
    this.act(row.action, row.amount);
  }

  /** An action in the words of KEYS. */
  act(action, amount) {
    const { player } = this;
    const clip = scene(this.#state)?.clip;
    switch (action) {
      case "help":
        return this.view.toggleHelp();
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
      case "loop":
        return player.setLoop(!player.loop);
      case "mute":
        return player.setMuted(!player.video.muted);
      case "rate":
        return player.setRate(amount);
      case "other_cut":
        return this.#mark(this.#side() === "start" ? "end" : "start");
      case "nudge":
        return this.#nudge(amount);
      case "put_back":
        return this.#putBack();
      case "add_cut_point":
        this.#settleCut();
        return this.#decide(action, { frame: player.frame });
      case "remove_cut_point":
        this.#settleCut();
        return this.#decide(action, { frame: this.#cutFrame(this.#side()) ?? -1 });
      default:
        this.#settleCut();
        return this.#decide(action);
    }
  }

  #decide(action, at) {
    if (!this.#outbox) return;
    const decision = decisionFor(this.#state, action, this.#outbox.nextKey, at);
    if (decision.problem) {
      this.view.toast(decision.problem, { kind: "warning" });
      return;
    }
    this.view.timeline.letGo();
    const before = scene(this.#state)?.clip;
    this.#wishPlay = ADVANCING.has(action) && this.player.playing;
    // The cut stays in sight: the left half is next, and its last frame is the one beside the new cut.
    this.#placed = action === "add_cut_point" ? at.frame - 1 : this.player.frame;
    this.#marked = action === "add_cut_point" ? "end" : null;
    const kept = this.#outbox.add(decision);
    this.view.setLast(`${decisionWords(kept, before ? clipName(before) : "clip")} …`, "waiting");
    this.#dispatch({ type: "decided", decision: kept });
  }

  #scrub(frame) {
    const clip = scene(this.#state)?.clip;
    if (clip) this.player.show(Math.min(Math.max(frame, clip.start_frame), clip.end_frame - 1));
  }

  #open(id) {
    this.#settleCut();
    this.view.timeline.letGo();
    this.#marked = null;
    this.#placed = null;
    this.#wishPlay = false;
    this.#dispatch({ type: "opened", id });
    this.#sync();
  }

  /** To the clip's edge in that direction; from the edge on to the neighbour. */
  #toCut(forward) {
    const found = scene(this.#state);
    if (!found) return;
    const { clip, previous, next } = found;
    const edge = forward ? clip.end_frame - 1 : clip.start_frame;
    const neighbour = forward ? next : previous;
    if (this.player.frame !== edge) this.player.show(edge);
    else if (neighbour) this.#open(neighbour.id);
  }

  // ---- the marked cut

  /** The side of the marked cut: the reviewer's choice, else the nearest to the playhead; null when the clip has no cut. */
  #side() {
    const found = scene(this.#state);
    if (!found) return null;
    const { clip, previous, next } = found;
    const sides = [previous && "start", next && "end"].filter(Boolean);
    if (sides.length < 2) return sides[0] ?? null;
    if (this.#marked) return this.#marked;
    return this.player.frame - clip.start_frame < clip.end_frame - 1 - this.player.frame ? "start" : "end";
  }

  #mark(side) {
    if (this.#marked === side && this.#side() === side) return;
    this.#settleCut();
    this.#marked = side;
    this.#render();
  }

  #cutFrame(side) {
    const found = scene(this.#state);
    if (!found || !side) return null;
    const exists = side === "start" ? found.previous : found.next;
    return exists ? found.clip[side === "start" ? "start_frame" : "end_frame"] : null;
  }

  #nudge(frames) {
    const side = this.#side();
    const frame = this.#cutFrame(side);
    if (frame === null) {
      this.view.toast("There is no cut beside this clip that could move.", { kind: "warning" });
      return;
    }
    this.#previewTo(side, frame + frames);
    clearTimeout(this.#nudging);
    this.#nudging = setTimeout(() => this.#settleCut(), NUDGE_PAUSE_MS);
  }

  /** Show the cut of `side` at `frame` without deciding it yet. */
  #previewTo(side, frame) {
    if (this.#marked !== side) this.#settleCut(); // a cut in hand is the marked one
    clearTimeout(this.#nudging);
    const settled = this.#state.preview ? { ...this.#state, preview: null } : this.#state;
    const found = scene(settled);
    const moving = this.#state.preview;
    const from = moving ? moving.frame : this.#cutFrame(side);
    if (!found || from === null || from === undefined) return;
    const range = moveRange(...clipsMeetingAt(visible(settled).clips, found.clip.source_video_id, from));
    if (!range) {
      this.view.toast("This cut cannot move: the clips beside it have a single frame each.", { kind: "warning" });
      return;
    }
    const to = Math.min(Math.max(frame, range[0]), range[1]);
    this.#marked = side;
    const beside = side === "start" ? to : to - 1;
    this.#placed = beside;
    if (to === from) this.#dispatch({ type: "previewed", decision: null });
    else {
      const decision = decisionFor(settled, "move_cut_point", "preview", { frame: from, new_frame: to });
      this.#dispatch({ type: "previewed", decision: { ...decision, request_key: "preview" } });
    }
    this.player.show(beside);
  }

  /** Leave the cut that is on the move, by mouse or by keys, where it was. */
  #putBack() {
    const moved = this.#state.preview;
    if (!moved) return;
    clearTimeout(this.#nudging);
    this.view.timeline.letGo();
    const beside = this.#marked === "start" ? moved.frame : moved.frame - 1;
    this.#placed = beside;
    this.#dispatch({ type: "previewed", decision: null });
    this.player.show(beside);
  }

  /** Make the decision that the moved cut stands for. */
  #settleCut() {
    clearTimeout(this.#nudging);
    const moved = this.#state.preview;
    if (!moved) return;
    const side = this.#marked;
    this.#state = { ...this.#state, preview: null };
    this.#decide("move_cut_point", { frame: moved.frame, new_frame: moved.new_frame });
    this.#marked = side;
    this.#render();
  }

  // ---- what the server says

  #confirmed(decision, answer) {
    const clip = (answer.clips ?? []).find((one) => one.id === decision.clip_id);
    this.view.setLast(decisionWords(decision, clip ? clipName(clip) : "the clip"), "saved");
    const idle = !this.pending.length && !this.#state.preview;
    this.#dispatch({ type: "confirmed", decision, answer, follow: idle });
  }

  #refused(decision, refusal, dropped) {
    const more = dropped.length ? ` ${count(dropped.length, "decision")} that rested on it ${dropped.length === 1 ? "was" : "were"} taken back too.` : "";
    const id = decision.clip_id;
    this.#dispatch({ type: "refused", decision, dropped, answer: refusal.body });
    const there = visible(this.#state).clips.has(id) && id !== this.#state.current;
    const what = { undo: "Not undone", redo: "Not done again" }[decision.action] ?? "Taken back";
    this.view.setLast(what, "taken-back");
    this.view.toast(`${what}: ${sentence(refusal.message)}${more}`, {
      kind: "taken-back",
      action: there ? { text: "Show the clip", run: () => this.#open(id) } : null,
    });
  }

  async #load() {
    if (this.#loading) return;
    this.#loading = true;
    const { open, fresh } = this.#asked;
    const filters = this.#filters;
    try {
      const answer = await this.api.queue({ limit: AHEAD + this.pending.length, open });
      if (filters !== this.#filters || this.#stop.signal.aborted) return;
      const known = new Set(this.#state.queue.map(String));
      const news = answer.queue.some((id) => !known.has(String(id)));
      this.#loadFailed = null;
      this.#asked = { open: null, fresh: false };
      const opened = answer.opened ?? null;
      this.#dispatch({
        type: "queue_loaded",
        answer: { ...answer, exhausted: !news },
        fresh,
        front: opened === null ? [] : [opened],
      });
      if (answer.note) this.view.toast(answer.note, { kind: "warning" });
      if (open !== null || fresh) this.#linked = opened;
      if (opened !== null && visible(this.#state).clips.has(opened)) this.#dispatch({ type: "opened", id: opened });
    } catch (error) {
      if (filters !== this.#filters) return;
      this.#loadFailed = error.message;
      // Clips of the queue before must not pass for those that the address now asks for.
      if (fresh) this.#dispatch({ type: "left", ids: [this.#state.current, ...this.#state.queue] });
    } finally {
      if (filters === this.#filters) this.#loading = false;
    }
    this.#render();
  }

  #syncSoon() {
    clearTimeout(this.#syncing);
    if (this.#stop.signal.aborted) return;
    this.#syncing = setTimeout(() => this.#sync(), document.visibilityState === "hidden" ? SYNC_HIDDEN_MS : SYNC_MS);
  }

  /** Renew the leases (not those of a forgotten tab), hear what colleagues have changed, ask for more clips when none are left. */
  async #sync() {
    clearTimeout(this.#syncing);
    const busy = new Set(this.pending.flatMap((decision) => [...touchedIds(decision)]));
    const real = (id) => typeof id === "number" && !busy.has(String(id));
    const wanted = this.#isIdle ? [] : [this.#state.current, ...upcoming(this.#state).slice(0, AHEAD - 1).map((clip) => clip.id)];
    const hold = wanted.filter((id) => typeof id === "number");
    const known = Object.fromEntries(this.#nearby().filter((clip) => real(clip.id)).map((clip) => [clip.id, clip.version]));
    try {
      const answer = await this.api.sync({ hold, known });
      if (this.#stop.signal.aborted) return;
      if (answer.clips?.length || answer.retired?.length || answer.progress) this.#dispatch({ type: "clips_changed", answer });
      const lost = (answer.lost ?? []).filter(({ clip_id: id }) => !busy.has(String(id)));
      if (lost.length) this.#lost(lost);
      if (this.#loadFailed || (this.#isShort && !this.#isIdle)) await this.#load();
    } catch {
      // The outbox says whether there is a connection; here the next round tries again.
    }
    await this.#adoptLanes();
    this.#syncSoon();
  }

  /** Clips on the page and soon on it, as the server last sent them. */
  #nearby() {
    const found = scene(this.#state);
    const ids = [found?.clip, found?.previous, found?.next, ...upcoming(this.#state)].filter(Boolean).map((clip) => clip.id);
    return [...new Set(ids)].map((id) => this.#state.clips[id]).filter(Boolean);
  }

  /** A clip that the reviewer came for by its link stays on the stage: who else is on it was said when it was opened. */
  #lost(all) {
    const lost = all.filter(({ clip_id: id }) => id !== this.#linked);
    if (!lost.length) return;
    const current = lost.find(({ clip_id: id }) => id === this.#state.current);
    this.#dispatch({ type: "left", ids: lost.map(({ clip_id: id }) => id) });
    if (current) this.view.toast(`${current.reviewer} is on that clip now. Here is the next one.`, { kind: "warning" });
  }

  /** Deliver what other tabs of this reviewer, closed since, have left. */
  async #adoptLanes() {
    const reviewer = String(this.config.reviewer.id);
    for (const lane of this.#outbox.otherLanes()) {
      if (!(await takenOver({ reviewer, lane, release: this.#lane.signal }))) continue;
      const decisions = this.#outbox.adopt(lane);
      if (decisions.length) this.#dispatch({ type: "restored", decisions });
    }
  }

  #onVisibility() {
    this.#inputAt = Date.now();
    if (document.visibilityState === "hidden") this.#settleCut();
    else if (this.#outbox) this.#sync();
  }

  // ---- what is shown

  get #isShort() {
    return upcoming(this.#state).length < REFILL_BELOW;
  }

  #dispatch(event) {
    const shown = scene(this.#state);
    this.#state = reduced(this.#state, event);
    // The server had no more, but what a colleague has given back since is asked for before the page says that nothing is left.
    const asks = !this.#state.exhausted || (shown && !scene(this.#state));
    if (this.#isShort && asks && this.#outbox && !this.#isIdle && event.type !== "queue_loaded") this.#load();
    this.#render();
  }

  #render() {
    const state = this.#state;
    const found = scene(state);
    const shown = found?.video ? found : null;
    if (found && !shown) this.#fetchVideo(found.clip.source_video_id);
    const media = shown && this.library.of(shown.video);
    this.view.update({
      scene: shown,
      media,
      marked: shown && this.#side(),
      choice: shown ? addChoice(shown.clip, this.player.frame) : { add: false },
      moving: Boolean(state.preview),
      progress: progressShown(state),
      canUndo: Boolean(this.#outbox),
      canRedo: Boolean(this.#outbox) && canRedo(state),
      pendingIds: new Set(state.pending.flatMap((decision) => [...touchedIds(decision)])),
      reviewer: this.config.reviewer.name,
      empty: this.#emptyWords(),
    });
    this.#stageUp(shown);
  }

  /** A clip of a video that no queue has brought: an undo of long ago leads there. */
  async #fetchVideo(id) {
    if (this.#fetching === id) return;
    this.#fetching = id;
    try {
      await this.#video(id);
    } catch (error) {
      this.#loadFailed = error.message; // the next sync asks again
    }
    this.#fetching = null;
  }

  /** Promise of a video with fresh links, which the page uses from then on. */
  async #video(id) {
    const video = await this.api.video(id);
    if (!this.#stop.signal.aborted) this.#dispatch({ type: "clips_changed", answer: { videos: [video] } });
    return video;
  }

  #emptyWords() {
    if (this.#loadFailed) return { title: "The queue cannot be loaded", text: `${sentence(this.#loadFailed)} Trying again by itself.` };
    if (this.#loading || !this.#outbox) return { title: "Loading clips …", text: "" };
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
    const frame = old?.video === now.video && inside(this.#placed) ? this.#placed : now.start;
    if (!this.#state.preview && old?.id !== now.id && this.#marked && !inside(this.#placed)) this.#marked = null;
    const play = this.#wishPlay;
    this.#wishPlay = false;
    this.#placed = null;
    this.player.open(video, now.start, now.end, { frame, play }).then(() => {
      for (const next of upcoming(this.#state).slice(0, 2)) {
        const nextVideo = this.#state.videos[next.source_video_id];
        if (nextVideo) this.player.warm(nextVideo, next.start_frame, next.end_frame);
      }
    });
  }

  #onFrame(frame) {
    const found = scene(this.#state);
    if (!found?.video) return;
    const side = this.#side();
    this.view.setFrame({ frame, clip: found.clip, media: this.library.of(found.video) });
    // While playing only the playhead moves; marks and buttons follow when it stands.
    if (!this.player.playing || side !== this.shownSide) {
      this.shownSide = side;
      this.#render();
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
