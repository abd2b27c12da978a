// Speed, loop and sound as this reviewer left them in this browser.

import { RATES } from "../picture/player.js";

const NAME = "heaters.player";

export class Habits {
  #storage;
  #kept = "";

  constructor(storage) {
    this.#storage = storage;
  }

  /** Set the player as it was left. */
  recall(player) {
    const { rate = 1, loop = true, muted = false } = JSON.parse(this.#storage.getItem(NAME) ?? "{}");
    player.setRate(RATES.includes(rate) ? rate : 1);
    player.setLoop(loop !== false);
    player.setMuted(muted === true);
  }

  keep({ rate, loop, muted }) {
    const habits = JSON.stringify({ rate, loop, muted });
    if (habits === this.#kept) return;
    this.#kept = habits;
    try {
      this.#storage.setItem(NAME, habits);
    } catch {
      // a convenience only
    }
  }
}
