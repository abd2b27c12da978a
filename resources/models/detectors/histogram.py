"""PySceneDetect's histogram detector: the change in how lightness is distributed."""

from __future__ import annotations

from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.scenes import jumps
from resources.models.scores.classical import classical_streams

DETECTOR = Detector(
    name="histogram",
    columns=("histogram",),
    default_threshold=0.2,  # PySceneDetect's own
    most_threshold=2.0,  # one less the correlation of two histograms, which may be -1
    open_streams=classical_streams("histogram"),
    boundaries=lambda scores, threshold: jumps(scores["histogram"], threshold),
    curve=lambda scores: scores["histogram"],
)
