"""Detectors by the name of the setting `HEATERS_DETECTOR`."""

from __future__ import annotations

from heaters_dagster.domain.errors import SettingsError
from resources.detectors.interface import ScoreStream


def open_score_streams(detector: str, *, width: int, height: int) -> tuple[ScoreStream, ...]:
    """The streams that `detector` needs for a video shown at `width` x `height` pixels; one ffmpeg side output each.

    All their columns together are what `domain.scenes` wants for that detector. Raises SettingsError for an unknown name.
    """
    raise SettingsError(f"{detector!r} is not a detector")
