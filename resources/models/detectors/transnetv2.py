"""The network TransNetV2: best by far on fades and dissolves."""

from __future__ import annotations

import importlib.util

from heaters_dagster.domain.detector import Detector, ScoreStream
from heaters_dagster.domain.scenes import transitions
from resources.models.scores.transnetv2 import TransNetV2Scores


def _open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
    return (TransNetV2Scores(),)


def network_state() -> str:
    if importlib.util.find_spec("torch") is None:
        raise ImportError("torch is not installed: make install, or HEATERS_DETECTOR=adaptive")
    import torch

    return f"TransNetV2 on {torch.cuda.get_device_name() if torch.cuda.is_available() else 'the processor'} (torch {torch.__version__})"


DETECTOR = Detector(
    name="transnetv2",
    columns=("transnetv2",),
    # Every threshold from 0.33 to 0.38 gives the same cuts on the development footage. The authors of the network use 0.5, which never cuts
    # at flashes but misses 2 of 38 dissolves.
    default_threshold=0.35,
    open_streams=_open_streams,
    boundaries=lambda scores, threshold: transitions(scores["transnetv2"], threshold),
    curve=lambda scores: scores["transnetv2"],
    state=network_state,
)
