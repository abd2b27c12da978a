// The sound of a clip as a curve. Decoded by the browser from the clip's served segment, when that is small enough to be cheap.

const MOST_BYTES = 8 * 2 ** 20;
const TIMEOUT_MS = 60_000;
const KEPT = 40;
const BINS = 1200;

/** (bins) loudest absolute value of each of `bins` equal parts of the samples, over all channels, 0..1. */
export function peaksOf(channels, bins) {
  const length = channels[0]?.length ?? 0;
  const peaks = new Float32Array(Math.min(bins, length));
  for (const samples of channels)
    for (let bin = 0; bin < peaks.length; bin++) {
      const end = Math.floor(((bin + 1) * length) / peaks.length);
      for (let i = Math.floor((bin * length) / peaks.length); i < end; i++) peaks[bin] = Math.max(peaks[bin], Math.abs(samples[i]));
    }
  return peaks;
}

export class Waveform {
  #kept = new Map(); // range -> promise of peaks or null

  /** Promise of the peaks of [start, end), or null when there is no sound or it would cost too much. Never throws: the curve is only a help. */
  async peaks(media, start, end) {
    if (!media.index.header?.hasAudio) return null;
    const name = `${media.video.id}/${start}-${end}`;
    const kept = this.#kept.get(name) ?? this.#decoded(media.segmentUrl(start, end, { only: "audio" }));
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
    try {
      return await kept;
    } catch {
      this.#kept.delete(name); // another time perhaps
      return null;
    }
  }

  async #decoded(url) {
    const response = await fetch(url, { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) });
    const size = Number(response.headers.get("content-length") ?? Infinity);
    if (!response.ok || size > MOST_BYTES) {
      response.body?.cancel();
      return null;
    }
    const context = new OfflineAudioContext(1, 1, 22_050);
    const sound = await context.decodeAudioData(await response.arrayBuffer());
    return peaksOf(
      Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel)),
      BINS,
    );
  }
}
