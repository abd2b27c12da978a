"""What a shot detector is: score streams that look at every frame once, and a rule from stored scores to boundaries.

A stream takes small frames as they leave ffmpeg; it never decodes and never sees the file, so it can run during the proxy pass. The rule
works on stored scores, so a changed threshold needs no decode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.errors import SettingsError

Scores: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Column name -> (frame_count,) float32."""


#: Kind of a boundary at which a chapter begins, as the site, the file or a person says.
CHAPTER = "chapter"


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a shot begins. frame: its first frame, 1 <= frame < frame_count. confidence: 0..1.

    kind: CHAPTER where a chapter begins; empty: a detector has found it. transition: what the cut is and which frames it takes, as far as
    the detector tells; the range touches `frame`. Boundaries are in order of frames.
    """

    frame: int
    confidence: float
    kind: str = ""
    transition: Transition | None = None

    def __lt__(self, other: Boundary) -> bool:
        return (self.frame, self.confidence, self.kind) < (other.frame, other.confidence, other.kind)


class ScoreStream(Protocol):
    """One pass over one video. Feed it every displayed frame once and in order, finish it once.

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
        """Score the frames that are still held and return all columns, each (frame_count,) float32, named as in `Detector.columns`."""
        ...


class OpenStreams(Protocol):
    def __call__(self, *, width: int, height: int) -> Sequence[ScoreStream]:
        """The streams for a video shown at `width` x `height` pixels; those that want the same frames share one side output of ffmpeg."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One shot detector.

    name: as in HEATERS_DETECTOR. columns: of scores it decides by; detectors with the same columns share the stored scores, so a column's
    name must mean one thing. extra_columns: that its streams make too, and that help it if they are stored; scores of an older version may
    lack them. default_threshold: > 0, in the unit of its curve. open_streams: their columns together are `columns` and `extra_columns`.
    most_threshold: the greatest score that there can be, so a threshold above it cuts nowhere; without it any is taken.
    boundaries: (scores, threshold) -> where shots begin. curve: (n,) of what is compared with the threshold, for the plot.
    state: for `heaters doctor`, on what it runs; raises ImportError with the remedy when it cannot.
    """

    name: str
    columns: tuple[str, ...]
    default_threshold: float
    open_streams: OpenStreams
    boundaries: Callable[[Scores, float], Sequence[Boundary]]
    curve: Callable[[Scores], NDArray[np.float32]]
    state: Callable[[], str] | None = None
    extra_columns: tuple[str, ...] = ()
    most_threshold: float = math.inf

    def checked_threshold(self, threshold: float) -> float:
        """`threshold` if it can divide the scores of this detector. Raises SettingsError with those that can."""
        if 0 < threshold <= self.most_threshold and math.isfinite(threshold):
            return threshold
        most = f" and at most {self.most_threshold:g}" if math.isfinite(self.most_threshold) else ""
        raise SettingsError(
            f"threshold {threshold:g} of {self.name}: write a number above 0{most} (its default is {self.default_threshold:g})"
        )
