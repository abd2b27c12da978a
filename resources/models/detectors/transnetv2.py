"""The network TransNetV2: best by far on fades and dissolves."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from heaters_dagster.domain.cut_transitions import told_by_the_network
from heaters_dagster.domain.detector import Boundary, Detector, Scores, ScoreStream
from heaters_dagster.domain.scenes import transitions
from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS, TransNetV2Scores
from resources.models.scores.transnetv2_ways import Way, chosen_way, has_byte_instructions


def _open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
    return (TransNetV2Scores(both_heads=True),)


def with_transitions(found: Sequence[Boundary], scores: Scores) -> tuple[Boundary, ...]:
    """The boundaries with what the second head tells of them, if it was stored. found: in order of frames."""
    part = scores.get(TRANSNETV2_COLUMNS[1])
    if part is None:
        return tuple(found)
    told = told_by_the_network(part, [one.frame for one in found])
    return tuple(replace(one, transition=transition) for one, transition in zip(found, told, strict=True))


def network_state() -> str:
    way = chosen_way()
    if way is Way.BYTES:
        return f"TransNetV2 on the processor in 8-bit integers (OpenVINO {version('openvino')})"
    if importlib.util.find_spec("torch") is None:
        raise ImportError("torch is not installed: make install, or HEATERS_DETECTOR=adaptive")
    import torch

    if way is Way.GPU:
        return f"TransNetV2 on {torch.cuda.get_device_name()} (torch {torch.__version__})"
    slower = "" if not has_byte_instructions() else "; faster with pip install openvino"
    return f"TransNetV2 on the processor (torch {torch.__version__}){slower}"


DETECTOR = Detector(
    name="transnetv2",
    columns=TRANSNETV2_COLUMNS[:1],
    extra_columns=TRANSNETV2_COLUMNS[1:],
    # Every threshold from 0.33 to 0.38 gives the same cuts on the development footage in bfloat16. In bytes there is a false one more below
    # 0.352, and at 0.38 two hard ones are lost. Its authors use 0.5, which never cuts at flashes but misses 2 of 38 dissolves.
    default_threshold=0.35,
    most_threshold=1.0,
    open_streams=_open_streams,
    boundaries=lambda scores, threshold: with_transitions(transitions(scores["transnetv2"], threshold), scores),
    curve=lambda scores: scores["transnetv2"],
    state=network_state,
)
