import assert from "node:assert/strict";
import { test } from "node:test";

import { ByteSource, BytesError, coalesced } from "../../review_app/player/static/picture/byte_source.js";

const FILE = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);

/** A server of FILE. answers: taken one after the other before the file itself is served. */
function server(answers = []) {
  const asked = [];
  const fetch = async (url, { headers }) => {
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(headers.Range);
    asked.push([url, Number(start), Number(end) + 1]);
    const answer = answers.shift();
    if (answer === "down") throw new TypeError("Failed to fetch");
    if (answer) return new Response("", { status: answer });
    return new Response(FILE.slice(Number(start), Number(end) + 1), { status: 206 });
  };
  return { asked, fetch };
}

const source = (fetch, more = {}) => new ByteSource({ url: "/media", fetch, wait: async () => {}, ...more });

test("spans close together are one run, a wide gap or a long run parts them", () => {
  const spans = [300, 100, 200, 900].map((offset) => ({ offset, size: 50 }));
  const runs = coalesced(spans, { gapBytes: 60, runBytes: 1000 });
  assert.deepEqual(runs.map(({ start, end }) => [start, end]), [[100, 350], [900, 950]]);
  assert.equal(coalesced(spans, { gapBytes: 60, runBytes: 200 }).length, 3);
});

test("a read gives exactly its bytes, once fetched never again", async () => {
  const { asked, fetch } = server();
  const bytes = source(fetch);
  assert.deepEqual(await bytes.read({ offset: 1000, size: 10 }), FILE.slice(1000, 1010));
  await bytes.read({ offset: 1000, size: 10 });
  assert.equal(asked.length, 1);
});

test("a read joins the prefetch that brings its bytes", async () => {
  const { asked, fetch } = server();
  const bytes = source(fetch);
  bytes.prefetch([0, 1, 2, 3].map((n) => ({ offset: n * 100, size: 90 })));
  assert.deepEqual(await bytes.read({ offset: 200, size: 90 }), FILE.slice(200, 290));
  assert.deepEqual(asked, [["/media", 0, 390]]);
});

test("a read that joins a request made for others holds its bytes too", async () => {
  const { asked, fetch } = server();
  const bytes = source(fetch);
  bytes.prefetch([0, 300].map((offset) => ({ offset, size: 90 }))); // one run over the gap
  const between = { offset: 100, size: 90 };
  await bytes.read(between);
  assert.ok(bytes.has(between));
  assert.deepEqual(await bytes.read(between), FILE.slice(100, 190));
  assert.equal(asked.length, 1);
});

test("a newer prefetch plan drops what the older one still waited for", async () => {
  const { asked, fetch } = server();
  const bytes = source(fetch, { parallel: 1, gapBytes: 0 });
  bytes.prefetch([0, 1000, 2000].map((offset) => ({ offset, size: 10 })));
  bytes.prefetch([{ offset: 4000, size: 10 }]);
  await bytes.read({ offset: 4000, size: 10 });
  assert.deepEqual(asked.map(([, start]) => start), [0, 4000]);
});

test("a bad line is tried again, a lasting one is an error in words", async () => {
  const { fetch } = server(["down", 503]);
  assert.deepEqual(await source(fetch).read({ offset: 5, size: 3 }), FILE.slice(5, 8));
  const dead = server(Array(9).fill("down"));
  await assert.rejects(source(dead.fetch).read({ offset: 5, size: 3 }), (error) => error instanceof BytesError && error.code === "network");
  assert.equal(dead.asked.length, 4);
});

test("a line that stalls, before the answer or in the middle of it, is an error in words, and the bytes can be asked for again", async () => {
  const stalls = [
    (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    async (signal) => new Response(new ReadableStream({ start: (body) => signal.addEventListener("abort", () => body.error(signal.reason)) }), { status: 206 }),
  ];
  for (const stall of stalls) {
    const { fetch } = server();
    let asked = 0;
    const bytes = source((url, options) => (asked++ ? fetch(url, options) : stall(options.signal)), { timeoutMs: 5 });
    await assert.rejects(bytes.read({ offset: 5, size: 3 }), { code: "network", message: "The media server has stopped answering." });
    assert.deepEqual(await bytes.read({ offset: 5, size: 3 }), FILE.slice(5, 8));
  }
});

test("a source that is closed gives up at once, without words", async () => {
  const bytes = source((url, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))));
  const read = bytes.read({ offset: 5, size: 3 });
  bytes.close();
  await assert.rejects(read, { name: "AbortError" });
});

test("an expired link is refreshed once for all requests that met it", async () => {
  let refreshed = 0;
  const { asked, fetch } = server([403, 403]);
  const bytes = source(fetch, {
    refreshUrl: async () => {
      refreshed++;
      return "/fresh";
    },
  });
  await Promise.all([bytes.read({ offset: 0, size: 5 }), bytes.read({ offset: 2000, size: 5 })]);
  assert.equal(refreshed, 1);
  assert.deepEqual(asked.map(([url]) => url), ["/media", "/media", "/fresh", "/fresh"]);
  const lost = server([403, 403]);
  await assert.rejects(source(lost.fetch, { refreshUrl: async () => "/no" }).read({ offset: 0, size: 5 }), { code: "expired" });
});

test("a missing file, one that is too short, and a server without ranges are told apart", async () => {
  await assert.rejects(source(server([404]).fetch).read({ offset: 0, size: 5 }), { code: "missing" });
  await assert.rejects(source(server([416]).fetch).read({ offset: 9000, size: 5 }), { code: "mismatch" });
  await assert.rejects(source(server().fetch).read({ offset: 4990, size: 50 }), { code: "mismatch" });
  await assert.rejects(source(server([200]).fetch).read({ offset: 0, size: 5 }), /ignores range requests/);
});

test("bytes are kept within the budget, the least recently used go first", async () => {
  const { asked, fetch } = server();
  const bytes = source(fetch, { budgetBytes: 250 });
  for (const offset of [0, 1000, 0, 2000]) await bytes.read({ offset, size: 100 });
  assert.ok(bytes.has({ offset: 0 }) && bytes.has({ offset: 2000 }) && !bytes.has({ offset: 1000 }));
  assert.equal(asked.length, 3);
});
