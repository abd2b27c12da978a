"""Takes the looks of all frames of a video while its proxy is made, from the same small side stream as the detector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.looks import SMALL_SIZE, Looks, joined, looks_of


class LookStream:
    """A ScoreStream that gives no scores: read `looks` when the pass is finished."""

    name = "looks"
    frame_size = SMALL_SIZE
    pixel_format = "rgb24"
    scale_flags = "bicubic"

    def __init__(self) -> None:
        self._parts: list[Looks] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        self._parts.append(looks_of(frames))

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        return {}

    @property
    def looks(self) -> Looks:
        """Of every frame that was fed."""
        return joined(self._parts)
