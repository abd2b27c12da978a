"""Decodes the sound of a file and puts each part at its time: a row of samples in one or two channels, for ffmpeg to read from a pipe.

ffmpeg has the filter `aresample` for this, but it corrects only differences of more than a tenth of a second, makes hours of silence from
one wrong time, and fails on channels with names that it cannot mix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import ClockJump, seconds_of, spoken
from heaters_dagster.domain.downmix import downmix
from heaters_dagster.domain.sound_placement import Placed, SoundPlacement
from heaters_dagster.domain.words import counted
from resources.media.first_look import opened

Block = NDArray[np.float32]

#: Sample rates that AAC allows (ISO/IEC 14496-3, 1.6.3.4) and that every browser plays; others become 48 kHz.
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_USUAL_RATE = 48_000
_SILENT_SAMPLES = 1 << 16
_LEAST_SAMPLES = 512
#: So much sound is decoded before the part that is wanted.
_SECONDS_BEFORE = 1.0
#: PyAV reads beyond the end of a frame's table of planes, and the process dies, when the table is full: 8 channels in planes of their own.
_MOST_PLANES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSource:
    """Which sound to read. streams: indexes in the file; the first is used, and each later one where the ones before have ended.

    look_bytes: as in `MediaProbe`. jumps, end_seconds: as for `SoundPlacement`. ahead: (since when, how many seconds the file's times are
    ahead from there on), in order. from_seconds, to_seconds: by the file's times, without what they are ahead; None for all of it.
    is_part: the file begins only a little before from_seconds.
    """

    path: Path
    streams: tuple[int, ...]
    look_bytes: int = 0
    jumps: tuple[ClockJump, ...] = ()
    end_seconds: float | None = None
    channels: int = 2
    ahead: tuple[tuple[float, float], ...] = ()
    is_part: bool = False
    from_seconds: float | None = None
    to_seconds: float | None = None


@dataclass(slots=True)
class SoundFacts:
    """What was found while reading. start_seconds, end_seconds: when the first sample is heard, and when the last one has been.
    silence_seconds: added where packets are missing. errors: packets that cannot be decoded."""

    rate: int = 0
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    silence_seconds: float = 0.0
    dropped_seconds: float = 0.0
    clock_errors: int = 0
    errors: int = 0
    layouts: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """What was done to the sound, in sentences for people."""
        notes = []
        if self.errors:
            notes.append(f"{counted(self.errors, 'packet of its sound is', 'packets of its sound are')} damaged: there is silence instead")
        elif self.silence_seconds >= 0.01:
            notes.append(f"{spoken(self.silence_seconds)} of its sound are missing: there is silence instead")
        if self.dropped_seconds >= 0.01:
            notes.append(f"{spoken(self.dropped_seconds)} of its sound overlap with the sound before: they are left out of the proxy")
        if self.clock_errors:
            notes.append("the times of its sound jump where those of the picture do not: the sound after the jump follows without a gap")
        return notes


class PlacedSound:
    """The sound from its first sample on. Iterate over it once; `rate`, `channels` and `start_seconds` are known before."""

    def __init__(self, source: SoundSource) -> None:
        self.facts = SoundFacts()
        self.channels = source.channels
        self._source = source
        self._pieces = _Pieces(source, self.facts)
        self._first = next(self._pieces.rows(), None)
        self.rate = self.facts.rate
        self._placement: SoundPlacement[Block] = SoundPlacement(
            self.rate or _USUAL_RATE, jumps=source.jumps, end_seconds=source.end_seconds
        )
        self._blocks = self._placed()
        self._head = next(self._blocks, None)

    @property
    def is_there(self) -> bool:
        """Whether any of it can be decoded."""
        return self._head is not None

    @property
    def start_seconds(self) -> float:
        """When the first sample is heard, by the file's times."""
        assert self._placement.start_seconds is not None
        return self._placement.start_seconds

    def blocks(self) -> Iterator[Block]:
        """(n, channels) float32 blocks, without a gap between them."""
        if self._head is not None:
            head, self._head = self._head, None
            yield head
        yield from self._blocks

    def write(self, file: IO[bytes]) -> None:
        """Write everything to a pipe, until the end or until nobody reads it any more."""
        try:
            with file:
                for block in self.blocks():
                    _write_all(file, np.ascontiguousarray(block).data.cast("B"))
        except BrokenPipeError:
            pass  # the code that ran ffmpeg reports why
        finally:
            self.close()

    def close(self) -> None:
        self._pieces.close()

    def _placed(self) -> Iterator[Block]:
        if self._first is None:
            return
        rows = self._pieces.rows()
        placement = self._placement
        time, samples = self._first
        yield from self._written(placement.add(time, len(samples), samples))
        for time, samples in rows:
            yield from self._written(placement.add(time, len(samples), samples))
        yield from self._written(placement.finish())
        self.facts.start_seconds, self.facts.end_seconds = self.start_seconds, placement.end_seconds
        self.facts.silence_seconds = placement.silence / placement.rate
        self.facts.dropped_seconds = placement.dropped / placement.rate
        self.facts.clock_errors = placement.clock_errors

    def _written(self, placed: Iterator[Placed[Block]]) -> Iterator[Block]:
        for one in placed:
            for left in range(one.silence, 0, -_SILENT_SAMPLES):
                yield np.zeros((min(left, _SILENT_SAMPLES), self.channels), dtype=np.float32)
            samples = one.samples[one.dropped :]
            yield _stretched(samples, len(samples) + one.stretched) if one.stretched else samples


def _write_all(file: IO[bytes], view: memoryview) -> None:
    while view:
        view = view[file.write(view) or 0 :]


def _stretched(samples: Block, count: int) -> Block:
    """The same sound, stretched or shortened to `count` samples."""
    at = np.linspace(0, len(samples) - 1, count)
    known = np.arange(len(samples))
    return np.stack([np.interp(at, known, channel) for channel in samples.T], axis=1).astype(np.float32)


class _Pieces:
    """Decodes the sound, piece after piece: (time in the file or None, (n, channels) samples at one rate)."""

    def __init__(self, source: SoundSource, facts: SoundFacts) -> None:
        self._source = source
        self._facts = facts
        self._rows = self._decoded()

    def rows(self) -> Iterator[tuple[float | None, Block]]:
        return self._rows

    def close(self) -> None:
        self._rows.close()

    def _decoded(self) -> Generator[tuple[float | None, Block]]:
        source = self._source
        with opened(source.path, look_bytes=source.look_bytes) as container:
            streams = [container.streams[number] for number in source.streams if number < len(container.streams)]
            if not streams:
                return
            mixers = {stream.index: _Mixer(source.channels, self._facts) for stream in streams}
            # At the beginning FFmpeg leaves out the encoder's delay. After a seek to it, it leaves out as much of the sound behind it. In a
            # part it goes to the first picture, behind the sound that is heard with it.
            if source.from_seconds is not None and source.from_seconds > _SECONDS_BEFORE and not source.is_part:
                container.seek(int((source.from_seconds - _SECONDS_BEFORE) * 1_000_000), backward=True, any_frame=False)
            ended = -float("inf")
            current = streams[0].index
            for stream, frame in self._frames(container, streams):
                time = None if frame.pts is None else self._in_step(seconds_of(frame.pts, frame.time_base))
                if stream.index != current:  # another stream continues where the one before has ended
                    if time is None or source.streams.index(stream.index) < source.streams.index(current) or time < ended - 0.1:
                        continue
                    yield from self._within(mixers[current].flushed())
                    current = stream.index
                if time is not None:
                    ended = max(ended, time + frame.samples / frame.sample_rate)
                yield from self._within(mixers[stream.index].mixed(frame, time))
                if source.to_seconds is not None and time is not None and time > source.to_seconds + 1:
                    break
            yield from self._within(mixers[current].flushed())

    def _frames(self, container: Any, streams: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(stream, frame). A packet that cannot be decoded leaves a gap, and a file that breaks off ends the iteration."""
        import av

        packets = container.demux(streams)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                break
            yield from ((packet.stream, frame) for frame in self._decoding(packet))

    def _decoding(self, packet: Any) -> list[Any]:
        import av

        try:
            return [frame for frame in packet.decode() if frame.samples > 0 and frame.sample_rate > 0]
        except (av.FFmpegError, ValueError):
            self._facts.errors += 1
            return []

    def _in_step(self, seconds: float) -> float:
        return seconds - sum(ahead for since, ahead in self._source.ahead if since <= seconds)

    def _within(self, rows: Iterator[tuple[float | None, Block]]) -> Iterator[tuple[float | None, Block]]:
        """What of the pieces lies between `from_seconds` and `to_seconds`."""
        low, high = self._source.from_seconds, self._source.to_seconds
        for time, samples in rows:
            if time is None:
                yield time, samples
                continue
            first = 0 if low is None else max(0, round((low - time) * self._facts.rate))
            past = len(samples) if high is None else min(len(samples), round((high - time) * self._facts.rate))
            if first < past:
                yield time + first / self._facts.rate, samples[first:past]


class _Mixer:
    """Turns decoded frames of any kind, which may change within the file, into blocks of one rate and number of channels."""

    def __init__(self, channels: int, facts: SoundFacts) -> None:
        self._channels = channels
        self._facts = facts
        #: None: the channels are those that are wanted.
        self._gains: dict[str, NDArray[np.float32] | None] = {}
        self._resampler: Any = None
        self._resampled_rate = 0
        self._held: list[Block] = []
        self._held_samples = 0
        self._held_time: float | None = None
        self._interleavers: dict[tuple[str, str, int], Any] = {}

    def mixed(self, frame: Any, time: float | None) -> Iterator[tuple[float | None, Block]]:
        rate = self._facts.rate = self._facts.rate or (frame.sample_rate if frame.sample_rate in _AAC_RATES else _USUAL_RATE)
        layout = frame.layout.name
        self._facts.layouts[layout] += 1
        if layout not in self._gains:
            gains = downmix([channel.name for channel in frame.layout.channels], self._channels)
            self._gains[layout] = None if np.array_equal(gains, np.eye(*gains.shape)) else gains
        parts = [_samples(one) for one in self._readable(frame)]
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if (mix := self._gains[layout]) is not None:
            samples = samples @ mix.T
        if frame.sample_rate == rate:
            if self._resampler is not None:
                yield from self._resampled(None)
                self._resampler = None
            yield from self._gathered(time, samples, rate)
        else:
            yield from self._gathered(None, samples[:0], rate, end=True)
            yield from self._converted(frame.sample_rate, rate, time, samples)

    def _readable(self, frame: Any) -> list[Any]:
        """The same samples in frames that PyAV can read."""
        import av

        kind, layout = frame.format, frame.layout.name
        if not kind.is_planar or frame.layout.nb_channels <= _MOST_PLANES:
            return [frame]
        key = (kind.name, layout, frame.sample_rate)
        if key not in self._interleavers:
            self._interleavers[key] = av.AudioResampler(format=kind.packed.name, layout=layout, rate=frame.sample_rate)
        return list(self._interleavers[key].resample(frame))

    def flushed(self) -> Iterator[tuple[float | None, Block]]:
        if self._resampler is not None:
            yield from self._resampled(None)
            self._resampler = None
        yield from self._gathered(None, np.zeros((0, self._channels), np.float32), self._facts.rate, end=True)

    def _gathered(self, time: float | None, samples: Block, rate: int, *, end: bool = False) -> Iterator[tuple[float | None, Block]]:
        """Joins small pieces (TrueHD has 40 samples in a packet) as long as each follows the one before."""
        follows = self._held and (
            time is None or self._held_time is None or abs(time - self._held_time - self._held_samples / rate) < 0.0015
        )
        if self._held and (not follows or end or self._held_samples >= _LEAST_SAMPLES):
            yield self._held_time, self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
            self._held, self._held_samples = [], 0
        if len(samples):
            if not self._held:
                self._held_time = time
            self._held.append(samples)
            self._held_samples += len(samples)

    def _converted(self, source_rate: int, rate: int, time: float | None, samples: Block) -> Iterator[tuple[float | None, Block]]:
        import av

        if self._resampler is None or self._resampled_rate != source_rate:
            if self._resampler is not None:
                yield from self._resampled(None)
            layout = "mono" if self._channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
            self._resampled_rate = source_rate
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono" if self._channels == 1 else "stereo")
        frame.sample_rate, frame.time_base = source_rate, Fraction(1, source_rate)
        frame.pts = None if time is None else round(time * source_rate)
        yield from self._resampled(frame)

    def _resampled(self, frame: Any) -> Iterator[tuple[float | None, Block]]:
        for made in self._resampler.resample(frame):
            time = None if made.pts is None else float(made.pts * made.time_base)
            yield time, made.to_ndarray().reshape(-1, self._channels)


_TYPES: Mapping[str, type[np.generic]] = {
    "u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64,
}  # fmt: skip
_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


def _samples(frame: Any) -> Block:
    """(n, channels) float32, full scale at 1. Read from FFmpeg's memory at once: PyAV's array takes three copies, and not of 64 bits."""
    kind, channels = frame.format.packed.name, frame.layout.nb_channels
    if frame.format.is_planar:
        samples: Block = np.empty((frame.samples, channels), np.float32)
        for channel, plane in enumerate(frame.planes):
            samples[:, channel] = np.frombuffer(plane, _TYPES[kind], frame.samples)
    else:
        values = np.frombuffer(frame.planes[0], _TYPES[kind], frame.samples * channels)
        samples = values.reshape(-1, channels).astype(np.float32)
    if kind == "u8":
        samples -= 128.0
    if kind in _FULL_SCALE:
        samples /= np.float32(_FULL_SCALE[kind])
    return samples
