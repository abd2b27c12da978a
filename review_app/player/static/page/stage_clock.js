// Where the frame on the stage is: its time in the clip, its number, and its timecode: that of the source video, or where the source has none,
// counted from the start of the video. One of the three is large, as the reviewer chose; the others stand below it, so that nothing is lost.

import { clock } from "../decisions/words.js";
import { cameraTimecodeAt, hasDropFrame, timecodeAt } from "../picture/timecode.js";
import { el, setText } from "./dom.js";
import { GO_TO_TITLE } from "./go_to.js";
import { keyShown } from "./keys.js";

/** What may be large, in the order in which the key changes it. */
export const CLOCKS = ["time", "frame", "timecode"];
const WORDS = { time: "the time in the clip", frame: "the frame of the clip", timecode: "the timecode" };

export class StageClock {
  #parts = { time: el("span", { class: "clock-time" }), frame: el("span", { class: "frame" }), timecode: el("span", { class: "source-time" }) };

  /** onTurn(), onGoTo(): clicks on what is large, and on the line below it. */
  constructor({ onTurn, onGoTo }) {
    this.large = el("button", { class: "clock", type: "button", on: { click: onTurn } });
    this.others = el("button", { class: "clock-others", type: "button", title: GO_TO_TITLE, on: { click: onGoTo } });
    // A screen reader hears of no change within a button.
    this.said = el("output", { class: "clock-said", label: "Place in the clip" });
    this.element = el("div", { class: "where" }, this.large, this.others, this.said);
    this.show(CLOCKS[0]);
  }

  /** shown: one of CLOCKS. */
  show(shown) {
    this.shown = shown;
    this.large.replaceChildren(this.#parts[shown]);
    this.others.replaceChildren(...CLOCKS.filter((one) => one !== shown).map((one) => this.#parts[one]));
    this.large.title = `Large: ${WORDS[shown]}. Change to ${WORDS[nextClock(shown)]} (${keyShown("clock")})`;
    this.#say();
  }

  /** frame: the one on screen. index: of its video. source: `source_time` of the video. */
  setFrame({ frame, clip, index, source }) {
    const { time, frame: number } = this.#parts;
    setText(time, index.has(frame) && index.has(clip.start_frame) ? clock(index.seconds(frame, clip.start_frame)) : "");
    setText(number, `frame ${frame - clip.start_frame} of ${clip.end_frame - clip.start_frame}`);
    number.title = `Frame ${frame} of the video`;
    this.#timecode(index, frame, source);
    this.#say();
  }

  /** The camera's own timecode, or else counted from the beginning of the video, as in the cut lists. */
  #timecode(index, frame, source) {
    const { timecode } = this.#parts;
    const whose = source ? "Source" : "Video";
    if (!index.has(frame)) return setText(timecode, `${whose} …`);
    const { frameRate } = index.header;
    const seconds = index.seconds(frame);
    setText(timecode, `${whose} ${source ? cameraTimecodeAt(seconds, source) : timecodeAt(seconds, frameRate)}`);
    const drop = !source && hasDropFrame(frameRate) ? `, drop-frame ${timecodeAt(seconds, frameRate, { dropFrame: true })}` : "";
    const none = source ? "" : ". No source timecode";
    this.others.title = `${GO_TO_TITLE}${none}. Frame ${frame}, ${clock(seconds)}${drop}${source?.reel ? `, reel ${source.reel}` : ""}`;
    return undefined;
  }

  #say() {
    setText(this.said, this.#parts[this.shown].textContent);
  }
}

/** The one after it. */
export function nextClock(shown) {
  return CLOCKS[(CLOCKS.indexOf(shown) + 1) % CLOCKS.length];
}
