// The field for a place in the source video: a frame number, a time or a timecode. It opens over the clip's time, and says what is wrong in words.

import { el, setText } from "./dom.js";
import { keyShown } from "./keys.js";

export class GoToField {
  #last = "";

  /** onGo(text): promise of null, or of what is wrong in words. */
  constructor({ onGo }) {
    this.onGo = onGo;
    this.input = el("input", {
      class: "go-to-input",
      type: "text",
      label: "Frame, time or timecode in the source video",
      placeholder: "1234, +10, 01:02:03.500 or 01:02:03:12",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "go-to-problem",
    });
    this.problem = el("p", { class: "go-to-problem", id: "go-to-problem", role: "alert", hidden: true });
    this.element = el(
      "form",
      { class: "go-to", hidden: true, label: "Go to" },
      this.input,
      el("button", { class: "small", type: "submit", text: "Go", title: "Show that frame (Enter)" }),
      el("button", { class: "small quiet", type: "button", text: "Close", title: "Close (Esc)", on: { click: () => this.close() } }),
      this.problem,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go();
    });
    this.input.addEventListener("input", () => this.#say(null));
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open() {
    this.#say(null);
    this.element.hidden = false;
    this.input.value = this.#last;
    this.input.focus();
    this.input.select();
  }

  /** The keys are the player's again. */
  close() {
    this.element.hidden = true;
    this.input.blur();
  }

  async #go() {
    const text = this.input.value;
    if (!text.trim()) return;
    const problem = await this.onGo(text);
    if (problem) return this.#say(problem);
    this.#last = text.trim();
    return this.close();
  }

  #say(problem) {
    this.problem.hidden = !problem;
    setText(this.problem, problem ?? "");
    this.input.setAttribute("aria-invalid", String(Boolean(problem)));
  }
}

/** Text of the tooltip of what opens the field. */
export const GO_TO_TITLE = `Go to a frame, time or timecode (${keyShown("go_to")})`;
