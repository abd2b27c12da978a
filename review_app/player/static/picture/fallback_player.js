// Stopped picture by <video>, for browsers without WebCodecs: seeks to the middle of the frame and waits until that very frame is presented.

import { Latest } from "./latest.js";

export class FallbackPlayer {
  kind = "video";
  #playback;
  #latest;

  /** playback: the Playback that also plays; one element does both. */
  constructor(playback) {
    this.#playback = playback;
    this.#latest = new Latest((frame) => playback.seek(frame));
  }

  open(media, start, end) {
    this.#playback.open(media, start, end);
  }

  get frame() {
    return this.#playback.shown;
  }

  /** As ExactPlayer.show. Throws PlaybackError. */
  show(frame) {
    return this.#latest.ask(frame);
  }

  close() {}
}
