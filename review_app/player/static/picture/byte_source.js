// Byte ranges of the proxy: fetched once, joined when they lie close together, kept within a budget, tried again when the line is bad.

const RETRY_WAITS_MS = [150, 450, 1350];

/**
 * Bytes could not be had. `code`: "missing" (no such file), "expired" (the link, also after a fresh one), "mismatch" (the file is not the
 * one that was indexed), "network" (no answer, tried several times). The message is for people.
 */
export class BytesError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "BytesError";
    this.code = code;
  }
}

/**
 * Spans {offset, size} joined into runs {start, end, spans}, sorted by offset.
 * Audio lies between the frames of an interleaved file: a gap up to gapBytes is cheaper to read than a second request.
 */
export function coalesced(spans, { gapBytes, runBytes }) {
  const runs = [];
  for (const span of [...spans].sort((a, b) => a.offset - b.offset)) {
    const run = runs.at(-1);
    const end = span.offset + span.size;
    if (run && span.offset - run.end <= gapBytes && end - run.start <= runBytes) {
      run.end = Math.max(run.end, end);
      run.spans.push(span);
    } else runs.push({ start: span.offset, end, spans: [span] });
  }
  return runs;
}

export class ByteSource {
  #held = new Map(); // offset -> Uint8Array, least recently used first
  #heldBytes = 0;
  #flights = new Set(); // {start, end, promise}
  #waiting = []; // runs of the newest prefetch plan
  #prefetching = 0;
  #abort = new AbortController();
  #refreshing = null;

  /** url: of the whole file. refreshUrl(): promise of a fresh signed link when this one has expired. */
  constructor({
    url,
    refreshUrl = null,
    fetch = (...args) => globalThis.fetch(...args),
    wait = (ms) => new Promise((done) => setTimeout(done, ms)),
    budgetBytes = 96 * 2 ** 20,
    gapBytes = 48 * 2 ** 10,
    runBytes = 2 ** 20,
    parallel = 2,
    timeoutMs = 20_000,
  }) {
    Object.assign(this, { url, refreshUrl, budgetBytes, gapBytes, runBytes, parallel, timeoutMs });
    this.fetch = fetch;
    this.wait = wait;
  }

  has({ offset }) {
    return this.#held.has(offset);
  }

  /** Promise of the span's bytes. Joins a request that is already under way. Throws BytesError. */
  async read(span) {
    const held = this.#held.get(span.offset);
    if (held) {
      this.#held.delete(span.offset);
      this.#held.set(span.offset, held);
      return held;
    }
    let flight = [...this.#flights].find((one) => one.start <= span.offset && span.offset + span.size <= one.end);
    if (!flight) {
      // On its own and at once: it must not wait for the rest of the plan that it belongs to.
      const others = (run) => run.spans.filter((one) => one.offset !== span.offset);
      this.#waiting = this.#waiting.flatMap((run) => coalesced(others(run), this));
      flight = this.#fly({ start: span.offset, end: span.offset + span.size, spans: [span] });
    }
    const run = await flight.promise;
    const bytes = run.subarray(span.offset - flight.start, span.offset - flight.start + span.size);
    this.#hold(span, bytes); // a request that was under way already holds only what it was made for
    return bytes;
  }

  /** Fetch these spans beforehand, nearest first as given; what an earlier plan still waited for is dropped. Errors show when they are read. */
  prefetch(spans) {
    const wanted = spans.filter(
      (span) => !this.has(span) && ![...this.#flights].some((one) => one.start <= span.offset && span.offset + span.size <= one.end),
    );
    const runs = coalesced(wanted, this);
    const rank = new Map(wanted.map((span, place) => [span, place]));
    this.#waiting = runs.sort((a, b) => Math.min(...a.spans.map((s) => rank.get(s))) - Math.min(...b.spans.map((s) => rank.get(s))));
    this.#pump();
  }

  #pump() {
    while (this.#prefetching < this.parallel && this.#waiting.length) {
      this.#prefetching++;
      const done = () => {
        this.#prefetching--;
        this.#pump();
      };
      this.#fly(this.#waiting.shift()).promise.then(done, done);
    }
  }

  #fly(run) {
    const flight = { start: run.start, end: run.end, promise: null };
    flight.promise = this.#fetched(run.start, run.end)
      .then((bytes) => {
        for (const span of run.spans) this.#hold(span, bytes.subarray(span.offset - run.start, span.offset - run.start + span.size));
        return bytes;
      })
      .finally(() => this.#flights.delete(flight));
    flight.promise.catch(() => {}); // callers that read the span get the error; without one, a failed prefetch is not an unhandled error
    this.#flights.add(flight);
    return flight;
  }

  #hold(span, bytes) {
    if (this.#held.has(span.offset)) return;
    // A copy of its own: a view would keep the whole run alive when its neighbours are dropped.
    const own = bytes.slice();
    this.#held.set(span.offset, own);
    this.#heldBytes += own.length;
    for (const [offset, old] of this.#held) {
      if (this.#heldBytes <= this.budgetBytes || offset === span.offset) break;
      this.#held.delete(offset);
      this.#heldBytes -= old.length;
    }
  }

  async #fetched(start, end) {
    let refreshed = false;
    for (let attempt = 0; ; ) {
      const url = this.url;
      let response;
      const limit = new AbortController();
      const stop = () => limit.abort();
      const timer = setTimeout(stop, this.timeoutMs);
      this.#abort.signal.addEventListener("abort", stop);
      try {
        response = await this.fetch(url, {
          headers: { Range: `bytes=${start}-${end - 1}` },
          signal: limit.signal,
          credentials: "same-origin",
          cache: "no-store", // the browser's cache lets one request per address through at a time, and would outlive a proxy made anew
        });
        if (response.status === 206) {
          const bytes = new Uint8Array(await response.arrayBuffer());
          if (bytes.length === end - start) return bytes;
          throw new BytesError("mismatch", `The proxy ends before byte ${end}: it is not the file that was indexed.`);
        }
      } catch (error) {
        if (error instanceof BytesError || this.#abort.signal.aborted) throw error;
        // Too long without an answer: the callers that wait for the bytes get the error, and ask again.
        if (limit.signal.aborted) throw new BytesError("network", "The media server has stopped answering.");
        response = null;
      } finally {
        clearTimeout(timer);
        this.#abort.signal.removeEventListener("abort", stop);
      }
      const status = response?.status;
      response?.body?.cancel().catch(() => {});
      if (status === 404) throw new BytesError("missing", "The proxy of this video is missing in the store.");
      if (status === 416) throw new BytesError("mismatch", `The proxy ends before byte ${end}: it is not the file that was indexed.`);
      if (status === 200) throw new BytesError("mismatch", "The media server ignores range requests; the player needs them.");
      if (status === 401 || status === 403 || status === 410) {
        if (refreshed || !this.refreshUrl) throw new BytesError("expired", "The link to this video has expired. Load the page again.");
        refreshed = true;
        await this.#refresh(url);
        continue;
      }
      if (attempt >= RETRY_WAITS_MS.length)
        throw new BytesError("network", status ? `The media server answers ${status}.` : await silence(url, this.fetch));
      await this.wait(RETRY_WAITS_MS[attempt++]);
    }
  }

  /** One fresh link for all requests that found the old one expired. */
  async #refresh(expired) {
    if (this.url !== expired) return;
    this.#refreshing ??= Promise.resolve(this.refreshUrl())
      .then((fresh) => {
        if (fresh) this.url = fresh;
      })
      .catch(() => {}) // the next try answers 403 again and says so
      .finally(() => {
        this.#refreshing = null;
      });
    await this.#refreshing;
  }

  /** Forget what is held and drop what is planned. */
  clear() {
    this.#waiting = [];
    this.#held.clear();
    this.#heldBytes = 0;
  }

  close() {
    this.#abort.abort();
    this.clear();
  }
}

/** Why a request got no answer, in words. A browser hides an answer that the page may not read as if there were none: asked without reading, it shows. */
async function silence(url, fetch) {
  const { host, origin } = new URL(url, globalThis.location?.href ?? "http://localhost");
  const page = globalThis.location?.origin;
  if (page && origin !== page) {
    const answers = await fetch(url, { mode: "no-cors", credentials: "omit", cache: "no-store" }).then(
      (response) => (response.body?.cancel().catch(() => {}), true),
      () => false,
    );
    if (answers)
      return `The store of the videos (${host}) answers, but does not allow this page to read: its CORS rules must allow ${page}. heaters doctor prints them.`;
  }
  return "The media server does not answer.";
}
