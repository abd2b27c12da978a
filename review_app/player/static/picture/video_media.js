// All ways to one source video's pictures: index, bytes, decoders, stills, segments. Videos in use are kept open, the rest closed.

import { withQuery } from "./addresses.js";
import { ByteSource } from "./byte_source.js";
import { FrameCache } from "./frame_cache.js";
import { FrameDecoder } from "./frame_decoder.js";
import { FrameIndex } from "./frame_index.js";
import { FrameSource } from "./frame_source.js";
import { StillSource } from "./still_source.js";

const OPEN_VIDEOS = 3;
const HELD_FRAMES = 6; // VideoFrames; a hardware decoder stops when its pool is held
const SMALL_BYTES = 48 * 2 ** 20;
const TIMEOUT_MS = 20_000;
const WARM_SEGMENTS = 8; // ranges remembered as fetched
const WARM_BYTES = 32 * 2 ** 20; // a larger segment is made by the server, but not fetched beforehand
export const SMALL_WIDTH = 320;

export class VideoMedia {
  #library;
  #obstacle = null;
  #frames = null;
  #small = null;
  #decoders = [];
  #fresh = null;
  #warm = new Set(); // ranges whose segments were fetched, oldest first
  #stale = false; // what the browser has kept of the index is of another file

  constructor(video, library) {
    this.video = video;
    this.#library = library;
    this.index = new FrameIndex({ frameCount: video.frame_count, load: (start, end) => this.#slice(start, end) });
    this.bytes = new ByteSource({ url: video.media_url, refreshUrl: async () => (await this.refresh()).media_url });
  }

  async #slice(start, end, fresh = false) {
    const cache = this.#stale ? "reload" : "default";
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const silent = () => {
      throw new Error("The frame index of this video cannot be loaded: the server does not answer.");
    };
    const response = await this.#library.fetch(withQuery(this.video.index_url, { start, end }), { credentials: "same-origin", cache, signal }).catch(silent);
    if ([401, 403, 410].includes(response.status) && !fresh) {
      await this.refresh();
      return this.#slice(start, end, true);
    }
    if (!response.ok) {
      const words = await response.json().then((body) => body.error).catch(() => null);
      throw new Error(words ?? `The frame index of this video cannot be loaded (${response.status}).`);
    }
    return response.json().catch(silent);
  }

  /** Fresh signed links; several at once share one request. */
  async refresh() {
    this.#fresh ??= this.#library
      .refresh(this.video.id)
      .then((video) => this.renew(video))
      .finally(() => {
        this.#fresh = null;
      });
    await this.#fresh;
    return this.video;
  }

  renew(video) {
    this.video = video;
    this.bytes.url = video.media_url;
  }

  segmentUrl(start, end, more = {}) {
    return withQuery(this.video.segment_url, { start, end, ...more });
  }

  /** Have the server make a segment that comes soon, and the browser's cache hold it. Throws when it cannot be had. */
  async warmSegment(start, end) {
    const range = `${start}-${end}`;
    if (this.#warm.has(range)) return;
    this.#warm.add(range);
    if (this.#warm.size > WARM_SEGMENTS) this.#warm.delete(this.#warm.values().next().value);
    try {
      const response = await this.#library.fetch(this.segmentUrl(start, end), { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) throw new Error(`The media server answers ${response.status}.`);
      if (Number(response.headers.get("content-length")) > WARM_BYTES) await response.body?.cancel();
      else await response.arrayBuffer();
    } catch (error) {
      this.#warm.delete(range);
      throw error;
    }
  }

  /** Why frames cannot be decoded here, in words, or null when they can. Needs the index. */
  obstacle() {
    this.#obstacle ??= this.#library.enabled
      ? this.index.ensure(0, 1).then(() => FrameDecoder.obstacle(this.index.header))
      : Promise.resolve("switched off by WEBCODECS_ENABLED");
    this.#obstacle.catch(() => {
      this.#obstacle = null; // the index could not be had this time; ask again next time
    });
    return this.#obstacle;
  }

  /** Full-size pictures by WebCodecs. Needs the index and no obstacle. */
  get frames() {
    this.#frames ??= this.#frameSource("full", this.#library.pictures, null);
    return this.#frames;
  }

  /** Promise of the source of small pictures: a decoder of its own, so that the filmstrip never delays the stage; the still route without. */
  async small() {
    const obstacle = await this.obstacle();
    if (!obstacle) await this.index.ensure(0, 1); // a reset meanwhile has forgotten what the obstacle was found by
    this.#small ??= obstacle
      ? new StillSource({
          url: (frame, width) => withQuery(this.video.still_url, { frame, width }),
          refreshUrl: () => this.refresh(),
          cache: this.#library.smallPictures,
          name: `${this.video.id}/still`,
          width: SMALL_WIDTH,
          fetch: this.#library.fetch,
        })
      : this.#frameSource("small", this.#library.smallPictures, SMALL_WIDTH);
    return this.#small;
  }

  #frameSource(size, cache, width) {
    const decoder = new FrameDecoder(this.index.header, { onSilence: () => cache.clear() });
    this.#decoders.push(decoder);
    return new FrameSource({ index: this.index, bytes: this.bytes, decoder, cache, name: `${this.video.id}/${size}`, width });
  }

  /** Forget everything about the file: it is not the one that the index was read for. The next use reads both anew. */
  reset() {
    this.#stale = true;
    this.index.clear();
    this.bytes.clear();
    this.#warm.clear();
    this.#closeDecoders();
    this.#library.pictures.clear();
    this.#library.smallPictures.clear();
  }

  #closeDecoders() {
    for (const decoder of this.#decoders) decoder.close();
    this.#decoders = [];
    this.#frames = this.#small = this.#obstacle = null;
  }

  close() {
    this.bytes.close();
    this.#closeDecoders();
  }
}

export class MediaLibrary {
  #open = new Map(); // video id -> VideoMedia, least recently used first

  /** enabled: whether WebCodecs may be used. refresh(video id): promise of the video with fresh links. */
  constructor({ enabled, refresh, fetch = (...args) => globalThis.fetch(...args) }) {
    Object.assign(this, { enabled, refresh });
    this.fetch = fetch;
    this.pictures = new FrameCache({ most: HELD_FRAMES });
    this.smallPictures = new FrameCache({ budgetBytes: SMALL_BYTES });
  }

  of(video) {
    const media = this.#open.get(video.id) ?? new VideoMedia(video, this);
    if (media.video.media_url !== video.media_url) media.renew(video);
    this.#open.delete(video.id);
    this.#open.set(video.id, media);
    for (const [id, old] of this.#open) {
      if (this.#open.size <= OPEN_VIDEOS) break;
      this.#open.delete(id);
      old.close();
    }
    return media;
  }

  close() {
    for (const media of this.#open.values()) media.close();
    this.#open.clear();
    this.pictures.clear();
    this.smallPictures.clear();
  }
}
