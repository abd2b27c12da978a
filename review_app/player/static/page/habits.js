// Speed, loop, sound and clock as this reviewer left them in this browser.

import { RATES } from "../picture/player.js";
import { CLOCKS } from "./stage_clock.js";

const NAME = "heaters.player";

export class Habits {
  #storage;
  #kept;

  constructor(storage) {
    this.#storage = storage;
    this.#kept = JSON.parse(storage.getItem(NAME) ?? "{}");
  }

  /** Set the player and its clock as they were left. */
  recall(player, stageClock) {
    const { rate = 1, loop = true, muted = false, clock } = this.#kept;
    stageClock.show(CLOCKS.includes(clock) ? clock : CLOCKS[0]);
    player.setRate(RATES.includes(rate) ? rate : 1);
    player.setLoop(loop !== false);
    player.setMuted(muted === true);
  }

  /** some: of {rate, loop, muted, clock}. */
  keep(some) {
    const habits = { ...this.#kept, ...some };
    if (JSON.stringify(habits) === JSON.stringify(this.#kept)) return;
    this.#kept = habits;
    try {
      this.#storage.setItem(NAME, JSON.stringify(habits));
    } catch {
      // a convenience only
    }
  }
}
