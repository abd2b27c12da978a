"""A shot detector: how much each picture differs from the one before, on average over its pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.detector import Detector, ScoreStream
from heaters_dagster.domain.scenes import jumps

_COLUMN = "example_picture_change"


class PictureChange:
    """A ScoreStream with one column: the mean difference from the frame before, 0..255."""

    name = "picturechange"
    frame_size = (64, 36)
    pixel_format = "rgb24"
    scale_flags = "fast_bilinear"

    def __init__(self) -> None:
        self._before: NDArray[np.int16] | None = None
        self._scores: list[float] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        for frame in frames:
            now = frame.astype(np.int16)
            self._scores.append(0.0 if self._before is None else float(np.abs(now - self._before).mean()))
            self._before = now

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        return {_COLUMN: np.array(self._scores, np.float32)}


def _open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
    return (PictureChange(),)


DETECTOR = Detector(
    name="picture_change",
    columns=(_COLUMN,),
    default_threshold=20.0,
    most_threshold=255.0,
    open_streams=_open_streams,
    boundaries=lambda scores, threshold: jumps(scores[_COLUMN], threshold),
    curve=lambda scores: scores[_COLUMN],
)
