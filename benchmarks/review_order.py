"""What a reviewer finds in the first fifth of the queue: least confident clips first, against the order of time, on hand-checked footage.

The reviewer is made up: they go through the clips that a detector cuts, and make of its cuts the hand-checked ones. What is to be
corrected, and at which clips it is found, is counted as `heaters evaluate` counts it in real reviews. HEATERS_FOOTAGE names the footage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.detection import as_stored
from benchmarks.table import Row
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.detector import Scores
from heaters_dagster.domain.evaluation import Evaluation, ReviewedVideo, Subject, evaluated
from heaters_dagster.domain.profiles import displayed_size, scene_scores
from heaters_dagster.domain.review_order import EARLY
from heaters_dagster.domain.reviewed_cuts import StandingClip
from heaters_dagster.registries import DETECTORS
from resources.media.ffmpeg import run as run_ffmpeg
from resources.media.media_probe import probe
from resources.media.side_streams import ScorePass
from tests.footage import FOOTAGE

#: One decode has the scores of both. At the lower thresholds there is more to correct, so that the figure says more.
_SUBJECTS = (("learned", None), ("learned", 0.1), ("transnetv2", None), ("transnetv2", 0.1))


def run() -> list[Row]:
    truth_file = FOOTAGE / "truth.json"
    if not truth_file.is_file():
        return [Row("labelled footage", 0, "files", note=f"not measured: no {truth_file.name} in HEATERS_FOOTAGE")]
    truth = {name: one for name, one in json.loads(truth_file.read_text()).items() if one.get("score") is not False}
    scores = {name: _scores(FOOTAGE / name) for name in truth}
    return [row for name, threshold in _SUBJECTS for row in rows(truth, scores, name, threshold)]


def _scores(path: Path) -> Scores:
    """As they are stored; no proxy is encoded, which would take longer than all the rest."""
    video = probe(path).video
    width, height = displayed_size(video.width, video.height, video.rotation_degrees)
    scoring = ScorePass(DETECTORS.load("learned").open_streams(width=width, height=height))
    run_ffmpeg(scene_scores(scoring.side_streams), path, scoring.readers())
    return as_stored("learned", scoring.finish())


def rows(truth: Mapping[str, Any], scores: Mapping[str, Scores], detector: str, threshold: float | None) -> list[Row]:
    known = Evaluation(Subject.of(DETECTORS.load(detector), threshold))
    for number, (name, one) in enumerate(truth.items(), 1):
        frame_count = len(next(iter(scores[name].values())))
        known.add(evaluated(reviewed(number, name, one, frame_count), scores[name], known.subject))
    early, at = known.queue.early(), f"{detector} at {known.subject.threshold:g}"
    if early is None:
        return [Row(f"corrections, {at}", 0, "", note="nothing to correct")]
    note = f"{known.queue.corrections} corrections at {len(known.queue)} clips; in order of time {early.in_order:.0%}"
    name = f"corrections found in the first {EARLY:.0%} of the clips, least confident first, {at}"
    return [Row(name, early.least_confident_first, "", note=note)]


def reviewed(number: int, name: str, truth: Mapping[str, Any], frame_count: int) -> ReviewedVideo:
    """The file as a reviewer leaves it whose cuts are the hand-checked ones."""
    cuts = {one["frame"]: _transition(one) for one in truth["boundaries"] if 0 < one["frame"] < frame_count}
    edges = [0, *sorted(cuts), frame_count]
    clips = [StandingClip(place, place, start, end, True, cuts.get(start)) for place, (start, end) in enumerate(pairwise(edges), 1)]
    ignored = [frame for one in truth.get("ignore", ()) for frame in range(one["start"], one["end"] + 1)]
    return ReviewedVideo(id=number, title=name, clips=clips, left_out_frames=ignored)


def _transition(one: Mapping[str, Any]) -> Transition:
    if one["type"] == "hard":
        return Transition(CutKind.HARD)
    kind = CutKind.FADE if "fade" in one["type"] else CutKind.DISSOLVE
    return Transition(kind, one["start"], max(one["start"], one["end"] - 1))
