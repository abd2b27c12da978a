"""PySceneDetect's content detector: the change in hue, saturation and lightness."""

from __future__ import annotations

from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.scenes import jumps
from resources.models.scores.classical import classical_streams

DETECTOR = Detector(
    name="content",
    columns=("content",),
    default_threshold=27.0,  # PySceneDetect's own
    most_threshold=255.0,
    open_streams=classical_streams("content"),
    boundaries=lambda scores, threshold: jumps(scores["content"], threshold),
    curve=lambda scores: scores["content"],
)
