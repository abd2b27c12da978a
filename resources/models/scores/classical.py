"""PySceneDetect's detectors as streams of scores. Their own cuts are not used: thresholds are applied later, to the stored scores.

There are two reasons: a changed threshold needs no decode, and PySceneDetect's frame numbers are wrong for a variable frame rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.detector import OpenStreams, ScoreStream

Score: TypeAlias = Callable[[Any, NDArray[np.uint8]], float]
"""(scenedetect's FrameTimecode, (h, w, 3) uint8 BGR) -> the score of that frame; called for every frame in order."""

_WIDTH = 256
_FRAMES_PER_SECOND = 25.0  # only to number the frames for scenedetect; no score depends on it


class ClassicalScores:
    """A ScoreStream with one column, by one of PySceneDetect's detectors.

    column: `content` (mean difference in hue, saturation and lightness from the frame before, 0..255), `histogram` (1 minus the correlation
    of the lightness histograms, 0..2) or `brightness` (mean of all channels, 0..255).
    frame_size: (width, height) in pixels; pixel_format: rgb24 or bgr24.
    """

    def __init__(
        self, column: str, *, frame_size: tuple[int, int], pixel_format: str = "bgr24", scale_flags: str = "fast_bilinear"
    ) -> None:
        self.name = column
        self.frame_size = frame_size
        self.pixel_format = pixel_format
        self.scale_flags = scale_flags
        self._score = _SCORES[column]()
        self._count = 0
        self._scores: list[NDArray[np.float32]] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        from scenedetect import FrameTimecode

        if self.pixel_format == "rgb24":
            frames = frames[..., ::-1]
        scores = np.empty(len(frames), np.float32)
        for place, frame in enumerate(frames):
            scores[place] = self._score(FrameTimecode(self._count, _FRAMES_PER_SECOND), np.ascontiguousarray(frame))
            self._count += 1
        self._scores.append(scores)

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        return {self.name: np.concatenate([np.zeros(0, np.float32), *self._scores])}


def classical_frame_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) in pixels of the small frames of a video of `width` x `height`: 256 wide, never larger than the video."""
    small = min(_WIDTH, width)
    return small, max(2, round(height * small / width))


def classical_streams(column: str) -> OpenStreams:
    """The streams of a detector that uses just one of these columns."""

    def opened(*, width: int, height: int) -> tuple[ScoreStream, ...]:
        return (ClassicalScores(column, frame_size=classical_frame_size(width, height)),)

    return opened


def _content() -> Score:
    from scenedetect.detectors import ContentDetector

    class Content(ContentDetector):  # type: ignore[misc]
        def score(self, timecode: Any, frame: NDArray[np.uint8]) -> float:
            # Its subclass AdaptiveDetector reads the score here too; with a StatsManager it would also compute edges, which nobody needs.
            self.process_frame(timecode, frame)
            return float(self._frame_score)

    return Content(min_scene_len=0).score


def _histogram() -> Score:
    from scenedetect.detectors import HistogramDetector

    alike = _metric(HistogramDetector(), without=1.0)
    return lambda timecode, frame: 1.0 - alike(timecode, frame)


def _brightness() -> Score:
    from scenedetect.detectors import ThresholdDetector

    return _metric(ThresholdDetector(), without=0.0)


def _metric(detector: Any, *, without: float) -> Score:
    """The one metric that a detector gives to a StatsManager. without: the value for a frame that has none, such as the first."""
    (name,) = detector.get_metrics()
    latest = detector.stats_manager = _LatestMetrics()

    def score(timecode: Any, frame: NDArray[np.uint8]) -> float:
        latest.metrics = {}
        detector.process_frame(timecode, frame)
        return float(latest.metrics.get(name, without))

    return score


class _LatestMetrics:
    """The part of a StatsManager that a detector needs. A StatsManager keeps a dictionary for each frame; this keeps only the last one."""

    def __init__(self) -> None:
        self.metrics: Mapping[str, float] = {}

    def metrics_exist(self, timecode: Any, names: object) -> bool:
        return False

    def set_metrics(self, timecode: Any, metrics: Mapping[str, float]) -> None:
        self.metrics = metrics


_SCORES: Mapping[str, Callable[[], Score]] = {"content": _content, "histogram": _histogram, "brightness": _brightness}
