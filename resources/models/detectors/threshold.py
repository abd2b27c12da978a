"""PySceneDetect's threshold detector: cuts in the dark between two pictures, where the brightness is below the threshold."""

from __future__ import annotations

from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.scenes import fades
from resources.models.scores.classical import classical_streams

DETECTOR = Detector(
    name="threshold",
    columns=("brightness",),
    default_threshold=12.0,  # PySceneDetect's own
    most_threshold=255.0,
    open_streams=classical_streams("brightness"),
    boundaries=lambda scores, threshold: fades(scores["brightness"], threshold),
    curve=lambda scores: scores["brightness"],
)
