// The marked cut in close-up: the last frame of the left clip beside the first frame of the right one, live while the cut moves; of a cut
// with a transition the frames just outside of it. Below them, what the cut is.

import { el, icon, setText, singleClick } from "./dom.js";
import { keyShown } from "./keys.js";
import { Latest } from "../picture/latest.js";
import { cutWords, framesBeside, givenKinds, hasRange, kindWords } from "../decisions/cut_kind.js";
import { clipName, confidenceWords } from "../decisions/words.js";

export class BoundaryView {
  #latest;
  #wanted = null; // {media, frames: [left, right], clips: those that meet at the cut} drawn or on its way

  /** Handlers: onNudge(frames), onRemove(), onOther(), onKind(kind), onRange("first"|"last", frames). */
  constructor({ onNudge, onRemove, onOther, onKind, onRange }) {
    this.left = this.#half("Last frame before the cut");
    this.right = this.#half("First frame after the cut");
    this.title = el("h3", { text: "Cut" });
    this.confidence = el("span", { class: "confidence" });
    const button = (name, text, words, key, handler, classes = "") =>
      el("button", { class: `small ${classes}`, type: "button", title: `${words} (${key})`, on: { click: handler } }, icon(name), el("span", { text }), el("kbd", { text: key }));
    this.buttons = [
      button("back", "Back", "Move the cut one frame back", keyShown("nudge", -1), () => onNudge(-1)),
      button("on", "On", "Move the cut one frame on", keyShown("nudge", 1), () => onNudge(1)),
      button("remove", "Remove", "Remove this cut: both clips become one", keyShown("remove_cut_point"), singleClick(() => onRemove()), "remove"),
    ];
    this.other = button("cut", "Other", "Show the clip's other cut", keyShown("other_cut"), () => onOther(), "other");
    let byPointer = false;
    this.kind = el("select", {
      class: "small kind",
      label: "What this cut is",
      title: `What this cut is (${keyShown("kind")}: the next kind)`,
      on: {
        pointerdown: () => (byPointer = true),
        keydown: () => (byPointer = false),
        change: () => {
          onKind(this.kind.value);
          if (byPointer) this.kind.blur(); // the keys are the player's again
        },
      },
    });
    const end = (name, words) => {
      const shown = el("span", { class: "at" });
      const step = (frames, icons) =>
        el(
          "button",
          { class: "small step", type: "button", title: `${words} one frame ${frames < 0 ? "earlier" : "later"} (${keyShown(`range_${name}`, frames)})`, label: `${words} one frame ${frames < 0 ? "earlier" : "later"}`, on: { click: () => onRange(name, frames) } },
          icon(icons),
        );
      const buttons = [step(-1, "back"), step(1, "on")];
      return { shown, buttons, element: el("span", { class: "end", role: "group", label: words }, buttons[0], shown, buttons[1]) };
    };
    this.ends = { first: end("first", "The transition begins"), last: end("last", "The transition ends") };
    this.what = el("div", { class: "what-it-is", role: "group" }, this.kind, el("span", { class: "ends" }, this.ends.first.element, el("span", { class: "to", text: "to", "aria-hidden": "true" }), this.ends.last.element));
    this.empty = el("p", { class: "muted", text: "This clip is the whole video: there is no cut beside it." });
    this.pair = el("div", { class: "pair" }, this.left.element, this.right.element);
    this.element = el(
      "section",
      { class: "boundary panel", label: "The marked cut from near" },
      el("header", {}, this.title, this.confidence, this.other),
      this.pair,
      this.what,
      el("div", { class: "row" }, ...this.buttons),
      this.empty,
    );
    this.#latest = new Latest((wanted) => this.#draw(wanted));
  }

  #half(words) {
    const canvas = el("canvas", { role: "img", label: words });
    const caption = el("figcaption");
    return { canvas, caption, words, element: el("figure", {}, canvas, caption) };
  }

  /** left, right: the clips that meet at the cut, null when there is no cut to show. */
  update({ media, left, right, side, confidence, kind, both }) {
    const shown = Boolean(media && left && right);
    this.pair.hidden = !shown;
    this.empty.hidden = shown;
    this.other.hidden = !both;
    this.what.hidden = !shown;
    for (const button of this.buttons) button.disabled = !shown;
    this.confidence.hidden = !shown;
    setText(this.title, side === "end" ? "Cut at the end" : "Cut at the start");
    if (!shown) return;
    const { level, text } = confidenceWords(confidence, kind);
    this.confidence.dataset.level = level;
    setText(this.confidence, text);
    const frame = right.start_frame;
    const frames = framesBeside(right.cut, left, right);
    const gradual = hasRange(right.cut);
    setText(this.left.caption, gradual ? `before · frame ${frames[0]}` : `${clipName(left)} ends · frame ${frame - 1}`);
    setText(this.right.caption, gradual ? `after · frame ${frames[1]}` : `${clipName(right)} begins · frame ${frame}`);
    this.left.words = gradual ? "Frame before the transition" : "Last frame before the cut";
    this.right.words = gradual ? "Frame after the transition" : "First frame after the cut";
    this.#whatItIs(right.cut, frame);
    this.element.classList.toggle("at-end", side === "end");
    if (this.#wanted?.media === media && String(this.#wanted.frames) === String(frames)) return;
    // A cut that moves keeps its pictures until the next ones are there; pictures of other clips must not be taken for this one's.
    const clips = `${left.id} ${right.id}`;
    const wanted = { media, frames, clips };
    if (!this.#isOf(wanted)) for (const half of [this.left, this.right]) this.#veil(half);
    this.#wanted = wanted;
    this.#latest.ask(wanted).catch(() => {
      if (this.#wanted === wanted) this.#wanted = null; // the stage says what is wrong with this video; the next update tries again
    });
  }

  /** The kind in words, and the frames of the transition; without one the buttons make one, from the cut on. */
  #whatItIs(cut, frame) {
    const known = givenKinds();
    if (this.kind.options.length !== known.length + 1)
      this.kind.replaceChildren(el("option", { value: "", text: kindWords(null), hidden: true }), ...known.map((kind) => el("option", { value: kind, text: kindWords({ kind }) })));
    const value = known.includes(cut?.kind) ? cut.kind : "";
    if (this.kind.value !== value) this.kind.value = value;
    const gradual = hasRange(cut);
    this.what.classList.toggle("gradual", gradual);
    setText(this.ends.first.shown, gradual ? String(cut.first_frame) : "");
    setText(this.ends.last.shown, gradual ? String(cut.last_frame) : "");
    this.what.setAttribute("aria-label", cutWords(cut));
    this.ends.first.buttons[1].disabled = !gradual || cut.first_frame >= frame;
    this.ends.last.buttons[0].disabled = !gradual || cut.last_frame < frame;
  }

  /** Whether the cut wanted now is the same one, even if it has been moved. */
  #isOf({ media, clips }) {
    return this.#wanted?.media === media && this.#wanted.clips === clips;
  }

  #veil({ element, canvas, words }) {
    element.classList.add("loading");
    canvas.setAttribute("aria-label", words);
  }

  async #draw(wanted) {
    const { media, frames } = wanted;
    await media.index.ensure(frames[0], frames[1] + 1);
    const source = await media.small();
    for (const [half, frame] of [
      [this.left, frames[0]],
      [this.right, frames[1]],
    ]) {
      const picture = await source.picture(frame);
      if (!this.#isOf(wanted)) return;
      const { canvas } = half;
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        canvas.width = picture.width;
        canvas.height = picture.height;
      }
      canvas.style.aspectRatio = `${picture.width} / ${picture.height}`;
      canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0); // lent by the cache
      half.element.classList.remove("loading");
      canvas.dataset.frame = frame;
      canvas.setAttribute("aria-label", `${half.words}: frame ${frame}`);
    }
  }
}
