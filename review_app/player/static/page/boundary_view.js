// The marked cut in close-up: the last frame of the left clip beside the first frame of the right one, live while the cut moves.

import { el, icon, setText, singleClick } from "./dom.js";
import { keyShown } from "./keys.js";
import { Latest } from "../picture/latest.js";
import { clipName, confidenceWords } from "../decisions/words.js";

export class BoundaryView {
  #latest;
  #wanted = null; // {media, cut, clips: those that meet at it} drawn or on its way

  /** Handlers: onNudge(frames), onRemove(), onOther(). */
  constructor({ onNudge, onRemove, onOther }) {
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
    this.empty = el("p", { class: "muted", text: "This clip is the whole video: there is no cut beside it." });
    this.pair = el("div", { class: "pair" }, this.left.element, this.right.element);
    this.element = el(
      "section",
      { class: "boundary panel", label: "The marked cut from near" },
      el("header", {}, this.title, this.confidence, this.other),
      this.pair,
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
    for (const button of this.buttons) button.disabled = !shown;
    this.confidence.hidden = !shown;
    setText(this.title, side === "end" ? "Cut at the end" : "Cut at the start");
    if (!shown) return;
    const { level, text } = confidenceWords(confidence, kind);
    this.confidence.dataset.level = level;
    setText(this.confidence, text);
    const cut = right.start_frame;
    setText(this.left.caption, `${clipName(left)} ends · frame ${cut - 1}`);
    setText(this.right.caption, `${clipName(right)} begins · frame ${cut}`);
    this.element.classList.toggle("at-end", side === "end");
    if (this.#wanted?.media === media && this.#wanted.cut === cut) return;
    // A cut that moves keeps its pictures until the next ones are there; pictures of other clips must not be taken for this one's.
    const clips = `${left.id} ${right.id}`;
    const wanted = { media, cut, clips };
    if (!this.#isOf(wanted)) for (const half of [this.left, this.right]) this.#veil(half);
    this.#wanted = wanted;
    this.#latest.ask(wanted).catch(() => {
      if (this.#wanted === wanted) this.#wanted = null; // the stage says what is wrong with this video; the next update tries again
    });
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
    const { media, cut } = wanted;
    await media.index.ensure(cut - 1, cut + 1);
    const source = await media.small();
    for (const [half, frame] of [
      [this.left, cut - 1],
      [this.right, cut],
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
