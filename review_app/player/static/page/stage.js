// The clip on the stage: brought there at the right frame, seen or not yet, and the clips that follow made ready.

import { AHEAD } from "../decisions/feed.js";
import { scene, upcoming } from "../decisions/review_state.js";

const NEXT = 2; // clips whose first picture is decoded beforehand

export class Stage {
  #page;
  #opened = null; // {id, video, start, end} on the stage
  #seen = null; // id of the clip on the stage once a frame of it has been drawn
  #shownSide = null;
  /** Frame to open the next clip at; null: its first. */
  placed = null;
  /** Whether the next clip is to play at once. */
  wishPlay = false;

  /** page: the Review. */
  constructor(page) {
    this.#page = page;
  }

  get isOpen() {
    return this.#opened !== null;
  }

  /** Another clip may be current: it has not been seen. */
  turn(current) {
    if (this.#seen !== current) this.#seen = null;
  }

  /** Whether no frame of the clip has been drawn since it came to the stage; then it says so. */
  lacksPicture() {
    const { state, player, notices } = this.#page;
    const clip = scene(state)?.clip;
    if (!clip) return false;
    const { shown, clip: on } = player;
    const there = shown !== null && on?.media.video.id === clip.source_video_id && shown >= clip.start_frame && shown < clip.end_frame;
    if (there || this.#seen === clip.id) return false;
    notices.noPicture(clip);
    return true;
  }

  /** Bring what is current to the stage. shown: the scene, null when there is none. */
  up(shown) {
    if (!shown) {
      this.#opened = null;
      return;
    }
    const { state, cut, player } = this.#page;
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
    if (!state.preview && old?.id !== now.id && cut.marked && !inside(this.placed)) cut.marked = null;
    const play = this.wishPlay;
    this.wishPlay = false;
    this.placed = null;
    player.open(video, now.start, now.end, { frame, play }).then(() => this.#warmNext());
  }

  /** Have the next clips ready, so that they appear at once. */
  #warmNext() {
    const { state, player } = this.#page;
    for (const next of upcoming(state).slice(0, NEXT)) {
      const video = state.videos[next.source_video_id];
      if (video) player.warm(video, next.start_frame, next.end_frame);
    }
  }

  /** The picture stands: stepping has pushed the next clips' pictures out, and those behind them can be looked at when the server goes away. */
  provide() {
    this.#warmNext();
    const { state, player } = this.#page;
    const later = upcoming(state).slice(NEXT, AHEAD).filter((next) => next.source_video_id === this.#opened?.video);
    player.hoard(later.map((next) => [next.start_frame, next.end_frame]));
  }

  /** The player has drawn a frame. */
  drawn(frame) {
    const page = this.#page;
    const found = scene(page.state);
    if (!found?.video) return;
    const { clip } = found;
    if (frame >= clip.start_frame && frame < clip.end_frame) this.#seen = clip.id;
    const { side } = page.cut;
    page.view.setFrame({ frame, clip, media: page.library.of(found.video) });
    // While playing only the playhead moves; marks and buttons follow when it stands.
    if (!page.player.playing || side !== this.#shownSide) {
      this.#shownSide = side;
      page.render();
    }
  }
}
