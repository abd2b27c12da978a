import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { MediaLibrary } from "../../review_app/player/static/picture/video_media.js";

const SLICE = {
  first_frame: 0, frame_count: 3, time_base: [1, 24], end_pts: 3, width: 64, height: 48, sample_aspect_ratio: [1, 1], has_audio: true,
  avcc: "AWQAH//hAARnAQIDAQABaA==", pts: [0, 1, 2], byte_offset: [10, 20, 30], byte_size: [5, 5, 5],
};
const described = (link, id = 1) => ({ id, frame_count: 3, media_url: `/media?${link}`, index_url: `/index?${link}`, segment_url: `/segment?${link}`, still_url: "/still" });

/** A library whose server gives `answers`, one after the other, then the index. */
function library(answers = [], { enabled = false } = {}) {
  const asked = [];
  let links = 0;
  const made = new MediaLibrary({
    enabled,
    refresh: async (id) => described(`fresh${++links}`, id),
    fetch: async (url, options) => {
      asked.push(url);
      const answer = answers.shift() ?? (() => Response.json(SLICE));
      return answer(options);
    },
  });
  return { library: made, asked, links: () => links };
}

const status = (code, body = {}) => () => Response.json(body, { status: code });

test("an index link that has expired is renewed once, and the media link with it", async () => {
  const { library: held, asked } = library([status(403)]);
  const media = held.of(described("old"));
  await media.index.ensure(0, 3);
  assert.deepEqual(asked, ["/index?old&start=0&end=3", "/index?fresh1&start=0&end=3"]);
  assert.equal(media.bytes.url, "/media?fresh1");
});

test("an index that cannot be loaded is reported in the server's words, and asked for again", async () => {
  const { library: held } = library([status(404, { error: "source video 1 has no proxy" }), status(500)]);
  const media = held.of(described("old"));
  await assert.rejects(media.index.ensure(0, 3), /source video 1 has no proxy/);
  await assert.rejects(media.index.ensure(0, 3), /cannot be loaded/);
  await media.index.ensure(0, 3);
  assert.ok(media.index.has(2));
});

test("an index whose line stalls, before the answer or in it, is given up in words", async () => {
  const stalls = [
    ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    ({ signal }) => new Response(new ReadableStream({ start: (body) => signal.addEventListener("abort", () => body.error(signal.reason)) })),
  ];
  for (const stall of stalls) {
    const limit = new AbortController();
    const timeout = mock.method(AbortSignal, "timeout", () => limit.signal);
    const { library: held } = library([stall]);
    const waited = held.of(described("old")).index.ensure(0, 3);
    setImmediate(() => limit.abort(new DOMException("timed out", "TimeoutError")));
    await assert.rejects(waited, /the server does not answer/);
    timeout.mock.restore();
  }
});

test("several that meet an expired link at once share one renewal", async () => {
  const { library: held, links } = library();
  const media = held.of(described("old"));
  await Promise.all([media.refresh(), media.refresh()]);
  assert.equal(links(), 1);
  await media.refresh();
  assert.equal(links(), 2);
});

test("an index of another file is read anew after a reset, past what the browser has kept", async () => {
  const caches = [];
  const kept = ({ cache }) => {
    caches.push(cache);
    return Response.json(SLICE);
  };
  const { library: held } = library([kept, kept]);
  const media = held.of(described("old"));
  await media.index.ensure(0, 3);
  media.reset();
  assert.ok(!media.index.has(0));
  await media.index.ensure(0, 3);
  assert.deepEqual(caches, ["default", "reload"]);
});

test("small pictures that were asked for while the file changed are those of the new one", async () => {
  globalThis.VideoDecoder = class {
    static async isConfigSupported() {
      media.reset();
      return { supported: true };
    }
  };
  const { library: held, asked } = library([], { enabled: true });
  const media = held.of(described("old"));
  try {
    assert.ok(await media.small());
    assert.ok(media.index.header);
    assert.equal(asked.length, 2);
  } finally {
    delete globalThis.VideoDecoder;
    held.close();
  }
});

test("why frames are not decoded is said, and asked again when the index could not be had", async () => {
  assert.match(await library().library.of(described("old")).obstacle(), /WEBCODECS_ENABLED/);
  const media = library([status(500)], { enabled: true }).library.of(described("old"));
  await assert.rejects(media.obstacle());
  assert.match(await media.obstacle(), /no WebCodecs/);
});

test("the videos used last are kept open, whatever the number that passes by", () => {
  const { library: held } = library();
  const first = held.of(described("old", 1));
  for (const id of [2, 3]) held.of(described("old", id));
  assert.equal(held.of(described("old", 1)), first);
  for (const id of [4, 5, 6]) held.of(described("old", id));
  assert.notEqual(held.of(described("old", 1)), first);
});

test("a segment that comes soon is fetched once, and again after a failure", async () => {
  const body = () => new Response("x");
  const { library: held, asked } = library([status(503), body, body]);
  const media = held.of(described("old"));
  await assert.rejects(media.warmSegment(0, 2), /503/);
  for (let i = 0; i < 2; i++) await media.warmSegment(0, 2);
  await media.warmSegment(1, 2);
  assert.deepEqual(asked, ["/segment?old&start=0&end=2", "/segment?old&start=0&end=2", "/segment?old&start=1&end=2"]);
});

test("a large segment is made, but not fetched beforehand", async () => {
  let cancelled = false;
  const large = () =>
    new Response(new ReadableStream({ cancel: () => void (cancelled = true) }), { headers: { "content-length": String(2 ** 30) } });
  await library([large]).library.of(described("old")).warmSegment(0, 2);
  assert.ok(cancelled);
});
