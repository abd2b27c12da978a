// H.264 frames to pictures by WebCodecs, one frame at a time. Every frame of a proxy is a keyframe, so frames come in any order.

const SILENCE_FLUSH_MS = 400;
const SILENCE_ERROR_MS = 4000;

/** The decoder refused a frame twice, the second time fresh. */
export class FrameDecodeError extends Error {
  constructor(frame, reason) {
    super(`Frame ${frame} cannot be decoded by this browser (${reason}).`);
    this.name = "FrameDecodeError";
    this.frame = frame;
  }
}

/** The bytes are not one H.264 frame: the index is not of this file. */
export class FrameBytesError extends Error {
  constructor(frame) {
    super(`The bytes of frame ${frame} are not a frame: the frame index does not match the proxy.`);
    this.name = "FrameBytesError";
    this.frame = frame;
  }
}

/** RFC 6381 name of the codec from an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1): profile, constraints and level, bytes 1..3. */
export function codecString(avcc) {
  return "avc1." + [...avcc.subarray(1, 4)].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join("");
}

/**
 * Whether `data` is exactly a row of length-prefixed NAL units with an IDR slice (type 5) among them.
 * A decoder shows *something* for many wrong byte ranges; this tells a wrong index from a bad frame.
 */
export function isKeyframe(data, avcc) {
  const lengthBytes = (avcc[4] & 3) + 1;
  let at = 0;
  let found = false;
  while (at + lengthBytes < data.length) {
    let length = 0;
    for (let i = 0; i < lengthBytes; i++) length = length * 256 + data[at + i];
    at += lengthBytes;
    if (length === 0) return false;
    found ||= (data[at] & 0x1f) === 5;
    at += length;
  }
  return found && at === data.length;
}

/** Configuration for VideoDecoder. "prefer-hardware" fails on machines without; optimizeForLatency makes each chunk come out without a flush. */
export function decoderConfig({ avcc, width, height, aspect }) {
  return {
    codec: codecString(avcc),
    description: avcc,
    codedWidth: width,
    codedHeight: height,
    displayAspectWidth: Math.round(height * aspect), // pixels of the proxy need not be square
    displayAspectHeight: height,
    optimizeForLatency: true,
    hardwareAcceleration: "no-preference",
  };
}

export class FrameDecoder {
  #config;
  #avcc;
  #decoder = null;
  #jobs = []; // {frame, data, signal, resolve, reject, tries}
  #job = null; // the one inside the decoder
  #timers = [];
  #closed = false;
  #onSilence;

  /** header: {avcc, width, height, aspect} of a frame index. onSilence(): the decoder does not answer; give back pictures it may wait for. */
  constructor(header, { onSilence = () => {} } = {}) {
    this.#config = decoderConfig(header);
    this.#avcc = header.avcc;
    this.#onSilence = onSilence;
  }

  /** null when this browser can decode the video, else why not, in words. */
  static async obstacle(header) {
    if (typeof globalThis.VideoDecoder !== "function")
      return globalThis.isSecureContext === false ? "WebCodecs needs https or localhost" : "this browser has no WebCodecs";
    const config = decoderConfig(header);
    try {
      const { supported } = await VideoDecoder.isConfigSupported(config);
      return supported ? null : `this browser cannot decode ${config.codec}`;
    } catch {
      return `this browser cannot decode ${config.codec}`;
    }
  }

  /**
   * Promise of frame number `frame` as a VideoFrame, which the caller closes.
   * urgent: before everything that waits. signal: a job that has not begun is dropped. Throws FrameDecodeError, FrameBytesError.
   */
  decode(frame, data, { signal = null, urgent = true } = {}) {
    return new Promise((resolve, reject) => {
      if (!isKeyframe(data, this.#avcc)) return reject(new FrameBytesError(frame));
      const job = { frame, data, signal, resolve, reject, tries: 0 };
      if (urgent) this.#jobs.unshift(job);
      else this.#jobs.push(job);
      this.#next();
    });
  }

  #next() {
    while (!this.#job && this.#jobs.length) {
      const job = this.#jobs.shift();
      if (this.#closed || job.signal?.aborted) job.reject(new DOMException("no longer wanted", "AbortError"));
      else this.#submit(job);
    }
  }

  #submit(job) {
    this.#job = job;
    job.tries++;
    try {
      this.#decoder ??= this.#made();
      // The timestamp is the frame number: the output names itself, whatever the order and whatever the rate.
      this.#decoder.decode(new EncodedVideoChunk({ type: "key", timestamp: job.frame, data: job.data }));
      const decoder = this.#decoder;
      const wake = () => {
        this.#onSilence();
        decoder.flush().catch(() => {}); // its error callback tells
      };
      this.#timers = [
        setTimeout(wake, SILENCE_FLUSH_MS),
        setTimeout(() => this.#failed(new Error("no answer from the decoder")), SILENCE_ERROR_MS),
      ];
    } catch (error) {
      this.#failed(error);
    }
  }

  #made() {
    const decoder = new VideoDecoder({
      output: (picture) => {
        if (decoder !== this.#decoder || picture.timestamp !== this.#job?.frame) {
          picture.close(); // an answer nobody waits for any more: ours to close
          return;
        }
        const job = this.#finish();
        job.resolve(picture); // from here on the asker's, who closes it
        this.#next();
      },
      error: (error) => {
        if (decoder === this.#decoder) this.#failed(error);
      },
    });
    decoder.configure(this.#config);
    return decoder;
  }

  #finish() {
    this.#timers.forEach(clearTimeout);
    const job = this.#job;
    this.#job = null;
    return job;
  }

  /** A decoder that reported an error is closed for good: make a new one and give the frame one more try, then give it up. */
  #failed(error) {
    const job = this.#finish();
    this.#discard();
    if (job) {
      if (job.tries < 2 && !this.#closed) this.#submit(job);
      else job.reject(new FrameDecodeError(job.frame, error?.message || "decoder error"));
    }
    this.#next();
  }

  #discard() {
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== "closed") decoder.close();
  }

  close() {
    this.#closed = true;
    const job = this.#finish();
    this.#discard();
    for (const one of job ? [job, ...this.#jobs] : this.#jobs) one.reject(new DOMException("decoder closed", "AbortError"));
    this.#jobs = [];
  }
}
