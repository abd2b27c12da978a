// The cut that the keys act on, and a cut that is being moved or said something of: shown as it will be, and decided when the reviewer stops.

import { asKind, isSameCut, nextKind, rangeMoved } from "../decisions/cut_kind.js";
import { decisionFor, moveRange } from "../decisions/choices.js";
import { clipsMeetingAt, scene, visible } from "../decisions/review_state.js";

const NUDGE_PAUSE_MS = 800; // a row of nudges is one decision

export class CutHand {
  #page;
  #timer = null;
  /** Side of the cut that the reviewer marked; null: the nearest. */
  marked = null;

  /** page: the Review. */
  constructor(page) {
    this.#page = page;
  }

  /** The side of the marked cut: the reviewer's choice, else the nearest to the playhead; null when the clip has no cut. */
  get side() {
    const found = scene(this.#page.state);
    if (!found) return null;
    const { clip, previous, next } = found;
    const sides = [previous && "start", next && "end"].filter(Boolean);
    if (sides.length < 2) return sides[0] ?? null;
    if (this.marked) return this.marked;
    const { frame } = this.#page.player;
    return frame - clip.start_frame < clip.end_frame - 1 - frame ? "start" : "end";
  }

  mark(side) {
    if (this.marked === side && this.side === side) return;
    this.settle();
    this.marked = side;
    this.#page.render();
  }

  markOther() {
    this.mark(this.side === "start" ? "end" : "start");
  }

  /** Frame of the cut on that side of the clip, null where there is none. */
  frameOf(side) {
    const found = scene(this.#page.state);
    if (!found || !side) return null;
    const exists = side === "start" ? found.previous : found.next;
    return exists ? found.clip[side === "start" ? "start_frame" : "end_frame"] : null;
  }

  nudge(frames) {
    const { side } = this;
    const frame = this.frameOf(side);
    if (frame === null) {
      this.#page.view.toast("There is no cut beside this clip that could move.", { kind: "warning" });
      return;
    }
    this.preview(side, frame + frames);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.settle(), NUDGE_PAUSE_MS);
  }

  /** Show the cut of `side` at `frame` without deciding it yet. */
  preview(side, frame) {
    const page = this.#page;
    if (this.marked !== side) this.settle(); // a cut that is being moved is the marked one
    clearTimeout(this.#timer);
    if (page.state.preview?.action === "edit_cut") this.settle();
    const moving = page.state.preview;
    const settled = moving ? { ...page.state, preview: null } : page.state;
    if (!moving && page.stage.lacksPicture()) return;
    const found = scene(settled);
    const from = moving ? moving.frame : this.frameOf(side);
    if (!found || from === null || from === undefined) return;
    const range = moveRange(...clipsMeetingAt(visible(settled).clips, found.clip.source_video_id, from));
    if (!range) {
      page.view.toast("This cut cannot move: the clips beside it have a single frame each.", { kind: "warning" });
      return;
    }
    const to = Math.min(Math.max(frame, range[0]), range[1]);
    this.marked = side;
    const beside = side === "start" ? to : to - 1;
    page.stage.placed = beside;
    if (to === from) page.dispatch({ type: "previewed", decision: null });
    else {
      const decision = decisionFor(settled, "move_cut_point", "preview", { frame: from, new_frame: to });
      page.dispatch({ type: "previewed", decision: { ...decision, request_key: "preview" } });
    }
    page.player.show(beside);
  }

  /** The marked cut is another kind: this one, or the next. */
  kind(kind) {
    this.#say((cut) => asKind(cut, kind ?? nextKind(cut)));
  }

  /** Move the "first" or "last" frame of the marked cut's transition. */
  range(end, frames) {
    this.#say((cut, left, right) => rangeMoved(cut, end, frames, left, right));
  }

  /** Show what the marked cut is said to be without deciding it yet. said(cut, left, right): what it is then. */
  #say(said) {
    const page = this.#page;
    const { side } = this;
    const frame = this.frameOf(side);
    if (frame === null) {
      page.view.toast("There is no cut beside this clip of which anything could be said.", { kind: "warning" });
      return;
    }
    if (page.state.preview?.action === "move_cut_point") this.settle();
    clearTimeout(this.#timer);
    if (!page.state.preview && page.stage.lacksPicture()) return;
    const settled = page.state.preview ? { ...page.state, preview: null } : page.state;
    const { source_video_id: video } = scene(settled).clip;
    const [, before] = clipsMeetingAt(visible(settled).clips, video, frame);
    const [left, right] = clipsMeetingAt(visible(page.state).clips, video, frame);
    this.marked = side;
    const cut = said(right.cut, left, right);
    const decision = isSameCut(cut, before.cut) ? null : { ...decisionFor(settled, "edit_cut", "preview", { frame, ...cut }), request_key: "preview" };
    page.dispatch({ type: "previewed", decision });
    this.#timer = setTimeout(() => this.settle(), NUDGE_PAUSE_MS);
  }

  /** Put the cut that is being moved, by mouse or by keys, back to where it was. */
  putBack() {
    const page = this.#page;
    const moved = page.state.preview;
    if (!moved) return;
    clearTimeout(this.#timer);
    page.view.timeline.letGo();
    if (moved.action === "edit_cut") {
      page.dispatch({ type: "previewed", decision: null });
      return;
    }
    const beside = this.marked === "start" ? moved.frame : moved.frame - 1;
    page.stage.placed = beside;
    page.dispatch({ type: "previewed", decision: null });
    page.player.show(beside);
  }

  /** Send the decision on the cut as it is shown. */
  settle() {
    clearTimeout(this.#timer);
    const page = this.#page;
    const moved = page.state.preview;
    if (!moved) return;
    const side = this.marked;
    page.forgetPreview();
    page.decide(moved.action, moved);
    this.marked = side;
    page.render();
  }

  close() {
    clearTimeout(this.#timer);
  }
}
