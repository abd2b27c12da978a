"""TransNetV2 together with PySceneDetect's adaptive detector."""

from __future__ import annotations

from heaters_dagster.domain.detector import Boundary, Detector, Scores, ScoreStream
from heaters_dagster.domain.scenes import adaptive_ratio, jumps, transitions
from resources.models.detectors.adaptive import DETECTOR as ADAPTIVE
from resources.models.detectors.transnetv2 import network_state, with_transitions
from resources.models.scores.classical import ClassicalScores
from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS, TransNetV2Scores

_SUSPICION = 0.6
_SAME_PLACE_FRAMES = 2


def fused(scores: Scores, threshold: float) -> tuple[Boundary, ...]:
    """The network's boundaries, and those with a lower score where the picture also jumps; a jump also gives the exact frame."""
    chance = scores["transnetv2"]
    jumped = {one.frame: one for one in jumps(adaptive_ratio(scores["content"]), ADAPTIVE.default_threshold)}
    suspected = [one for one in transitions(chance, _SUSPICION * threshold) if one.confidence <= threshold]
    found: dict[int, float] = {}
    for one in (*transitions(chance, threshold), *suspected):
        near = [jumped[frame] for frame in range(one.frame - _SAME_PLACE_FRAMES, one.frame + _SAME_PLACE_FRAMES + 1) if frame in jumped]
        if near:
            jump = max(near, key=lambda each: each.confidence)
            found[jump.frame] = 1.0 - (1.0 - one.confidence) * (1.0 - jump.confidence)
        elif one.confidence > threshold:
            found[one.frame] = one.confidence
    return with_transitions([Boundary(frame, confidence) for frame, confidence in sorted(found.items())], scores)


def _open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
    """Both use the small frames of the network: on the development footage the content detector finds as much at 48x27 as at 256 pixels."""
    network = TransNetV2Scores(both_heads=True)
    small = ClassicalScores("content", frame_size=network.frame_size, pixel_format=network.pixel_format, scale_flags=network.scale_flags)
    return network, small


DETECTOR = Detector(
    name="fused",
    columns=("transnetv2", "content"),
    extra_columns=TRANSNETV2_COLUMNS[1:],
    default_threshold=0.35,
    most_threshold=1.0,
    open_streams=_open_streams,
    boundaries=fused,
    curve=lambda scores: scores["transnetv2"],
    state=network_state,
)
