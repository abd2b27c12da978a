"""Checks from the stored files whether a proxy is correct: for asset checks and tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.frame_times import TimesCompared, times_compared
from heaters_dagster.domain.progress import Report, silent
from resources.media.first_look import MediaProbe
from resources.media.frame_reader import FrameReader
from resources.media.original_times import decoded_times, packet_times
from resources.media.packet_count import forward_limit
from resources.media.proxy_bytes import RangeFile


def compared_with_original(original: Path, probe: MediaProbe, index: FrameIndex, *, report: Report = silent) -> TimesCompared:
    """Compare the whole frame index with the times at which the original shows its frames.

    The times come from the original's packets, which needs no decoding. When they differ, the original is decoded, because a damaged file
    has packets that give no frame. Raises FfmpegError, InvalidMediaError.
    """

    def compared(seconds: NDArray[np.float64]) -> TimesCompared:
        limit = forward_limit(probe.container)
        return times_compared(seconds, index, probe.jumps, forward_seconds=limit, stands_still=probe.stands_still)

    packets = packet_times(original, probe)
    if packets is not None and (found := compared(packets)).same:
        return found
    return compared(decoded_times(original, probe, report=report))


def undecodable_frames(proxy: Path | RangeFile, index: FrameIndex, frames: Iterable[int]) -> dict[int, str]:
    """frame -> reason, for those of `frames` that cannot be decoded alone from their bytes in the index to a picture of the right size."""
    problems = {}
    with FrameReader(proxy, index) as reader:
        for number in frames:
            try:
                frame = reader.frame(number)
            except InvalidMediaError as error:
                problems[number] = str(error)
                continue
            if (frame.width, frame.height) != (index.header.width, index.header.height):
                problems[number] = f"frame {number} is {frame.width}x{frame.height} pixels, not {index.header.width}x{index.header.height}"
    return problems


def sampled_frames(frame_count: int, most: int) -> list[int]:
    """The first frame, the last one, and up to `most` - 2 at even distances between, rising, each once."""
    if frame_count <= most:
        return list(range(frame_count))
    return sorted({round(step * (frame_count - 1) / (most - 1)) for step in range(most)})
