// The ways to another frame or clip, none of which decides anything.

import { scene, visible, WAITING } from "../decisions/review_state.js";
import { nextStop, NO_TRAIL, renamedTrail, visited } from "../decisions/trail.js";
import { sentence } from "../decisions/words.js";
import { placeOf } from "../picture/timecode.js";

export class Ways {
  #page;
  #trail = NO_TRAIL;

  /** page: the Review. */
  constructor(page) {
    this.#page = page;
  }

  /** The clip with this id is current. decided: the one before it was decided, and the queue went on. */
  visit(id, decided = false) {
    this.#trail = visited(this.#trail, id, decided);
  }

  /** ids: {provisional id: the one that the server gave}. */
  rename(ids) {
    this.#trail = renamedTrail(this.#trail, ids);
  }

  scrub(frame) {
    const clip = scene(this.#page.state)?.clip;
    if (clip) this.#page.player.show(Math.min(Math.max(frame, clip.start_frame), clip.end_frame - 1));
  }

  /** Bring a clip to the stage, without deciding anything. frame: to begin with, the clip's first by default. */
  open(id, frame = null) {
    const page = this.#page;
    page.cut.settle();
    page.view.timeline.letGo();
    page.cut.marked = null;
    page.stage.placed = frame;
    page.stage.wishPlay = false;
    page.dispatch({ type: "opened", id });
    page.feed.sync();
  }

  /** To the clip's edge in that direction; from the edge on to the neighbour. */
  toCut(forward) {
    const { state, player } = this.#page;
    const found = scene(state);
    if (!found) return;
    const { clip, previous, next } = found;
    const edge = forward ? clip.end_frame - 1 : clip.start_frame;
    const neighbour = forward ? next : previous;
    if (player.frame !== edge) player.show(edge);
    else if (neighbour) this.open(neighbour.id);
  }

  toClip(forward) {
    const { state, view } = this.#page;
    const id = nextStop(state, this.#trail, scene(state), forward);
    if (id !== null) this.#pass(id);
    else view.toast(forward ? "No other clip waits here." : "There is no clip before this one.");
  }

  /** Go to another clip and leave the one on the stage as it is, at its place in the queue. */
  #pass(id) {
    const page = this.#page;
    page.cut.settle();
    page.cut.marked = null;
    page.stage.placed = null;
    page.stage.wishPlay = false;
    if (visible(page.state).clips.get(id)?.state !== WAITING) page.feed.linked = id;
    page.dispatch({ type: "passed", id });
    page.feed.sync();
  }

  /** Go to a place in the source video. Promise of null, or of what is wrong in words. */
  async goTo(text) {
    const page = this.#page;
    const found = scene(page.state);
    if (!found?.video) return "There is no clip on the stage.";
    const { clip, video } = found;
    const { index } = page.library.of(video);
    try {
      await index.ensure(0, 1);
      const place = placeOf(text, { rate: index.header.frameRate, here: page.player.frame, source: video.source_time ?? null });
      if (place.problem) return place.problem;
      const frame = place.frame ?? (await index.frameBefore(place.before));
      if (frame === null || frame < 0 || frame >= video.frame_count)
        return `${text.trim()} is not in this video: it has the frames 0 to ${video.frame_count - 1}.`;
      if (page.state.current !== clip.id) return null; // the reviewer has gone on meanwhile
      if (frame >= clip.start_frame && frame < clip.end_frame) {
        page.player.show(frame);
        return null;
      }
      const id = await page.feed.clipAt(video.id, frame);
      page.feed.linked = id;
      this.open(id, frame);
      return null;
    } catch (error) {
      return sentence(error.message);
    }
  }
}
