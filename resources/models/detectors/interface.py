"""What a shot detector does: take small frames as they leave ffmpeg, give back one score per frame and column.

A detector never decodes and never sees the file, so it can run during the proxy pass. What scores mean (threshold, boundary,
confidence) is decided afterwards by `heaters_dagster.domain.scenes`, from stored scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ScoreStream(Protocol):
    """One pass over one video. Make it with `registry.open_score_streams`, feed it every displayed frame once and in order, finish it once.

    Memory is bounded whatever the length of the video: a few hundred small frames, and eight bytes per frame and column of scores.
    """

    @property
    def name(self) -> str:
        """Different from that of any other stream of the same detector; lower-case letters and digits."""
        ...

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the frames it wants."""
        ...

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the packed 8-bit layout it wants: `rgb24` or `bgr24`."""
        ...

    @property
    def scale_flags(self) -> str:
        """FFmpeg's `flags` of the scale filter that makes the small frames."""
        ...

    def feed(self, frames: NDArray[np.uint8]) -> None:
        """Take the next frames, (n, height, width, 3) uint8, n >= 0. They may be overwritten when this returns.

        Blocks while it computes: call it from a thread of its own when something else fills the pipe meanwhile.
        Raises ModelUnavailableError if the detector's model cannot be loaded.
        """
        ...

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        """Score the frames that are still held and return all columns, each (frame_count,) float32, named as in `domain.scenes`."""
        ...
