"""TransNetV2 and the pictures themselves, weighed against one another by a model that was trained on made transitions."""

from __future__ import annotations

import numpy as np

from heaters_dagster.domain.cut_transitions import from_column
from heaters_dagster.domain.detector import Boundary, Detector, Scores, ScoreStream
from resources.models.detectors.transnetv2 import network_state
from resources.models.scores.learned import KIND_COLUMN, LEARNED_COLUMN, LearnedScores
from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS


def _open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
    return (LearnedScores(),)


def _boundaries(scores: Scores, threshold: float) -> tuple[Boundary, ...]:
    column = scores[LEARNED_COLUMN]
    frames = [int(frame) for frame in np.flatnonzero(column >= threshold)]
    told = from_column(scores[KIND_COLUMN], frames)
    return tuple(Boundary(frame, float(column[frame]), transition=transition) for frame, transition in zip(frames, told, strict=True))


DETECTOR = Detector(
    name="learned",
    columns=(LEARNED_COLUMN, KIND_COLUMN, *TRANSNETV2_COLUMNS),
    default_threshold=0.5,  # the model says how likely it is; in made films whose sources it had not seen the best F1 is there
    most_threshold=1.0,
    open_streams=_open_streams,
    boundaries=_boundaries,
    curve=lambda scores: scores[LEARNED_COLUMN],
    state=network_state,
)
