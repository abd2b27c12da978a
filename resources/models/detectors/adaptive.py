"""PySceneDetect's adaptive detector: content scores relative to those of their neighbours."""

from __future__ import annotations

from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.scenes import adaptive_ratio, jumps
from resources.models.scores.classical import classical_streams

DETECTOR = Detector(
    name="adaptive",
    columns=("content",),
    default_threshold=3.0,  # PySceneDetect's own
    most_threshold=255.0,
    open_streams=classical_streams("content"),
    boundaries=lambda scores, threshold: jumps(adaptive_ratio(scores["content"]), threshold),
    curve=lambda scores: adaptive_ratio(scores["content"]),
)
