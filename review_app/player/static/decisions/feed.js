// What the page asks the server for, and when: clips to review, leases, and what colleagues do.

import { touchedIds } from "./outbox.js";
import { passedOver, scene, upcoming, visible } from "./review_state.js";

export const AHEAD = 6; // clips asked for at once; they are leased, so not more than one reviewer looks at soon
const REFILL_BELOW = 4;
const SYNC_MS = 4000;
const SYNC_HIDDEN_MS = 20_000;
const IDLE_MS = 5 * 60_000; // without any input for so long, the clips go back to the queue

export class Feed {
  #page;
  #signal;
  #inputAt = Date.now();
  #filters = 0; // counts changes of the queue's address
  #asked = { open: null, fresh: false }; // what the next queue is to bring: the clip to begin with, and whether it begins anew
  #timer = null;
  #renewed = new Set(); // ids of videos whose links are being asked for
  /** Whether the queue is being asked for; what went wrong the last time, in words. */
  loading = false;
  failed = null;
  /** Why there is nothing to review, in the server's words: {title, text, ways: [{label, url}]}; null while it is not known. */
  empty = null;
  /** Id of the clip that the reviewer came for on purpose, by a link or by its frame: it stays though a colleague has it. */
  linked = null;

  /** page: the Review. signal: aborted when the page is left. */
  constructor(page, { signal }) {
    this.#page = page;
    this.#signal = signal;
  }

  get isIdle() {
    return Date.now() - this.#inputAt > IDLE_MS;
  }

  /** Somebody uses the page again: lease its clips again, or learn who has them. */
  onInput() {
    const back = this.isIdle;
    this.#inputAt = Date.now();
    if (back && this.#page.outbox) this.sync();
  }

  onVisibility() {
    this.#inputAt = Date.now();
    if (document.visibilityState !== "hidden" && this.#page.outbox) this.sync();
  }

  /** Few clips are left ahead. */
  get isShort() {
    return upcoming(this.#page.state).length - passedOver(this.#page.state) < REFILL_BELOW;
  }

  /** Ask for the queue of the configuration, with its clip first. fresh: what the page has is of another queue. */
  async begin({ fresh }) {
    if (fresh) this.#filters++;
    this.loading = false;
    this.#asked = { open: this.#page.config.open_clip_id ?? null, fresh };
    await this.load();
  }

  async load() {
    if (this.loading) return;
    const page = this.#page;
    this.loading = true;
    const { open, fresh } = this.#asked;
    const filters = this.#filters;
    try {
      const limit = AHEAD + page.pending.length + passedOver(page.state);
      const answer = await page.api.queue({ limit, open });
      if (filters !== this.#filters || this.#signal.aborted) return;
      const known = new Set(page.state.queue.map(String));
      const news = answer.queue.some((id) => !known.has(String(id)));
      this.failed = null;
      this.empty = answer.empty ?? null;
      this.#asked = { open: null, fresh: false };
      const opened = answer.opened ?? null;
      page.dispatch({ type: "queue_loaded", answer: { ...answer, exhausted: !news }, fresh, front: opened === null ? [] : [opened] });
      if (answer.note) page.view.toast(answer.note, { kind: "warning" });
      if (open !== null || fresh) this.linked = opened;
      if (opened !== null && visible(page.state).clips.has(opened)) page.dispatch({ type: "opened", id: opened });
    } catch (error) {
      if (filters !== this.#filters) return;
      this.failed = error.message;
      // Clips of the earlier queue must not be taken for clips of the present address.
      if (fresh) page.dispatch({ type: "left", ids: [page.state.current, ...page.state.queue] });
    } finally {
      if (filters === this.#filters) this.loading = false;
    }
    page.render();
  }

  syncSoon() {
    clearTimeout(this.#timer);
    if (this.#signal.aborted) return;
    this.#timer = setTimeout(() => this.sync(), document.visibilityState === "hidden" ? SYNC_HIDDEN_MS : SYNC_MS);
  }

  /** Renew the leases (not those of a forgotten tab), learn what colleagues have changed, ask for more clips when none are left. */
  async sync() {
    clearTimeout(this.#timer);
    const page = this.#page;
    const busy = new Set(page.pending.flatMap((decision) => [...touchedIds(decision)]));
    const real = (id) => typeof id === "number" && !busy.has(String(id));
    const wanted = this.isIdle ? [] : [page.state.current, ...upcoming(page.state).slice(0, AHEAD - 1).map((clip) => clip.id)];
    const hold = wanted.filter((id) => typeof id === "number");
    const known = Object.fromEntries(this.#nearby().filter((clip) => real(clip.id)).map((clip) => [clip.id, clip.version]));
    try {
      const answer = await page.api.sync({ hold, known });
      if (this.#signal.aborted) return;
      if (answer.clips?.length || answer.retired?.length || answer.progress) page.dispatch({ type: "clips_changed", answer });
      const lost = (answer.lost ?? []).filter(({ clip_id: id }) => !busy.has(String(id)));
      if (lost.length) this.#lost(lost);
      if (this.failed || (this.isShort && !this.isIdle)) await this.load();
    } catch {
      // The outbox says whether there is a connection; here the next round tries again.
    }
    this.syncSoon();
  }

  /** Clips on the page and soon on it, as the server last sent them. */
  #nearby() {
    const { state } = this.#page;
    const found = scene(state);
    const ids = [found?.clip, found?.previous, found?.next, ...upcoming(state)].filter(Boolean).map((clip) => clip.id);
    return [...new Set(ids)].map((id) => state.clips[id]).filter(Boolean);
  }

  /** A clip that the reviewer came for stays on the stage: who else is on it was said when it was opened. */
  #lost(all) {
    const page = this.#page;
    const lost = all.filter(({ clip_id: id }) => id !== this.linked);
    if (!lost.length) return;
    const current = lost.find(({ clip_id: id }) => id === page.state.current);
    page.dispatch({ type: "left", ids: lost.map(({ clip_id: id }) => id) });
    if (current) page.view.toast(`${current.reviewer} is on that clip now. Here is the next one.`, { kind: "warning" });
  }

  /** Promise of a video with fresh links, which the page uses from then on. */
  async video(id) {
    const video = await this.#page.api.video(id);
    if (!this.#signal.aborted) this.#page.dispatch({ type: "clips_changed", answer: { videos: [video] } });
    return video;
  }

  /** A clip of a video that no queue has brought: an undo of long ago leads there. */
  async fetchVideo(id) {
    if (this.#renewed.has(id)) return;
    this.#renewed.add(id);
    try {
      await this.video(id);
    } catch (error) {
      this.failed = error.message; // the next sync asks again
    }
    this.#renewed.delete(id);
  }

  /** Promise of the id of the clip that holds a frame of the video, known to the page from then on. Throws when there is none. */
  async clipAt(videoId, frame) {
    const { clips, clip_id: id, ...video } = await this.#page.api.video(videoId, { frame });
    if (!this.#signal.aborted) this.#page.dispatch({ type: "clips_changed", answer: { videos: [video], clips } });
    return id;
  }

  close() {
    clearTimeout(this.#timer);
  }
}
