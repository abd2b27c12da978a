// Frame number -> picture from the still route: the small pictures of the filmstrip and the boundary view where WebCodecs is missing.

import { BytesError } from "./byte_source.js";

const TIMEOUT_MS = 20_000;

export class StillSource {
  #pending = new Map();

  /** url(frame): address of a JPEG; refreshUrl(): promise, after which url() gives fresh links; cache and name as for FrameSource. */
  constructor({ url, refreshUrl, cache, name, width, fetch = (...args) => globalThis.fetch(...args) }) {
    Object.assign(this, { url, refreshUrl, cache, name, width });
    this.fetch = fetch;
  }

  key(frame) {
    return `${this.name}/${frame}`;
  }

  /** Promise of a picture lent by the cache. Throws BytesError. */
  async picture(frame) {
    const held = this.cache.get(this.key(frame));
    if (held) return held;
    let pending = this.#pending.get(frame);
    if (!pending) {
      pending = this.#loaded(frame).finally(() => this.#pending.delete(frame));
      this.#pending.set(frame, pending);
    }
    await pending;
    return this.cache.get(this.key(frame)) ?? this.picture(frame);
  }

  async #loaded(frame, fresh = false) {
    let response;
    try {
      response = await this.fetch(this.url(frame, this.width), { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch {
      throw new BytesError("network", "The media server does not answer.");
    }
    if ([401, 403, 410].includes(response.status) && !fresh) {
      await this.refreshUrl();
      return this.#loaded(frame, true);
    }
    if (!response.ok) throw new BytesError(response.status === 404 ? "missing" : "network", `No still of frame ${frame} (${response.status}).`);
    this.cache.set(this.key(frame), await createImageBitmap(await response.blob())); // the cache closes it
  }

  close() {}
}
