// The timeline: filmstrip of the clip and its neighbours, the cuts on it with the detector's confidence, the sound, the playhead.

import { el, icon, setText, singleClick } from "./dom.js";
import { keyShown } from "./keys.js";
import { moveRange } from "../decisions/choices.js";
import { cutAtX, filmSlots, frameAtX, rulerStep, viewOf, xOf } from "./timeline_scale.js";
import { cutWords, hasRange, kindWords } from "../decisions/cut_kind.js";
import { capital, clipName, clock, confidenceWords, stateWords } from "../decisions/words.js";
import { Waveform } from "../picture/waveform.js";

const FILM_AFTER_MS = 60;
const WAVE_AFTER_MS = 500;
const LONG_FRAMES = 8192; // of the view; the index of a longer one is not read as a whole
const [MARK_PIXELS, MARK_LETTER_PIXELS] = [12, 6.2]; // the words beside a cut: from the cut on, and each letter
const LABEL_PIXELS = 84; // the time beside the playhead
const AGAIN_MS = 4000; // after pictures that could not be had

export class Timeline {
  #scene = null; // {clip, previous, next, video}
  #media = null;
  #view = { start: 0, end: 1 };
  #edges = []; // frames at which the clip in view begins and ends
  #frozen = false; // while a cut is dragged the scale stands still
  #hand = null; // ends the drag of the cut that is being moved
  #marked = "start";
  #frame = 0;
  #width = 0; // of the strip, in pixels; 1 while it is out of sight
  #filmHeight = 0;
  #waveHeight = 0;
  #slots = []; // of the filmstrip drawn last
  #film = 0; // ticket of the newest filmstrip
  #filmTimer = null;
  #waveTimer = null;
  #waveform = new Waveform();
  #peaks = null;
  #waved = ""; // what the curve of the sound shows
  #drawn = "";
  #shows = ""; // video and clip that the film is of

  /**
   * Handlers: onScrub(frame), onOpen(clip), onMark("start"|"end"), onPreview(side, frame), onMoved(), onAdd(), onRemove(), onNudge(frames).
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.ruler = el("div", { class: "ruler", "aria-hidden": "true" });
    this.film = el("canvas", { class: "film", "aria-hidden": "true" });
    this.wave = el("canvas", { class: "wave", "aria-hidden": "true" });
    this.before = el("button", { class: "neighbour before", type: "button", on: { click: () => this.#openNeighbour("previous") } }, el("span"));
    this.after = el("button", { class: "neighbour after", type: "button", on: { click: () => this.#openNeighbour("next") } }, el("span"));
    this.range = el("div", { class: "range", "aria-hidden": "true" });
    this.cuts = { start: this.#cut("start"), end: this.#cut("end") };
    this.ramps = { start: el("div", { class: "ramp", "aria-hidden": "true" }), end: el("div", { class: "ramp", "aria-hidden": "true" }) };
    this.addButton = el(
      "button",
      { class: "add", type: "button", on: { click: singleClick(() => handlers.onAdd()) } },
      icon("add"),
      el("span", { text: "Cut here" }),
      el("kbd", { text: keyShown("add_cut_point") }),
    );
    this.playhead = el("div", {
      class: "playhead",
      role: "slider",
      tabindex: "0",
      label: "Playhead",
    });
    this.playheadTime = el("span", { class: "time", "aria-hidden": "true" });
    this.playhead.append(this.playheadTime);
    this.strip = el("div", { class: "strip" }, this.film, this.wave, this.before, this.after, this.range, this.ramps.start, this.ramps.end);
    this.track = el("div", { class: "track" }, this.ruler, this.strip, this.cuts.start.element, this.cuts.end.element, this.playhead, this.addButton);
    this.element = el("section", { class: "timeline", label: "Timeline of this clip and its neighbours" }, this.track);
    this.strip.addEventListener("pointerdown", (event) => this.#scrub(event));
    this.ruler.addEventListener("pointerdown", (event) => this.#scrub(event));
    this.observer = new ResizeObserver(() => {
      this.#measure();
      this.#layout(true);
    });
    this.observer.observe(this.strip);
  }

  #cut(side) {
    const mark = el("span", { class: "mark", "aria-hidden": "true" });
    const tip = el("span", { class: "tip", "aria-hidden": "true" });
    const element = el("div", { class: "cut", role: "slider", tabindex: "0", data: { side } }, el("span", { class: "line" }), mark, tip);
    element.addEventListener("pointerdown", (event) => this.#drag(event, side));
    element.addEventListener("focus", () => this.handlers.onMark(side));
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey) return;
      if (["Delete", "Backspace"].includes(event.key)) {
        event.preventDefault();
        event.stopPropagation();
        this.handlers.onMark(side);
        if (!event.repeat) this.handlers.onRemove();
        return;
      }
      // Reached by Tab it is a slider like any other; after a mouse drag the arrows keep stepping the picture.
      const frames = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!frames || !element.matches(":focus-visible")) return;
      event.preventDefault();
      event.stopPropagation();
      this.handlers.onMark(side);
      this.handlers.onNudge(event.shiftKey ? frames * 10 : frames);
    });
    return { element, mark, tip };
  }

  /** Only when the size has changed: between two changes of the page, reading a size makes the browser lay the whole page out. */
  #measure() {
    this.#width = this.strip.clientWidth || 1;
    this.#filmHeight = this.film.clientHeight;
    this.#waveHeight = this.wave.clientHeight;
  }

  /** scene: as review_state.scene gives it; marked: "start", "end" or null, the cut that the keys act on; choice: of addChoice. */
  update(scene, media, { marked, choice, moving }) {
    this.#scene = scene;
    this.#media = media;
    this.#marked = marked;
    this.element.classList.toggle("moving", Boolean(moving));
    const { clip, previous, next } = scene;
    if (!this.#frozen && !moving) {
      this.#view = viewOf(scene);
      this.#edges = [clip.start_frame, clip.end_frame];
    }
    this.#side("start", previous, clip, clip.start_confidence, clip.start_kind);
    this.#side("end", clip, next, clip.end_confidence, clip.end_kind);
    for (const [button, other, words] of [
      [this.before, previous, "Previous"],
      [this.after, next, "Next"],
    ]) {
      button.hidden = !other;
      if (!other) continue;
      button.dataset.state = other.state;
      setText(button.firstChild, `${clipName(other)} · ${stateWords(other.state)}`);
      button.title = `${words} clip (${stateWords(other.state)}): open it`;
    }
    this.addButton.disabled = !choice.add;
    this.addButton.title = choice.why ?? "Add a cut at the playhead: this frame becomes the first of a new clip";
    this.element.classList.toggle("silent", media.index.header?.hasAudio === false);
    this.#layout(false);
  }

  /** left, right: the clips that meet at the cut, one of them null where there is none. */
  #side(side, left, right, confidence, kind) {
    const { element, mark, tip } = this.cuts[side];
    element.hidden = !left || !right;
    if (element.hidden) return;
    const frame = right.start_frame;
    const [lowest, highest] = moveRange(left, right) ?? [frame, frame];
    const { level, text } = confidenceWords(confidence, kind);
    const { cut } = right;
    element.dataset.level = level;
    element.classList.toggle("marked", this.#marked === side);
    setText(mark, [cut && kindWords(cut), level === "manual" ? "" : text.replace(" sure", "")].filter(Boolean).join(" · "));
    setText(tip, `${cut ? capital(cutWords(cut)) : "Cut"} · ${text} · ${keyShown("remove_cut_point")} removes it`);
    element.setAttribute("aria-label", `Cut at the clip's ${side}, ${cutWords(cut)}, ${text}${this.#marked === side ? ", marked" : ""}`);
    element.setAttribute("aria-valuemin", lowest);
    element.setAttribute("aria-valuemax", highest);
    element.setAttribute("aria-valuenow", frame);
    element.setAttribute("aria-valuetext", `frame ${frame}`);
  }

  /** Move the playhead. */
  setFrame(frame) {
    this.#frame = frame;
    const { clip } = this.#scene ?? {};
    if (!clip) return;
    const x = xOf(frame + 0.5, this.#view, this.#width);
    this.playhead.style.transform = `translateX(${x}px)`;
    this.addButton.style.transform = `translateX(${Math.min(Math.max(x, 62), this.#width - 62)}px)`;
    this.playhead.setAttribute("aria-valuemin", 0);
    this.playhead.setAttribute("aria-valuemax", clip.end_frame - clip.start_frame - 1);
    this.playhead.setAttribute("aria-valuenow", frame - clip.start_frame);
    const { index } = this.#media ?? {};
    const text = index?.has(frame) && index.has(clip.start_frame) ? clock(index.seconds(frame, clip.start_frame)) : "";
    setText(this.playheadTime, text);
    this.playhead.classList.toggle("at-end", x > this.#width - LABEL_PIXELS);
    this.playhead.setAttribute("aria-valuetext", `frame ${frame - clip.start_frame}, ${text}`);
  }

  #layout(resized) {
    if (!this.#scene) return;
    if (this.#width < 2) this.#measure();
    const width = this.#width;
    const { clip } = this.#scene;
    const left = xOf(clip.start_frame, this.#view, width);
    const right = xOf(clip.end_frame, this.#view, width);
    this.before.style.width = `${Math.max(0, left)}px`;
    this.after.style.width = `${Math.max(0, width - right)}px`;
    this.range.style.left = `${left}px`;
    this.range.style.width = `${right - left}px`;
    this.#ramp("start", this.#scene.previous && clip.cut);
    this.#ramp("end", this.#scene.next?.cut);
    this.cuts.start.element.style.transform = `translateX(${left}px)`;
    this.cuts.end.element.style.transform = `translateX(${right}px)`;
    const [first, second] = [this.#mark("start", left), this.#mark("end", right)];
    this.cuts.end.element.classList.toggle("lower", Boolean(first && second && first[0] < second[1] && second[0] < first[1]));
    this.setFrame(this.#frame);
    const wanted = `${this.#scene.video.id}/${this.#view.start}-${this.#view.end}/${this.#edges}/${width}`;
    if (wanted !== this.#drawn || resized) {
      this.#drawn = wanted;
      this.#veil();
      this.#drawRuler();
      this.#filmSoon();
    }
    this.#waveSoon();
  }

  /** Puts the words beside a cut at x on the side where they fit. Returns [left, right], the place that they take; null without words. */
  #mark(side, x) {
    const { element, mark } = this.cuts[side];
    const length = MARK_PIXELS + mark.textContent.length * MARK_LETTER_PIXELS;
    const atEnd = x + length > this.#width;
    element.classList.toggle("at-end", atEnd);
    if (element.hidden || !mark.textContent) return null;
    return atEnd ? [x - length, x] : [x, x + length];
  }

  /** One shot goes while the other comes: a ramp over the frames of the transition, as far as they are in view. */
  #ramp(side, cut) {
    const ramp = this.ramps[side];
    ramp.hidden = !hasRange(cut);
    if (ramp.hidden) return;
    const left = xOf(cut.first_frame, this.#view, this.#width);
    ramp.style.left = `${left}px`;
    ramp.style.width = `${xOf(cut.last_frame + 1, this.#view, this.#width) - left}px`;
    ramp.dataset.frames = `${cut.first_frame}-${cut.last_frame}`;
  }

  /** Pictures of another clip must not be taken for this one's; while a cut moves the old ones stay until the next are there. */
  #veil() {
    const { clip, video } = this.#scene;
    const shows = `${video.id}/${clip.id}`;
    if (this.#shows === shows) return;
    this.#shows = shows;
    this.element.classList.add("loading");
    this.wave.getContext("2d").clearRect(0, 0, this.wave.width, this.wave.height);
    this.#waved = "";
  }

  #drawRuler() {
    const { index } = this.#media ?? {};
    const { clip } = this.#scene;
    this.ruler.replaceChildren();
    if (!index?.has(clip.start_frame)) return;
    if (!index.hasAll(this.#view.start, this.#view.end)) {
      this.#drawLongRuler();
      return;
    }
    const seconds = index.seconds(this.#view.end, this.#view.start);
    const step = rulerStep(seconds, this.#width, 72);
    const zero = index.seconds(clip.start_frame, this.#view.start);
    // Even steps of time stand where their frames stand: on a variable frame rate the marks are not evenly spaced.
    for (let n = Math.ceil(-zero / step); n * step <= seconds - zero; n++) {
      const frame = index.frameOfMediaTime(zero + n * step, this.#view.start, this.#view.end);
      const label = clock(Math.abs(n * step)).replace(/^00:/, "").replace(step >= 1 ? /\.\d+$/ : /00$/, "");
      const mark = el("span", { text: (n < 0 ? "−" : "") + label });
      mark.style.left = `${xOf(frame, this.#view, this.#width)}px`;
      this.ruler.append(mark);
    }
  }

  /** Of a long clip only some pages of the index are held: the marks stand at pictures of the filmstrip, with their exact times. */
  #drawLongRuler() {
    const { index } = this.#media;
    const { clip } = this.#scene;
    let free = 0; // where the next mark may stand
    for (const { frame } of [...this.#slots].sort((a, b) => a.frame - b.frame)) {
      const x = xOf(frame, this.#view, this.#width);
      if (x < free || !index.has(frame)) continue;
      const seconds = index.seconds(frame, clip.start_frame);
      const mark = el("span", { text: (seconds < 0 ? "−" : "") + clock(Math.abs(seconds)).replace(/\.\d+$/, "") });
      mark.style.left = `${x}px`;
      this.ruler.append(mark);
      free = x + 90;
    }
  }

  #filmSoon() {
    clearTimeout(this.#filmTimer);
    const ticket = ++this.#film;
    const scale = Math.min(globalThis.devicePixelRatio || 1, 2);
    const width = this.#width;
    const height = this.#filmHeight;
    if (this.film.width !== Math.round(width * scale) || this.film.height !== Math.round(height * scale)) {
      this.film.width = Math.round(width * scale);
      this.film.height = Math.round(height * scale);
    }
    const draw = async () => {
      const whole = await this.#drawFilm(ticket, scale, width, height);
      if (!whole && ticket === this.#film) this.#filmTimer = setTimeout(draw, AGAIN_MS);
    };
    this.#filmTimer = setTimeout(draw, FILM_AFTER_MS);
  }

  /** Promise of false when pictures are missing: the stage says what is wrong with this video, and later they may be had. */
  async #drawFilm(ticket, scale, width, height) {
    const media = this.#media;
    const view = this.#view;
    const context = this.film.getContext("2d");
    let missing = 0;
    try {
      // Of a long clip the pages of its pictures alone, each as its turn comes.
      const long = view.end - view.start > LONG_FRAMES;
      await media.index.ensure(view.start, long ? view.start + 1 : view.end);
      const source = await media.small();
      if (ticket !== this.#film) return false;
      if (!this.ruler.childElementCount) this.#drawRuler();
      const slots = filmSlots(view, width, height * media.index.header.aspect, this.#edges);
      const middle = xOf((this.#scene.clip.start_frame + this.#scene.clip.end_frame) / 2, view, width);
      slots.sort((a, b) => Math.abs(a.x - middle) - Math.abs(b.x - middle));
      this.#slots = slots;
      if (source.warm && !long) source.bytes.prefetch(slots.map(({ frame }) => media.index.bytes(frame)));
      for (const { frame, x, width: slot } of slots) {
        const picture = await source.picture(frame, { urgent: false }).catch(() => null);
        if (ticket !== this.#film) return false;
        if (!picture) {
          missing++;
          continue;
        }
        if (this.element.classList.contains("loading")) {
          context.clearRect(0, 0, this.film.width, this.film.height);
          this.element.classList.remove("loading");
        }
        // Lent by the cache: drawn before anything else is awaited. The picture's middle part fills the slot.
        const part = Math.min(picture.width, (slot / height) * picture.height);
        context.drawImage(picture, (picture.width - part) / 2, 0, part, picture.height, x * scale, 0, slot * scale, height * scale);
      }
      if (long) this.#drawRuler();
      return missing === 0;
    } catch {
      return false;
    }
  }

  #waveSoon() {
    const { clip } = this.#scene;
    const media = this.#media;
    const range = `${media?.video.id}/${clip.start_frame}-${clip.end_frame}`;
    if (this.#peaks?.range === range) return this.#drawWave();
    clearTimeout(this.#waveTimer);
    this.#waveTimer = setTimeout(async () => {
      const peaks = await this.#waveform.peaks(media, clip.start_frame, clip.end_frame);
      if (this.#media !== media || this.#scene.clip.start_frame !== clip.start_frame || this.#scene.clip.end_frame !== clip.end_frame) return;
      this.#peaks = { range, values: peaks, start: clip.start_frame, end: clip.end_frame };
      this.#drawWave();
    }, WAVE_AFTER_MS);
  }

  #drawWave() {
    const { values, start, end } = this.#peaks;
    const scale = Math.min(globalThis.devicePixelRatio || 1, 2);
    const colour = getComputedStyle(this.wave).color;
    const waved = `${this.#peaks.range}/${this.#view.start}-${this.#view.end}/${this.#width}x${this.#waveHeight}/${scale}/${colour}`;
    if (waved === this.#waved) return;
    this.#waved = waved;
    this.wave.width = Math.round(this.#width * scale);
    this.wave.height = Math.round(this.#waveHeight * scale);
    if (!values) return;
    const context = this.wave.getContext("2d");
    context.fillStyle = colour;
    const left = xOf(start, this.#view, this.wave.width);
    const width = xOf(end, this.#view, this.wave.width) - left;
    const middle = this.wave.height / 2;
    const columns = Math.max(1, Math.min(values.length, Math.round(width / scale / 2)));
    for (let column = 0; column < columns; column++) {
      let peak = 0;
      for (let i = Math.floor((column * values.length) / columns); i < ((column + 1) * values.length) / columns; i++) peak = Math.max(peak, values[i]);
      const tall = Math.max(scale, peak * this.wave.height * 0.95);
      context.fillRect(left + (column * width) / columns, middle - tall / 2, Math.max(1, (width / columns) * 0.7), tall);
    }
  }

  #openNeighbour(side) {
    const other = this.#scene?.[side];
    if (other) this.handlers.onOpen(other);
  }

  #scrub(event) {
    if (event.button !== 0 || event.target.closest?.(".neighbour") || !this.#scene) return;
    event.preventDefault();
    const box = this.strip.getBoundingClientRect();
    const to = (moved) => this.handlers.onScrub(frameAtX(moved.clientX - box.left, this.#view, box.width));
    to(event);
    this.#follow(event, to, () => {});
  }

  #drag(event, side) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.cuts[side].element.focus({ preventScroll: true });
    this.#frozen = true;
    const box = this.strip.getBoundingClientRect();
    let from = event.clientX;
    this.#hand = this.#follow(
      event,
      (moved) => {
        // A small movement during a click is no move of the cut.
        if (from !== null && Math.abs(moved.clientX - from) < 3) return;
        from = null;
        this.handlers.onPreview(side, cutAtX(moved.clientX - box.left, this.#view, box.width));
      },
      () => {
        this.#frozen = false;
        if (from === null) this.handlers.onMoved();
      },
    );
  }

  /** Let go of the cut that is being moved: it has been decided on, and the mouse must not take the next clip's. */
  letGo() {
    this.#hand?.abort();
    this.#hand = null;
    this.#frozen = false;
  }

  /** Follow the pointer until its button is released. Returns what ends it sooner. */
  #follow(event, moved, ended) {
    const target = event.currentTarget;
    const stop = new AbortController();
    target.setPointerCapture?.(event.pointerId);
    target.addEventListener("pointermove", moved, { signal: stop.signal });
    for (const name of ["pointerup", "pointercancel"])
      target.addEventListener(
        name,
        () => {
          stop.abort();
          ended();
        },
        { signal: stop.signal },
      );
    return stop;
  }

  close() {
    this.#film++;
    clearTimeout(this.#filmTimer);
    clearTimeout(this.#waveTimer);
    this.observer.disconnect();
  }
}
