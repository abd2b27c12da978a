import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { codecString, decoderConfig, FrameDecodeError, FrameDecoder, isKeyframe } from "../../review_app/player/static/picture/frame_decoder.js";

const AVCC = Uint8Array.from([1, 0x64, 0x00, 0x1f, 0xff, 0xe1]);
const KEYFRAME = Uint8Array.from([0, 0, 0, 2, 0x09, 0xf0, 0, 0, 0, 3, 0x65, 1, 2]);
const HEADER = { avcc: AVCC, width: 64, height: 48, aspect: 4 / 3 };

/** A VideoDecoder that behaves as `script` says, one word for each chunk: "ok", "error", "throw". */
function pretendDecoder(script) {
  const made = { decoders: 0, closed: [] };
  globalThis.EncodedVideoChunk = class {
    constructor(fields) {
      Object.assign(this, fields);
    }
  };
  globalThis.VideoDecoder = class {
    state = "unconfigured";
    constructor({ output, error }) {
      Object.assign(this, { output, error });
      made.decoders++;
    }
    configure(config) {
      this.state = "configured";
      made.config = config;
    }
    decode(chunk) {
      const word = script.shift() ?? "ok";
      if (word === "throw") throw new TypeError("queue is closed");
      queueMicrotask(() => {
        if (word === "error") {
          this.state = "closed";
          this.error(new Error("bad slice"));
        } else this.output({ timestamp: chunk.timestamp, close: () => made.closed.push(chunk.timestamp) });
      });
    }
    flush() {
      return Promise.resolve();
    }
    close() {
      this.state = "closed";
    }
  };
  return made;
}

afterEach(() => {
  delete globalThis.VideoDecoder;
  delete globalThis.EncodedVideoChunk;
});

test("the codec string comes from the avcC record", () => {
  assert.equal(codecString(AVCC), "avc1.64001F");
  assert.equal(codecString(Uint8Array.from([1, 0x42, 0xc0, 0x0a])), "avc1.42C00A");
});

test("the decoder is never asked for hardware and always for low latency", () => {
  const config = decoderConfig(HEADER);
  assert.equal(config.hardwareAcceleration, "no-preference");
  assert.equal(config.optimizeForLatency, true);
  assert.equal(config.description, AVCC);
});

test("only bytes that are exactly one keyframe count as one", () => {
  assert.ok(isKeyframe(KEYFRAME, AVCC));
  assert.ok(!isKeyframe(KEYFRAME.slice(0, -1), AVCC), "cut off");
  assert.ok(!isKeyframe(KEYFRAME.slice(1), AVCC), "shifted");
  assert.ok(!isKeyframe(Uint8Array.from([0, 0, 0, 2, 0x41, 1]), AVCC), "no IDR slice");
  assert.ok(!isKeyframe(new Uint8Array(0), AVCC));
});

test("pictures name themselves by frame number and belong to the asker", async () => {
  const made = pretendDecoder([]);
  const decoder = new FrameDecoder(HEADER);
  const pictures = await Promise.all([7, 3, 9].map((frame) => decoder.decode(frame, KEYFRAME)));
  assert.deepEqual(pictures.map((picture) => picture.timestamp), [7, 3, 9]);
  assert.deepEqual(made.closed, [], "nobody else closes them");
  assert.equal(made.decoders, 1);
});

test("an error costs one fresh decoder and one more try, then the frame is given up and the next one works", async () => {
  const made = pretendDecoder(["ok", "error", "ok", "error", "throw", "ok"]);
  const decoder = new FrameDecoder(HEADER);
  await decoder.decode(1, KEYFRAME);
  assert.equal((await decoder.decode(2, KEYFRAME)).timestamp, 2);
  assert.equal(made.decoders, 2);
  await assert.rejects(decoder.decode(3, KEYFRAME), (error) => error instanceof FrameDecodeError && error.frame === 3);
  assert.equal((await decoder.decode(4, KEYFRAME)).timestamp, 4);
});

test("wrong bytes never reach the decoder", async () => {
  const made = pretendDecoder([]);
  await assert.rejects(new FrameDecoder(HEADER).decode(1, KEYFRAME.slice(2)), /does not match the proxy/);
  assert.equal(made.decoders, 0);
});

test("without WebCodecs the reason is given in words", async () => {
  assert.equal(await FrameDecoder.obstacle(HEADER), "this browser has no WebCodecs");
  pretendDecoder([]);
  VideoDecoder.isConfigSupported = async () => ({ supported: false });
  assert.equal(await FrameDecoder.obstacle(HEADER), "this browser cannot decode avc1.64001F");
  VideoDecoder.isConfigSupported = async () => ({ supported: true });
  assert.equal(await FrameDecoder.obstacle(HEADER), null);
});

test("closing rejects what waits", async () => {
  pretendDecoder([]);
  const decoder = new FrameDecoder(HEADER);
  const one = decoder.decode(1, KEYFRAME);
  const two = decoder.decode(2, KEYFRAME);
  decoder.close();
  await assert.rejects(one, { name: "AbortError" });
  await assert.rejects(two, { name: "AbortError" });
});
