"""Gold masters of originals whose clock is wrong: the same packets, each at the time that the proxy gives it.

Matroska has no times that go back: ffmpeg gives all that follows such a step one and the same time, to a millisecond. And who cuts a clip
out of a master would look for its sound in the hours that the clock jumped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from heapq import merge
from math import nan
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import ClockJump, MendedTimes, seconds_of, sound_in_step
from heaters_dagster.domain.media_failures import library_failure
from resources.media.first_look import MediaProbe, opened
from resources.media.packet_count import is_stream
from resources.media.remuxer import writing_errors

#: Tags that the muxer writes itself.
_WRITTEN_ANEW = frozenset({"ENCODER", "DURATION"})


def has_jumps(found: MediaProbe) -> bool:
    """Whether a master must not have the times that ffmpeg gives it.

    In a broadcast stream it may: there ffmpeg lets a new programme follow the one before, with picture and sound together.
    """
    return bool(found.jumps) and not is_stream(found.container)


def file_clock(original: Path, found: MediaProbe, told: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times by the file's own clock. told: the times from ffmpeg, which counts from the file's first moment unless the clock jumps."""
    if has_jumps(found):
        return told
    with opened(original, look_bytes=found.look_bytes) as container:
        return told + (container.start_time or 0) / 1_000_000


def clock_is_wrong(found: MediaProbe, told: NDArray[np.float64], shown: MendedTimes) -> bool:
    """Whether a master has to be written again with the right times. told: (n,) when each frame is shown, by the file; shown: mended."""
    return not is_stream(found.container) and bool(shown.jumps or shown.wild.any() or np.any(np.diff(told) < 0))


def write_in_step(
    master: Path, original: Path, found: MediaProbe, path: Path, *, shown: MendedTimes, sounds: Sequence[int], called: str
) -> None:
    """Write the packets of `master` to `path`, at the times of frames and sounds on one clock.

    shown: of the frames. sounds: index in the original of each sound of the master. Each stream is read by itself, because the wrong times
    put packets of one moment far from each other. Raises InvalidMediaError, DiskFullError.
    """
    import av

    packets = _sound_times(original, found, sounds)
    try:
        times = [shown.seconds]
        for number, seconds in enumerate(packets):
            with av.open(str(master)) as container:
                times.append(_in_step(container, container.streams.audio[number], seconds, shown.jumps))
        zero = min(float(one[0]) for one in times if len(one))
        with writing_errors(path), ExitStack() as stack, av.open(str(path), "w", format="matroska") as output:
            inputs = [stack.enter_context(av.open(str(master))) for _ in times]
            streams = [inputs[0].streams.video[0], *(one.streams.audio[number] for number, one in enumerate(inputs[1:]))]
            copies = [_copied(output, stream) for stream in streams]
            output.metadata.update({name: value for name, value in inputs[0].metadata.items() if name.upper() not in _WRITTEN_ANEW})
            output.set_chapters(inputs[0].chapters())
            rows = [
                _timed(number, one.demux(stream), seconds - zero)
                for number, (one, stream, seconds) in enumerate(zip(inputs, streams, times, strict=True))
            ]
            for milliseconds, number, packet in merge(*rows, key=itemgetter(0, 1)):
                packet.stream, packet.time_base = copies[number], Fraction(1, 1000)
                packet.pts = packet.dts = milliseconds
                output.mux_one(packet)
    except av.FFmpegError as error:
        raise library_failure(f"{called} cannot be read", error) from error


def _timed(number: int, packets: Iterator[Any], seconds: NDArray[np.float64]) -> Iterator[tuple[int, int, Any]]:
    """(milliseconds, number of the stream, packet). seconds: (n,) of all packets."""
    filled = (packet for packet in packets if packet.size)
    for milliseconds, packet in zip(np.round(seconds * 1000).astype(np.int64).tolist(), filled, strict=True):
        yield milliseconds, number, packet


def _copied(output: Any, stream: Any) -> Any:
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.time_base, copy.disposition = stream.time_base, stream.disposition
    copy.metadata.update({name: value for name, value in stream.metadata.items() if name.upper() not in _WRITTEN_ANEW})
    return copy


def _sound_times(original: Path, found: MediaProbe, sounds: Sequence[int]) -> list[NDArray[np.float64]]:
    """For each of the sounds (n,), the times of its packets in the original."""
    import av

    seconds: dict[int, list[float]] = {number: [] for number in sounds}
    if sounds:
        with opened(original, look_bytes=found.look_bytes) as container, suppress(av.FFmpegError):  # cut off: what came before counts
            for packet in container.demux([container.streams[number] for number in sounds]):
                if packet.size:
                    seconds[packet.stream.index].append(nan if packet.pts is None else seconds_of(packet.pts, packet.time_base))
    return [np.array(seconds[number]) for number in sounds]


def _in_step(master: Any, stream: Any, seconds: NDArray[np.float64], jumps: Sequence[ClockJump]) -> NDArray[np.float64]:
    """When each packet of a sound of the master is heard. seconds: of the original's packets.

    Without a time for each, because it was encoded anew or the original does not say it, the packets follow each other.
    """
    lengths = np.array([seconds_of(packet.duration or 0, packet.time_base) for packet in master.demux(stream) if packet.size])
    if len(lengths) == len(seconds) and not np.isnan(seconds).any():
        return sound_in_step(seconds, jumps)
    first = seconds[~np.isnan(seconds)][:1]
    return (float(first[0]) if len(first) else 0.0) + np.append(0.0, np.cumsum(lengths))[:-1]
