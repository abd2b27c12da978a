"""Clips by stream copy: puts the packets of frames `[start, end)` of a proxy into a new MP4, in this process, without encoding.

The frame index and the proxy's audio sample table say which bytes are needed, and only these are read: there is no seeking by time and no
rounding, and it is one range of the file, also in a remote store.
"""

from __future__ import annotations

import errno
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import CutError, DiskFullError, InvalidMediaError, NotFoundError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.proxy_bytes import ProxyBytes, RangeFile, media_input
from resources.media.proxy_tables import RemoteTrack, remote_tables

_LARGEST_MOVIE_TIMESCALE = 2**31 - 1
_AAC_PACKET_SAMPLES = 1024


@dataclass(frozen=True, slots=True, eq=False)
class SampleTrack:
    """The packets of one stream of a clip, by rising pts: n >= 1 rows in arrays, because a clip may be hours long.

    template: the PyAV stream whose codec parameters the copy gets. byte_offset, byte_size: where each packet is in the source.
    pts, duration: in units of time_base seconds, pts counted from the clip's first frame; a sound may begin before it. All (n,) int64.
    """

    template: Any
    time_base: Fraction
    byte_offset: NDArray[np.int64]
    byte_size: NDArray[np.int64]
    pts: NDArray[np.int64]
    duration: NDArray[np.int64]

    @property
    def start_seconds(self) -> float:
        return float(int(self.pts[0]) * self.time_base)

    @property
    def end_seconds(self) -> float:
        return float(int(self.pts[-1] + self.duration[-1]) * self.time_base)


@dataclass(frozen=True, slots=True)
class RemuxedClip:
    """What was written. audio_offset_seconds: audio start minus video start, None without audio; within (-one audio frame, 0] unless the
    source's audio begins inside the clip. payload_sha256: hex, over the video packets' bytes in order, taken from the proxy.
    """

    frame_count: int
    duration_seconds: float
    audio_offset_seconds: float | None
    payload_sha256: str

    @property
    def has_sound(self) -> bool:
        return self.audio_offset_seconds is not None


class ProxyReader:
    """A proxy opened for cutting: its headers are parsed once, then any number of clips can be cut.

    source: from `open_proxy`. Close it, or use it as a context manager. Use it in one thread only.
    Raises InvalidMediaError when the file is not a proxy.
    """

    def __init__(self, source: Path | RangeFile) -> None:
        import av

        self.bytes = ProxyBytes(source)
        self._tables = remote_tables(source) if isinstance(source, RangeFile) else None
        try:
            # The headers of a proxy say everything; without this, FFmpeg would also read megabytes of pictures to guess the same facts.
            self._container = av.open(self._tables.header_file() if self._tables else media_input(source), options={"probesize": "32"})
        except av.FFmpegError as error:
            self.bytes.close()
            raise library_failure(f"{self.bytes.name} cannot be read as video", error, "make the proxy again") from error
        if not self._container.streams.video:
            self.close()
            raise InvalidMediaError(f"{self.bytes.name} has no video stream; make the proxy again")
        self.video = self._container.streams.video[0]
        self._audio = next(iter(self._container.streams.audio), None)

    def video_track(self, index: FrameIndex, start_frame: int, end_frame: int) -> SampleTrack:
        """The packets of frames `[start_frame, end_frame)`, the first at pts 0.

        index: must hold those frames, and also frame `end_frame` unless that is the end of the video.
        Raises CutError outside the index, InvalidMediaError when the index was made from another file.
        """
        frames = index.slice(start_frame, end_frame)
        if index.header.avcc != self.video.codec_context.extradata or index.header.time_base != self.video.time_base:
            raise self._foreign_index()
        if not self._is_of(index, frames):
            raise self._foreign_index()
        return SampleTrack(self.video, index.header.time_base, frames.byte_offset, frames.byte_size, *_shown(index, start_frame, end_frame))

    def audio_track(self, start_seconds: Fraction, end_seconds: Fraction) -> SampleTrack | None:
        """The audio packets that overlap `[start_seconds, end_seconds)` of the proxy, pts counted from there; None without audio.

        The first one may begin less than one packet earlier, and the clip's edit list hides that part; the last one gets a shorter
        duration.
        """
        if self._audio is None:
            return None
        time_base = self._audio.time_base
        low, high = start_seconds / time_base, end_seconds / time_base
        track = self._audio_around(math.floor(low), math.ceil(high))
        if track is None:
            return None
        ends = track.pts + track.duration
        overlapping = (track.pts < math.ceil(high)) & (ends > math.floor(low))
        pts, ends = track.pts[overlapping], ends[overlapping]
        if not len(pts):
            return None
        duration = np.maximum(1, np.minimum(ends, round(high)) - pts)
        return SampleTrack(self._audio, time_base, track.byte_offset[overlapping], track.byte_size[overlapping], pts - round(low), duration)

    def whole_audio_track(self) -> SampleTrack | None:
        """Every audio packet at its own time, also those before 0 that only start the decoder; None when there are none."""
        return None if self._audio is None else _audio_packets(self._audio, 0, len(self._audio.index_entries))

    def _audio_around(self, low: int, high: int) -> SampleTrack | None:
        """The audio packets from the one at `low` to the one before `high`, in units of its time, and perhaps one or two more."""
        if self._tables is not None and self._tables.audio is not None:
            return _remote_packets(self._audio, self._tables.audio, low, high)
        if self._audio is None:
            return None
        entries = self._audio.index_entries
        first = max(0, entries.search_timestamp(low, any_frame=True))
        past = max(0, entries.search_timestamp(high - 1, any_frame=True)) + 1
        return _audio_packets(self._audio, first, past)

    def _is_of(self, index: FrameIndex, frames: FrameIndex) -> bool:
        """Whether the first and the last of `frames` are where the proxy has them."""
        if self._tables is not None and self._tables.video is not None:
            video, first, last = self._tables.video, frames.first_frame, frames.first_frame + len(frames) - 1
            sizes = [int(video.sizes(number, number + 1)[0]) for number in (first, last) if number < video.count]
            return video.count == index.header.frame_count and sizes == [int(frames.byte_size[0]), int(frames.byte_size[-1])]
        entries = self.video.index_entries
        for row in (0, -1):
            found = entries.search_timestamp(int(frames.pts[row]), any_frame=True)
            if found < 0 or (entries[found].pos, entries[found].size) != (int(frames.byte_offset[row]), int(frames.byte_size[row])):
                return False
        return True

    def close(self) -> None:
        self._container.close()
        self.bytes.close()

    def _foreign_index(self) -> InvalidMediaError:
        return InvalidMediaError(f"{self.bytes.name}: the frame index was made from another file; make the proxy again")

    def __enter__(self) -> ProxyReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def remux(proxy: ProxyReader, index: FrameIndex, *, start_frame: int, end_frame: int, path: Path, title: str) -> RemuxedClip:
    """Write frames `[start_frame, end_frame)` and their audio to `path`, an MP4 that browsers can play before they have all of it.

    index: as for `ProxyReader.video_track`. Timestamps are the proxy's minus those of the first frame, so variable frame rate stays exact.
    Raises CutError, InvalidMediaError, DiskFullError.
    """
    if not 0 <= start_frame < end_frame <= index.header.frame_count:
        raise CutError(f"frames {start_frame}..{end_frame - 1} are not a clip: the video has {counted(index.header.frame_count, 'frame')}")
    video = proxy.video_track(index, start_frame, end_frame)
    return write_clip(proxy.bytes, video, _sound_of(proxy, index, start_frame, end_frame), path=path, title=title)


def remux_sound(proxy: ProxyReader, index: FrameIndex, *, start_frame: int, end_frame: int, path: Path) -> None:
    """Write only the audio that belongs to frames `[start_frame, end_frame)` to `path`, an MP4.

    index: as for `ProxyReader.video_track`. Raises NotFoundError when there is none, InvalidMediaError, DiskFullError.
    """
    audio = _sound_of(proxy, index, start_frame, end_frame)
    if audio is None:
        raise NotFoundError(f"frames {start_frame}..{end_frame - 1} have no sound")
    _write_tracks(proxy.bytes, [audio], path=path, title="")


def _sound_of(proxy: ProxyReader, index: FrameIndex, start_frame: int, end_frame: int) -> SampleTrack | None:
    time_base = index.header.time_base
    return proxy.audio_track(index.pts_of(start_frame) * time_base, index.pts_of(end_frame) * time_base)


def retimed(encoded: Path, index: FrameIndex, *, start_frame: int, end_frame: int, path: Path, title: str) -> RemuxedClip:
    """Write an all-intra MP4 that was encoded from other pictures of the same frames again, with the times of the frame index.

    index: as for `ProxyReader.video_track`. The sound is copied as it is; it begins with the video.
    Raises InvalidMediaError unless `encoded` has one keyframe for every frame.
    """
    with ProxyReader(encoded) as reader:
        entries = list(reader.video.index_entries)
        if len(entries) != end_frame - start_frame or not all(entry.is_keyframe for entry in entries):
            raise InvalidMediaError(
                f"{encoded.name} has {counted(len(entries), 'frame')}, not the frames {start_frame}..{end_frame - 1} that it should have"
            )
        rows = np.array([(entry.pos, entry.size) for entry in entries], dtype=np.int64)
        video = SampleTrack(reader.video, index.header.time_base, rows[:, 0], rows[:, 1], *_shown(index, start_frame, end_frame))
        return write_clip(reader.bytes, video, reader.whole_audio_track(), path=path, title=title)


def write_clip(source: ProxyBytes, video: SampleTrack, audio: SampleTrack | None, *, path: Path, title: str) -> RemuxedClip:
    """Write one video track, every sample a keyframe, and at most one audio track to an MP4. Raises InvalidMediaError, DiskFullError."""
    payload_sha256 = _write_tracks(source, [video] if audio is None else [video, audio], path=path, title=title)
    return RemuxedClip(
        frame_count=len(video.pts),
        duration_seconds=video.end_seconds,
        audio_offset_seconds=None if audio is None else audio.start_seconds - video.start_seconds,
        payload_sha256=payload_sha256,
    )


def _write_tracks(source: ProxyBytes, tracks: list[SampleTrack], *, path: Path, title: str) -> str:
    """Returns the SHA-256 (hex) of the first track's packets in order."""
    import av

    source.expect(*_byte_span(tracks))
    digest = hashlib.sha256()
    options = {"movflags": "+faststart"}
    timescale = math.lcm(*(track.time_base.denominator for track in tracks))
    if timescale <= _LARGEST_MOVIE_TIMESCALE:
        options["movie_timescale"] = str(timescale)  # otherwise edit lists, and with them delays, are rounded to milliseconds
    with writing_errors(path), av.open(str(path), "w", format="mp4", container_options=options) as output:
        output.metadata["title"] = title
        streams = [_copied_stream(output, track) for track in tracks]
        for number, row in _by_time(tracks):
            track = tracks[number]
            data = source.read_at(int(track.byte_offset[row]), int(track.byte_size[row]))
            packet = av.Packet(data)
            packet.stream, packet.time_base = streams[number], track.time_base
            packet.pts = packet.dts = int(track.pts[row])
            packet.duration = int(track.duration[row])
            packet.is_keyframe = True
            output.mux_one(packet)
            if number == 0:
                digest.update(data)
    source.expect(0, 0)
    return digest.hexdigest()


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turns errors of the media library in the body into ours, with the name of the file that is written."""
    import av

    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"no room left on the disk of {path.parent} while writing {path.name}; make room and try again") from error
        if isinstance(error, av.FFmpegError):
            raise library_failure(f"{path.name} cannot be written", error) from error
        raise
    except av.FFmpegError as error:
        raise library_failure(f"{path.name} cannot be written", error) from error


def _copied_stream(output: Any, track: SampleTrack) -> Any:
    stream = output.add_stream_from_template(track.template, opaque=True)
    stream.time_base = track.time_base
    stream.codec_context.bit_rate = 0  # of the clip, not of the proxy, whose whole header would have to be read for it
    if track.template.type == "video":  # else it would depend on what of the proxy FFmpeg happened to decode
        stream.codec_context.sample_aspect_ratio = track.template.sample_aspect_ratio or Fraction(1)
    language = track.template.metadata.get("language")
    if language:
        stream.metadata["language"] = language
    return stream


def _remote_packets(stream: Any, track: RemoteTrack, low: int, high: int) -> SampleTrack | None:
    """As `_audio_packets`, of the packets from `low` to `high`."""
    later = track.shown_later or 0
    first, past = track.numbers(low - later, high - later)
    found = track.packets(first, past)
    if not len(found.byte_size):
        return None
    steps = np.diff(found.times)
    if past == track.count:
        steps[-1] = steps[-2] if len(steps) > 1 else _AAC_PACKET_SAMPLES
    return SampleTrack(stream, stream.time_base, found.byte_offset, found.byte_size, found.times[:-1] + later, steps)


def _audio_packets(stream: Any, first: int, past: int) -> SampleTrack | None:
    """Packets `[first, past)` of the sample table as they are. The last packet of the file gets the duration of the one before it."""
    entries = stream.index_entries[first : past + 1]
    if not entries:
        return None
    rows = np.array([(entry.pos, entry.size, entry.timestamp) for entry in entries], dtype=np.int64)
    steps = np.diff(rows[:, 2])
    if len(rows) <= past - first:
        steps = np.append(steps, steps[-1] if len(steps) else _AAC_PACKET_SAMPLES)
    return SampleTrack(stream, stream.time_base, rows[: len(steps), 0], rows[: len(steps), 1], rows[: len(steps), 2], steps)


def _shown(index: FrameIndex, start_frame: int, end_frame: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(pts counted from the first, duration) of frames `[start_frame, end_frame)`."""
    pts = np.append(index.slice(start_frame, end_frame).pts, index.pts_of(end_frame))
    return pts[:-1] - pts[0], np.diff(pts)


def _by_time(tracks: list[SampleTrack]) -> Iterator[tuple[int, int]]:
    """(track number, row) by rising time, so that the muxer has to hold back little."""
    unit = math.lcm(*(track.time_base.denominator for track in tracks))
    times = [track.pts * (track.time_base.numerator * unit // track.time_base.denominator) for track in tracks]
    numbers = np.repeat(np.arange(len(tracks)), [len(track.pts) for track in tracks])
    rows = np.concatenate([np.arange(len(track.pts)) for track in tracks])
    for place in np.argsort(np.concatenate(times), kind="stable"):
        yield int(numbers[place]), int(rows[place])


def _byte_span(tracks: list[SampleTrack]) -> tuple[int, int]:
    low = min(int(track.byte_offset.min()) for track in tracks)
    return low, max(int((track.byte_offset + track.byte_size).max()) for track in tracks)
