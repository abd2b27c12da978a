"""Clips by stream copy: the packets of frames `[start, end)` of a proxy in an MP4 of their own, in this process, nothing re-encoded.

The frame index and the proxy's audio sample table say which bytes are needed, so those bytes are read and nothing else: no seeking by time,
no rounding, and one stretch of the file also when it lies in a remote store.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from heaters_dagster.domain.errors import CutError, DiskFullError, InvalidMediaError
from heaters_dagster.domain.frame_index import FrameIndex
from resources.proxy_bytes import ProxyBytes, RangeFile, open_proxy

__all__ = ["ProxyReader", "RemuxedClip", "Sample", "SampleTrack", "open_proxy", "remux", "retimed", "write_clip"]

_LARGEST_MOVIE_TIMESCALE = 2**31 - 1
_AAC_PACKET_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One packet: where its bytes are, and when it is shown, in units of its track's time base, counted from the clip's first frame."""

    byte_offset: int
    byte_size: int
    pts: int
    duration: int


@dataclass(frozen=True, slots=True)
class SampleTrack:
    """The packets of one stream of a clip, by rising pts. template: the PyAV stream whose codec parameters the copy carries."""

    template: Any
    time_base: Fraction
    samples: tuple[Sample, ...]

    def start_seconds(self) -> float:
        return float(self.samples[0].pts * self.time_base)


@dataclass(frozen=True, slots=True)
class RemuxedClip:
    """What was written. audio_offset_seconds: audio start minus video start, None without audio; within (-one audio frame, 0] unless the
    source's audio begins inside the clip. payload_sha256: hex, over the video packets' bytes in order, taken from the proxy.
    """

    frame_count: int
    duration_seconds: float
    audio_offset_seconds: float | None
    payload_sha256: str


class ProxyReader:
    """A proxy opened for cutting: its headers are parsed once, then any number of clips are cut from it.

    source: what `open_proxy` gave. Close it, or use it as a context manager. Not for several threads at once.
    Raises InvalidMediaError when the file is not a proxy.
    """

    def __init__(self, source: Path | RangeFile) -> None:
        import av

        self.bytes = ProxyBytes(source)
        try:
            self._container = av.open(str(source) if isinstance(source, Path) else source)
        except av.FFmpegError as error:
            self.bytes.close()
            raise InvalidMediaError(f"{self.bytes.name} cannot be read as video: {error.strerror}; make the proxy again") from error
        if not self._container.streams.video:
            self.close()
            raise InvalidMediaError(f"{self.bytes.name} has no video stream; make the proxy again")
        self.video = self._container.streams.video[0]
        self._audio = next(iter(self._container.streams.audio), None)

    def video_track(self, index: FrameIndex, start_frame: int, end_frame: int) -> SampleTrack:
        """The packets of frames `[start_frame, end_frame)`, the first at pts 0.

        index: must hold those frames, and frame `end_frame` too unless that is the end of the video.
        Raises CutError outside the index, InvalidMediaError when the index was made from another file.
        """
        frames = index.slice(start_frame, end_frame)
        if index.header.avcc != self.video.codec_context.extradata or index.header.time_base != self.video.time_base:
            raise self._foreign_index()
        entries = self.video.index_entries
        for row in (0, -1):
            found = entries.search_timestamp(int(frames.pts[row]), any_frame=True)
            if found < 0 or (entries[found].pos, entries[found].size) != (int(frames.byte_offset[row]), int(frames.byte_size[row])):
                raise self._foreign_index()
        pts = [*frames.pts.tolist(), index.pts_of(end_frame)]
        samples = tuple(
            Sample(offset, size, shown - pts[0], until - shown)
            for offset, size, shown, until in zip(frames.byte_offset.tolist(), frames.byte_size.tolist(), pts[:-1], pts[1:], strict=True)
        )
        return SampleTrack(self.video, index.header.time_base, samples)

    def audio_track(self, start_seconds: Fraction, end_seconds: Fraction) -> SampleTrack | None:
        """The audio packets that overlap `[start_seconds, end_seconds)` of the proxy, pts counted from start_seconds; None without any.

        The first one may begin before, by less than one packet, which the clip's edit list then hides; the last one is cut off in time.
        """
        if self._audio is None:
            return None
        entries, time_base = self._audio.index_entries, self._audio.time_base
        packet_duration = self._packet_duration(entries)
        low, high = start_seconds / time_base, end_seconds / time_base
        origin = round(low)
        samples: list[Sample] = []
        for position in range(max(0, entries.search_timestamp(int(low), any_frame=True)), len(entries)):
            entry = entries[position]
            following = entries[position + 1].timestamp if position + 1 < len(entries) else entry.timestamp + packet_duration
            if entry.timestamp >= high:
                break
            if following > low:
                until = min(following, max(entry.timestamp + 1, round(high)))
                samples.append(Sample(entry.pos, entry.size, entry.timestamp - origin, until - entry.timestamp))
        return SampleTrack(self._audio, time_base, tuple(samples)) if samples else None

    def whole_audio_track(self) -> SampleTrack | None:
        """Every audio packet at its own time, an encoder's priming before 0 too; None when there are none."""
        if self._audio is None or not len(self._audio.index_entries):
            return None
        entries = list(self._audio.index_entries)
        ends = [*(entry.timestamp for entry in entries[1:]), entries[-1].timestamp + self._packet_duration(entries)]
        samples = (Sample(entry.pos, entry.size, entry.timestamp, end - entry.timestamp) for entry, end in zip(entries, ends, strict=True))
        return SampleTrack(self._audio, self._audio.time_base, tuple(samples))

    def close(self) -> None:
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()
        self.bytes.close()

    @staticmethod
    def _packet_duration(entries: Any) -> int:
        """Of the last packet, which has no successor: that of the one before it, as all AAC packets last the same."""
        if len(entries) > 1:
            return int(entries[len(entries) - 1].timestamp - entries[len(entries) - 2].timestamp)
        return _AAC_PACKET_SAMPLES

    def _foreign_index(self) -> InvalidMediaError:
        return InvalidMediaError(f"{self.bytes.name}: the frame index was made from another file; make the proxy again")

    def __enter__(self) -> ProxyReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def remux(proxy: ProxyReader, index: FrameIndex, *, start_frame: int, end_frame: int, path: Path, title: str) -> RemuxedClip:
    """Write frames `[start_frame, end_frame)` and the audio that belongs to them to `path`, an MP4 that browsers play at once.

    index: as for `ProxyReader.video_track`. Timestamps are the proxy's minus those of the first frame, so variable frame rate stays exact.
    Raises CutError, InvalidMediaError, DiskFullError.
    """
    if not 0 <= start_frame < end_frame <= index.header.frame_count:
        raise CutError(f"frames {start_frame}..{end_frame - 1} are not a clip of a video of {index.header.frame_count} frames")
    video = proxy.video_track(index, start_frame, end_frame)
    time_base = index.header.time_base
    audio = proxy.audio_track(index.pts_of(start_frame) * time_base, index.pts_of(end_frame) * time_base)
    return write_clip(proxy.bytes, video, audio, path=path, title=title)


def retimed(encoded: Path, index: FrameIndex, *, start_frame: int, end_frame: int, path: Path, title: str) -> RemuxedClip:
    """Write an all-intra MP4 that was encoded from other pictures of the same frames anew, each frame at the frame index's own time.

    index: as for `ProxyReader.video_track`. The sound is copied as it is; it begins with the video.
    Raises InvalidMediaError when `encoded` has not one keyframe for every frame.
    """
    with ProxyReader(encoded) as reader:
        entries = list(reader.video.index_entries)
        if len(entries) != end_frame - start_frame or not all(entry.is_keyframe for entry in entries):
            raise InvalidMediaError(f"{encoded.name} has {len(entries)} frames; frames {start_frame}..{end_frame - 1} are asked for")
        pts = [index.pts_of(frame) - index.pts_of(start_frame) for frame in range(start_frame, end_frame + 1)]
        samples = tuple(Sample(entry.pos, entry.size, pts[n], pts[n + 1] - pts[n]) for n, entry in enumerate(entries))
        video = SampleTrack(reader.video, index.header.time_base, samples)
        return write_clip(reader.bytes, video, reader.whole_audio_track(), path=path, title=title)


def write_clip(source: ProxyBytes, video: SampleTrack, audio: SampleTrack | None, *, path: Path, title: str) -> RemuxedClip:
    """Write one video track, every sample a keyframe, and at most one audio track to an MP4. Raises InvalidMediaError, DiskFullError."""
    import av

    tracks = [video] if audio is None else [video, audio]
    source.expect(*_byte_span(tracks))
    digest = hashlib.sha256()
    options = {"movflags": "+faststart"}
    timescale = math.lcm(*(track.time_base.denominator for track in tracks))
    if timescale <= _LARGEST_MOVIE_TIMESCALE:
        options["movie_timescale"] = str(timescale)  # else edit lists, and with them delays, are rounded to milliseconds
    with writing_errors(path), av.open(str(path), "w", format="mp4", container_options=options) as output:
        output.metadata["title"] = title
        streams = [_copied_stream(output, track) for track in tracks]
        for number, sample in _by_time(tracks):
            data = source.read_at(sample.byte_offset, sample.byte_size)
            packet = av.Packet(data)
            packet.stream, packet.time_base = streams[number], tracks[number].time_base
            packet.pts = packet.dts = sample.pts
            packet.duration = sample.duration
            packet.is_keyframe = True
            output.mux_one(packet)
            if number == 0:
                digest.update(data)
    last = video.samples[-1]
    return RemuxedClip(
        frame_count=len(video.samples),
        duration_seconds=float((last.pts + last.duration) * video.time_base),
        audio_offset_seconds=None if audio is None else audio.start_seconds() - video.start_seconds(),
        payload_sha256=digest.hexdigest(),
    )


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turns the body's media library errors into ours, naming the file that was being written."""
    import av

    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"no room left on the disk of {path.parent} while writing {path.name}; make room and try again") from error
        if isinstance(error, av.FFmpegError):
            raise InvalidMediaError(f"{path.name} cannot be written: {error.strerror}") from error
        raise
    except av.FFmpegError as error:
        raise InvalidMediaError(f"{path.name} cannot be written: {error.strerror}") from error


def _copied_stream(output: Any, track: SampleTrack) -> Any:
    stream = output.add_stream_from_template(track.template, opaque=True)
    stream.time_base = track.time_base
    language = track.template.metadata.get("language")
    if language:
        stream.metadata["language"] = language
    return stream


def _by_time(tracks: list[SampleTrack]) -> Iterator[tuple[int, Sample]]:
    """(track number, sample) by rising time, so that the muxer holds little back."""
    unit = math.lcm(*(track.time_base.denominator for track in tracks))
    steps = [track.time_base.numerator * unit // track.time_base.denominator for track in tracks]
    timed = ([(sample.pts * steps[number], number, sample) for sample in track.samples] for number, track in enumerate(tracks))
    return ((number, sample) for _, number, sample in heapq.merge(*timed, key=lambda entry: entry[:2]))


def _byte_span(tracks: list[SampleTrack]) -> tuple[int, int]:
    samples = [sample for track in tracks for sample in track.samples]
    return min(sample.byte_offset for sample in samples), max(sample.byte_offset + sample.byte_size for sample in samples)
