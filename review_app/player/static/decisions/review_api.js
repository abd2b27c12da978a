// The review app's JSON routes. A decision that the server refuses is a Refusal; any other failure is temporary, and the caller tries again.

import { withQuery } from "../picture/addresses.js";
import { Refusal } from "./outbox.js";

const TIMEOUT_MS = 15_000;
const MANY_TIMEOUT_MS = 120_000; // of a selection of thousands
const REFUSALS = new Set([400, 404, 409, 410, 422]);

/** The session is over or the token has expired; decisions are kept until there is a fresh one. */
export class NotSignedInError extends Error {
  constructor() {
    super("You are signed out. Load the page again.");
    this.name = "NotSignedInError";
  }
}

export class ReviewApi {
  /**
   * config: {token, queue_url, decisions_url, sync_url, video_url, selection_url}, those that the page uses; may be replaced at any time.
   * onSignedOut(): ask for a fresh token.
   */
  constructor({ config, fetch = (...args) => globalThis.fetch(...args), onSignedOut = () => {} }) {
    this.config = config;
    this.fetch = fetch;
    this.onSignedOut = onSignedOut;
  }

  /** Clips to review next; `open` is a clip to begin with. */
  queue({ limit, open = null }) {
    return this.#ask(withQuery(this.config.queue_url, open === null ? { limit } : { limit, open }));
  }

  /** many: it may be about thousands of clips. */
  decide(decision, { many = false } = {}) {
    return this.#ask(this.config.decisions_url, decision, many);
  }

  /** All clips that match the filters: {count, newest, selection}. */
  selection() {
    return this.#ask(this.config.selection_url, undefined, true);
  }

  /** hold: clip ids to keep leased; known: {clip id: version} of the clips on the page. */
  sync({ hold, known }) {
    return this.#ask(this.config.sync_url, { hold, known });
  }

  /** A video with fresh signed links. place: {frame} brings the clip that holds it too. */
  video(id, place = {}) {
    return this.#ask(withQuery(this.config.video_url, { id, ...place }));
  }

  async #ask(url, body, many = false) {
    let response;
    try {
      response = await this.fetch(url, {
        method: body ? "POST" : "GET",
        headers: { "X-Heaters-Token": this.config.token ?? "", ...(body ? { "Content-Type": "application/json" } : {}) },
        body: body ? JSON.stringify(body) : undefined,
        credentials: "same-origin",
        cache: "no-store",
        keepalive: Boolean(body), // a page that is being left still hands over its decision
        signal: AbortSignal.timeout(many ? MANY_TIMEOUT_MS : TIMEOUT_MS),
      });
    } catch {
      throw new Error("No connection to the server.");
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer;
    const words = answer?.error ?? `The server answers ${response.status}.`;
    if (response.status === 401) {
      this.onSignedOut();
      throw new NotSignedInError();
    }
    if (REFUSALS.has(response.status) && answer?.error) throw new Refusal(words, answer.code ?? "illegal", answer);
    throw new Error(words);
  }
}
