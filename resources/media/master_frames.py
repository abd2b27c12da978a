"""The frames of a clip in a gold master, found by their numbers, and the sound that goes with them.

By number, never by time: Matroska rounds times to milliseconds, and where an original has several frames at one moment, or a wrong time,
the proxy shows them at other times than the master.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import seconds_of
from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.proxy_bytes import RangeFile, media_input
from resources.media.remuxer import writing_errors

#: Frames go to ffmpeg at even distances: their times come from the frame index.
_FRAME_SECONDS = Fraction(1, 25)
#: Seconds of sound before and after the clip that are decoded with it, because a decoder needs some packets to start.
_SOUND_MARGIN_SECONDS = 0.5
_FRAMES_OF_SOUND_BEFORE = 12


@dataclass(frozen=True, slots=True)
class MasterClip:
    """Where the frames of a clip are: in `path`, from frame `first` on. sounds: indexes of the sound's streams in `path`.

    whole_count: frames of the master, None when `path` holds only the clip's part of it. start_seconds: when the clip begins, by the
    times of that file's sound. called: the name of the master in messages.
    """

    path: Path
    first: int
    frame_count: int
    whole_count: int | None
    sounds: tuple[int, ...]
    start_seconds: float
    called: str

    @property
    def is_part(self) -> bool:
        return self.whole_count is None

    def write(self, file: IO[bytes]) -> None:
        """The clip's frames into a pipe, as Matroska. Raises InvalidMediaError when they are not all there."""
        import av

        found, copy = 0, None
        try:
            with file, av.open(_Pipe(file), "w", format="matroska") as output:
                for number, packet in _numbered(self.path, (), self.first, self.whole_count):
                    if number is None or number < self.first:
                        continue
                    if found == self.frame_count:
                        break
                    copy = copy or output.add_stream_from_template(packet.stream, opaque=True)
                    packet.stream, packet.time_base, packet.duration = copy, Fraction(1, 1000), int(_FRAME_SECONDS * 1000)
                    packet.pts = packet.dts = found * packet.duration
                    output.mux_one(packet)
                    found += 1
        except BrokenPipeError:
            return  # the code that ran ffmpeg reports why
        except av.FFmpegError as error:
            raise library_failure(f"{self.called} cannot be read", error, "make it again") from error
        if found < self.frame_count:
            raise InvalidMediaError(
                f"{self.called} ends {counted(self.frame_count - found, 'frame')} before the end of the clip: make it again"
            )


class _Pipe:
    """The methods that PyAV needs to write to a file; a pipe can do no more."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        return len(data)


def master_clip(
    master: Path | RangeFile,
    *,
    start_frame: int,
    end_frame: int,
    frame_count: int,
    start_seconds: float,
    duration_seconds: float,
    sounds: tuple[int, ...],
    sound_count: int,
    folder: Path,
    called: str,
) -> MasterClip:
    """Find frames `[start_frame, end_frame)` of a master with `frame_count` frames. Of a remote master the part around them is copied into
    `folder`, and nothing else of it is read, unless several frames share a time.

    start_seconds: when the clip begins, counted from frame 0, by the original's times. sounds: which of the original's `sound_count`
    sounds are used, by their number among them. Raises InvalidMediaError when the master has not that many frames, or cannot be read.
    """
    import av

    try:
        with av.open(media_input(master)) as container:
            stream = container.streams.video[0]
            origin = next((float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.size), 0.0)
            streams = _sound_streams(container, sounds, sound_count)
            _check_count(master, container, frame_count, called)
            begins, numbers = origin + start_seconds, tuple(one.index for one in streams)
            if isinstance(master, Path):
                return MasterClip(master, start_frame, end_frame - start_frame, frame_count, numbers, begins, called)
            path = folder / "master.mkv"
            with writing_errors(path):
                _copy_part(master, [stream, *streams], path, start_frame, end_frame, frame_count, begins + duration_seconds)
    except av.FFmpegError as error:
        raise library_failure(f"{called} cannot be read", error, "make it again") from error
    return MasterClip(path, 0, end_frame - start_frame, None, tuple(range(1, 1 + len(streams))), begins, called)


def _check_count(master: Path | RangeFile, container: Any, frame_count: int, called: str) -> None:
    """The index of a master gives the number of frames if it lists every frame; otherwise they are counted."""
    import av

    if _index_names_all(container, frame_count):
        return
    with av.open(media_input(master)) as whole:
        found = sum(1 for packet in whole.demux(whole.streams.video[0]) if packet.size)
    if found != frame_count:
        raise InvalidMediaError(
            f"{called} has {counted(found, 'frame')}, the proxy {frame_count}: make the gold master again, or export by stream copy"
        )


def frame_seconds(master: Path | RangeFile, frame_count: int, *, called: str) -> NDArray[np.float64]:
    """(n,) when each frame of a master with `frame_count` frames is shown, by its own times. Raises InvalidMediaError."""
    import av

    try:
        with av.open(media_input(master)) as container:
            stream = container.streams.video[0]
            if _index_names_all(container, frame_count):
                return np.array([entry.timestamp for entry in stream.index_entries]) * float(stream.time_base)
        with av.open(media_input(master)) as container:
            return np.array([seconds_of(packet.pts, packet.time_base) for packet in container.demux(video=0) if packet.size])
    except av.FFmpegError as error:
        raise library_failure(f"{called} cannot be read", error, "make it again") from error


def _index_names_all(container: Any, frame_count: int) -> bool:
    stream = container.streams.video[0]
    container.seek(0, stream=stream)  # the index lies at the end of the file, and is read when it is needed
    return len(stream.index_entries) == frame_count


def _sound_streams(container: Any, sounds: tuple[int, ...], sound_count: int) -> list[Any]:
    """The streams of the sound that is used. When the master lacks some of the original's: its default stream, or else the first."""
    from av.stream import Disposition

    kept = list(container.streams.audio)
    if len(kept) == sound_count:
        return [kept[number] for number in sounds]
    default = next((stream for stream in kept if stream.disposition & Disposition.default), next(iter(kept), None))
    return [default] if default is not None and sounds else []


def _numbered(master: Path | RangeFile, sounds: tuple[int, ...], first: int, whole_count: int | None) -> Iterator[tuple[int | None, Any]]:
    """(number of the frame, None for sound; packet), from `first` on or from a little before it.

    whole_count: frames of the file; None for one that is read from its beginning.
    """
    import av

    with av.open(media_input(master)) as container:
        stream = container.streams.video[0]
        if whole_count is not None and _index_names_all(container, whole_count):
            container.seek(stream.index_entries[first].timestamp, stream=stream, backward=True)
            number: int | None = None
            for packet in container.demux([stream, *(container.streams[sound] for sound in sounds)]):
                if packet.size and packet.stream.index == stream.index:
                    number = number + 1 if number is not None else stream.index_entries.search_timestamp(packet.pts, any_frame=True)
                    yield number, packet
                elif packet.size:
                    yield None, packet
            return
    with av.open(media_input(master)) as container:  # opened again: after a seek, Matroska leaves out frames that share a time
        stream, number = container.streams.video[0], -1
        for packet in container.demux([stream, *(container.streams[sound] for sound in sounds)]):
            if packet.size and packet.stream.index == stream.index:
                number += 1
                yield number, packet
            elif packet.size:
                yield None, packet


def _copy_part(
    master: RangeFile, streams: list[Any], path: Path, start_frame: int, end_frame: int, frame_count: int, end_seconds: float
) -> None:
    """Copy frames `[start_frame, end_frame)` and the sound around them, at their times, to a Matroska file."""
    import av

    with av.open(str(path), "w", format="matroska") as output:
        copies = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        sounds = tuple(stream.index for stream in streams[1:])
        for number, packet in _numbered(master, sounds, max(0, start_frame - _FRAMES_OF_SOUND_BEFORE), frame_count):
            time = packet.pts * packet.time_base
            if number is not None and not start_frame <= number < end_frame:
                if number >= end_frame and time > end_seconds + _SOUND_MARGIN_SECONDS:
                    break
                continue
            packet.stream = copies[packet.stream.index]
            output.mux_one(packet)
