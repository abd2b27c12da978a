// What the page says about decisions: made, saved, undone, and what a colleague has done meanwhile; each with the clip's name.

import { keyShown } from "./keys.js";
import { visible } from "../decisions/review_state.js";
import { capital, clipOf, count, decisionWords, newsWords, recordWords, returnWords, sentence } from "../decisions/words.js";

export class Notices {
  #page;

  /** page: the Review. */
  constructor(page) {
    this.#page = page;
  }

  /** clip: on which the decision was made, as it was; null when it is not known. */
  #wordsOf(decision, clip, done = null) {
    const { state } = this.#page;
    if (decision.target !== undefined) return returnWords(decision.action, done ?? this.#returned(decision), titled(state.videos, done));
    return decisionWords(decision, clip ? clipOf(clip, state.videos) : "the clip");
  }

  /** The record of what an undo or a redo is to return; null when it is not known. */
  #returned({ target }) {
    return (target && visible(this.#page.state).records.get(target)) ?? null;
  }

  #say(words, state) {
    this.#page.view.setLast(words, state);
  }

  made(decision, clip) {
    this.#say(`${capital(this.#wordsOf(decision, clip))} …`, "waiting");
  }

  confirmed(decision, answer) {
    const clip = (answer.clips ?? []).find((one) => one.id === decision.clip_id) ?? this.#clipNamed(decision);
    this.#say(capital(this.#wordsOf(decision, clip, answer.done)), "saved");
  }

  /** A clip that a cut has retired is no longer on the page, but the record of what was done to it is. */
  #clipNamed({ clip_id: id, request_key: key }) {
    const { clips, records } = visible(this.#page.state);
    return records.get(key)?.before.find((clip) => clip.id === id) ?? clips.get(id) ?? null;
  }

  /** words: of `refusedWords`, made before the state forgot the decision. */
  refused(decision, refusal, dropped, words) {
    const page = this.#page;
    const more = dropped.length ? ` ${count(dropped.length, "decision")} that rested on it ${dropped.length === 1 ? "was" : "were"} taken back too.` : "";
    const id = decision.clip_id;
    const there = visible(page.state).clips.has(id) && id !== page.state.current;
    this.#say(words, "taken-back");
    const why = sentence(refusal.message);
    page.view.toast(`${words.includes(": ") ? `${words}. ${capital(why)}` : `${words}: ${why}`}${more}`, {
      kind: "taken-back",
      action: there ? { text: "Show the clip", title: "Back to the clip that the decision was on", run: () => page.ways.open(id) } : null,
    });
  }

  /** "Taken back: skipped clip 14 of Harbour". */
  refusedWords(decision) {
    if (decision.target === undefined) return `Taken back: ${this.#wordsOf(decision, this.#clipNamed(decision))}`;
    const what = decision.action === "undo" ? "Not undone" : "Not redone";
    const record = this.#returned(decision);
    return record ? `${what}: ${recordWords(record, this.#page.state.videos)}` : what;
  }

  /** A colleague has changed the clip on the stage. */
  news(one) {
    this.#page.view.toast(`${newsWords(one, this.#page.state.videos)}.`, { kind: "warning" });
  }

  /** A key would have overruled a colleague unseen. passed: id of the clip that was left for the next one, null when the stage stays. */
  unseen(all, passed) {
    const page = this.#page;
    const words = all.map((one) => newsWords(one, page.state.videos)).join(". ");
    const then = passed === null ? "Look again, then decide." : "Here is the next clip.";
    page.view.toast(`Nothing was decided: ${words}. ${then}`, {
      kind: "warning",
      action: passed === null ? null : { text: "Back to that clip", run: () => page.ways.open(passed) },
    });
  }

  noPicture(clip) {
    const name = clipOf(clip, this.#page.state.videos);
    this.#page.view.toast(`Nothing was decided: the picture of ${name} is not here yet. ${keyShown("next_clip")} goes to the next clip.`);
  }

  problem(words) {
    this.#page.view.toast(words, { kind: "warning" });
  }
}

/** `videos` with the title that the server sent along, for a video that this page has not opened. */
function titled(videos, done) {
  const id = done?.before[0]?.source_video_id ?? done?.after[0]?.source_video_id;
  return done?.title && !videos[id] ? { ...videos, [id]: { title: done.title } } : videos;
}
