"""Detectors by the name of the setting `HEATERS_DETECTOR`."""

from __future__ import annotations

from heaters_dagster.domain.scenes import columns_of
from resources.models.detectors.classical import ClassicalScores, classical_frame_size
from resources.models.detectors.interface import ScoreStream
from resources.models.detectors.transnetv2 import TransNetV2Scores


def open_score_streams(detector: str, *, width: int, height: int) -> tuple[ScoreStream, ...]:
    """The streams that `detector` needs for a video shown at `width` x `height` pixels; one ffmpeg side output for each kind of frame.

    All their columns together are what `domain.scenes` wants for that detector. Raises SettingsError for an unknown name.
    """
    columns = columns_of(detector)
    if "transnetv2" not in columns:
        return tuple(ClassicalScores(column, frame_size=classical_frame_size(width, height)) for column in columns)
    network = TransNetV2Scores()
    # The others look at the network's frames: on the development footage they find as much at 48x27 as at 256 pixels width.
    others = [
        ClassicalScores(column, frame_size=network.frame_size, pixel_format=network.pixel_format, scale_flags=network.scale_flags)
        for column in columns
        if column != network.name
    ]
    return (network, *others)
