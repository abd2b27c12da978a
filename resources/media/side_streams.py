"""Passes small raw frames from ffmpeg's pipes to the detectors, in limited memory, while ffmpeg goes on encoding.

Each pipe has a thread that empties it into a few buffers and a thread that scores them. When the detector is slower, the buffers fill, then
the pipe, and ffmpeg waits. So memory does not grow with the length of the video.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.detector import ScoreStream
from heaters_dagster.domain.profiles import SideStream
from resources.media.ffmpeg import PipeReader

_BUFFERS = 8
_BUFFER_BYTES = 1 << 20
#: A slow detector must be able to begin before it has a megabyte of its small frames.
_BUFFER_FRAMES = 32


class ScorePass:
    """The side streams that `detectors` want of one video; detectors that want the same frames share one.

    Give `side_streams` to the proxy profile and `readers()`, in the same order, to ffmpeg as targets; then call `finish`.
    """

    def __init__(self, detectors: Sequence[ScoreStream]) -> None:
        self._detectors = detectors
        self._by_side: dict[SideStream, list[ScoreStream]] = {}
        self._counts: dict[SideStream, int] = {}
        for detector in detectors:
            side = SideStream(*detector.frame_size, detector.pixel_format, detector.scale_flags)
            self._by_side.setdefault(side, []).append(detector)

    @property
    def side_streams(self) -> tuple[SideStream, ...]:
        return tuple(self._by_side)

    @property
    def frame_counts(self) -> tuple[int, ...]:
        """How many frames each side stream has given so far."""
        return tuple(self._counts.get(side, 0) for side in self._by_side)

    def readers(self) -> tuple[PipeReader, ...]:
        return tuple(self._reader(side) for side in self._by_side)

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        """All score columns of all detectors, each (frame_count,) float32."""
        return {name: column for detector in self._detectors for name, column in detector.finish().items()}

    def _reader(self, side: SideStream) -> PipeReader:
        def read(file: IO[bytes]) -> None:
            frames = max(1, min(_BUFFER_FRAMES, _BUFFER_BYTES // side.frame_bytes))
            empty: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
            filled: queue.SimpleQueue[NDArray[np.uint8] | None] = queue.SimpleQueue()
            for _ in range(_BUFFERS):
                empty.put(np.empty((frames, side.height, side.width, 3), np.uint8))
            scoring = _Scoring(self._by_side[side], empty, filled)
            scoring.start()
            try:
                while scoring.error is None:
                    buffer = empty.get()
                    count = _fill(file, buffer) // side.frame_bytes
                    self._counts[side] = self._counts.get(side, 0) + count
                    filled.put(buffer[:count])
                    if count < frames:
                        break
            finally:
                filled.put(None)
                scoring.join()
            if scoring.error is not None:
                raise scoring.error

        return read


class _Scoring(threading.Thread):
    """Gives filled buffers to the detectors and then returns them, until it gets None."""

    def __init__(
        self,
        detectors: Sequence[ScoreStream],
        empty: queue.SimpleQueue[NDArray[np.uint8]],
        filled: queue.SimpleQueue[NDArray[np.uint8] | None],
    ) -> None:
        super().__init__(name="scoring", daemon=True)
        self._detectors, self._empty, self._filled = detectors, empty, filled
        self.error: Exception | None = None

    def run(self) -> None:
        while (frames := self._filled.get()) is not None:
            if self.error is None:
                try:
                    for detector in self._detectors:
                        detector.feed(frames)
                except Exception as error:
                    self.error = error
            self._empty.put(frames.base if frames.base is not None else frames)


def _fill(file: IO[bytes], buffer: NDArray[np.uint8]) -> int:
    """Read until `buffer` is full or the pipe ends; returns the number of bytes."""
    view = buffer.reshape(-1).data
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done
