import assert from "node:assert/strict";
import { test } from "node:test";

import { Playback, PlaybackError, playedWith } from "../../review_app/player/static/picture/playback.js";

globalThis.requestAnimationFrame = (done) => setImmediate(done);
globalThis.fetch = async () => new Response("", { status: 206 });

/** A <video> without pictures: frames are ten a second, `loads` says what becomes of each source, oldest first; one that is not said loads. */
class FakeVideo extends EventTarget {
  dataset = {};
  error = null;
  ended = false;
  paused = true;
  sources = [];
  loads = [];
  seeksHeld = false;
  seeking = false;
  #time = 0;
  #callbacks = [];

  set src(url) {
    this.sources.push(url);
  }

  load() {
    const outcome = this.loads.shift() ?? "loadeddata";
    if (outcome !== "held") setImmediate(() => this.settle(outcome));
  }

  settle(outcome) {
    this.error = outcome === "error" ? { message: "planned" } : null;
    this.dispatchEvent(new Event(outcome));
    if (outcome === "loadeddata") this.present(0);
  }

  get currentTime() {
    return this.#time;
  }

  set currentTime(seconds) {
    this.#time = seconds;
    this.seeking = true;
    if (this.seeksHeld) return;
    setImmediate(() => {
      this.present(seconds);
      this.sought();
    });
  }

  sought() {
    this.seeking = false;
    this.dispatchEvent(new Event("seeked"));
  }

  present(mediaTime) {
    for (const callback of this.#callbacks.splice(0)) callback(0, { mediaTime });
  }

  requestVideoFrameCallback(callback) {
    this.#callbacks.push(callback);
  }

  async play() {
    this.paused = false;
  }

  pause() {
    this.paused = true;
  }
}

function media() {
  return {
    refreshed: 0,
    async refresh() {
      this.refreshed++;
    },
    segmentUrl(start, end) {
      return `/segment/${start}-${end}/${this.refreshed}`;
    },
    index: {
      ensure: async () => {},
      frameOfMediaTime: (seconds, start) => start + Math.floor(seconds * 10 + 1e-6),
      seconds: (frame, start) => (frame - start) / 10,
      middleSeconds: (frame, start) => (frame - start + 0.5) / 10,
    },
  };
}

function opened({ loads = [] } = {}) {
  const video = new FakeVideo();
  video.loads = loads;
  const told = [];
  const playback = new Playback(video, { onFrame: (frame) => told.push(frame), onBroken: (error) => told.push(error.message) });
  const source = media();
  playback.open(source, 100, 200);
  return { video, playback, source, told };
}

const PLAIN = { rate: 1, loop: false };
const turn = () => new Promise(setImmediate);

test("a pause before the segment has loaded is the last word", async () => {
  const { video, playback } = opened({ loads: ["held"] });
  const played = playback.play(120, PLAIN);
  await turn();
  assert.equal(await playback.pause(), null, "nothing was played, so no frame was left on screen");
  video.settle("loadeddata");
  assert.equal(await played, false);
  assert.ok(video.paused && !playback.playing);
});

test("a pause and a second play before the segment has loaded play once, from the second place", async () => {
  const { video, playback } = opened({ loads: ["held"] });
  const first = playback.play(120, PLAIN);
  await turn();
  await playback.pause();
  const second = playback.play(150, PLAIN);
  video.settle("loadeddata");
  await Promise.all([first, second]);
  assert.ok(playback.playing && !video.paused);
  assert.equal(video.currentTime, 5.05);
});

test("another clip opened before the segment has loaded is not played", async () => {
  const { video, playback, source } = opened({ loads: ["held"] });
  const played = playback.play(120, PLAIN);
  await turn();
  playback.open(source, 200, 300);
  video.settle("loadeddata");
  await assert.rejects(played, PlaybackError);
  assert.ok(video.paused);
});

test("a seek that waits does not stop what is played after it", async () => {
  const { video, playback } = opened({ loads: ["held"] });
  const sought = playback.seek(130);
  const played = playback.play(120, PLAIN);
  await turn();
  video.settle("loadeddata");
  await assert.rejects(sought, /played meanwhile/);
  await played;
  assert.ok(playback.playing && !video.paused);
});

test("after a pause the frame is sought, wherever the time stands: the element may have gone on without presenting the next one", async () => {
  const { video, playback } = opened();
  await playback.play(120, PLAIN);
  video.present(3.0);
  video.currentTime = 3.05;
  await turn();
  assert.equal(await playback.pause(), 130);
  let seeks = 0;
  video.addEventListener("seeked", () => seeks++);
  await playback.seek(130);
  await playback.seek(130);
  assert.equal(seeks, 1, "and once it stands there, not again");
});

test("a frame that was played and comes in late does not end a seek to another place in it", async () => {
  const { video, playback } = opened();
  await playback.play(120, PLAIN);
  await turn();
  video.present(3.0);
  assert.equal(await playback.pause(), 130);
  video.seeksHeld = true;
  let settled = false;
  const sought = playback.seek(130).then(() => (settled = true));
  await turn();
  video.present(3.05);
  video.present(3.12); // it had played on to the next one
  await turn();
  assert.ok(!settled);
  video.present(3.05);
  video.sought();
  await sought;
  assert.equal(playback.shown, 130);
});

test("another frame that comes after a seek has ended is told, once, and not while it plays", async () => {
  const { video, playback } = opened();
  let moved = 0;
  playback.onMoved = () => moved++;
  await playback.seek(130);
  video.present(3.05);
  assert.equal(moved, 0, "the same frame once more");
  video.present(3.12);
  video.present(3.22);
  assert.equal(moved, 1);
  await playback.seek(130);
  await playback.play(130, PLAIN);
  video.present(3.5);
  assert.equal(moved, 1);
});

test("a pause gives the frame presented last, not one from before the play", async () => {
  const { video, playback } = opened();
  await playback.prepare();
  await turn();
  await playback.play(150, PLAIN);
  assert.equal(playback.shown, null);
  await turn();
  video.present(5.1);
  assert.equal(await playback.pause(), 151);
});

test("an error after loading is told, and the next seek loads the segment anew, with a fresh link when the old one has expired", async () => {
  const { video, playback, source, told } = opened();
  await playback.seek(120);
  video.loads = ["error"];
  video.settle("error");
  assert.deepEqual(told, ["The clip does not load any further (planned)."]);
  playback.open(source, 100, 200);
  await playback.seek(121);
  assert.equal(playback.shown, 121);
  assert.deepEqual(video.sources, ["/segment/100-200/0", "/segment/100-200/0", "/segment/100-200/1"]);
});

test("an error while playing stops it, and it can be played again", async () => {
  const { video, playback, told } = opened();
  await playback.play(120, PLAIN);
  video.settle("error");
  assert.ok(!playback.playing);
  assert.equal(told.length, 1);
  await playback.play(120, PLAIN);
  assert.ok(playback.playing && !video.paused);
  assert.equal(video.sources.length, 2);
});

test("an error in the middle of a seek ends it in words", async () => {
  const { video, playback } = opened();
  await playback.prepare();
  video.seeksHeld = true;
  const sought = playback.seek(150);
  await turn();
  video.settle("error");
  await assert.rejects(sought, /does not load any further/);
});

test("a preload and a play that meet the same expired link renew it once", async () => {
  const { video, playback, source } = opened({ loads: ["error"] });
  await Promise.all([playback.prepare(), playback.play(120, PLAIN)]);
  assert.equal(source.refreshed, 1);
  assert.ok(playback.playing);
  assert.equal(video.sources.length, 2);
});

test("a source that does not load with a fresh link either is an error in words, and is tried anew when asked again", async () => {
  const { playback } = opened({ loads: ["error", "error"] });
  await assert.rejects(playback.prepare(), /cannot play the clip \(planned\)/);
  await playback.seek(130);
  assert.equal(playback.shown, 130);
});

test("a long clip is played in parts, one after the other, and again from the first when it loops", async () => {
  assert.deepEqual(playedWith(150, 100, 200, 40), [140, 180]);
  assert.deepEqual(playedWith(199, 100, 200, 40), [180, 200]);
  assert.deepEqual(playedWith(150, 100, 200, 100), [100, 200]);
  const video = new FakeVideo();
  const told = [];
  let over = 0;
  const playback = new Playback(video, { onFrame: (frame) => told.push(frame), onEnded: () => over++, partFrames: 40 });
  playback.open(media(), 100, 200);
  await playback.seek(150);
  assert.equal(playback.shown, 150);
  const ends = async () => {
    video.dispatchEvent(new Event("ended"));
    for (let n = 0; n < 8; n++) await turn();
  };
  await playback.play(150, { rate: 1, loop: true });
  await ends();
  await ends();
  assert.deepEqual(video.sources.map((url) => url.split("/")[2]), ["140-180", "180-200", "100-140"]);
  assert.deepEqual([told.includes(180), told.at(-1), video.loop, over, playback.playing], [true, 100, false, 0, true]);
  playback.set({ loop: false });
  await ends();
  await ends();
  await ends();
  assert.deepEqual([video.sources.length, over, playback.playing], [5, 1, false], "without loop it ends with the last part");
  await playback.seek(101);
  assert.equal(video.sources.at(-1).split("/")[2], "100-140");
});
