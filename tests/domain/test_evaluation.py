"""Sums over source videos, the sweep of the threshold, reliability, and the places worth another look."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.evaluation import Counts, Evaluation, ReviewedVideo, Subject, Why, as_cut, evaluated
from heaters_dagster.domain.reviewed_cuts import Verdict
from heaters_dagster.domain.scenes import jumps
from tests.domain.test_reviewed_cuts import at, standing

#: Scores themselves are compared with the threshold.
PLAIN = Detector(
    name="plain",
    columns=("plain",),
    default_threshold=0.4,
    open_streams=lambda *, width, height: (),
    boundaries=lambda scores, threshold: jumps(scores["plain"], threshold),
    curve=lambda scores: scores["plain"],
)


def scored(frame_count: int, **peaks: float) -> dict[str, np.ndarray]:
    """peaks: f100=0.8 is a score of 0.8 at frame 100."""
    column = np.zeros(frame_count, np.float32)
    for name, score in peaks.items():
        column[int(name[1:])] = score
    return {"plain": column}


def video(edges: list[int], decided: str = "", number: int = 1) -> ReviewedVideo:
    return ReviewedVideo(id=number, title=f"film {number}", clips=standing(edges, decided))


def test_precision_recall_and_corrections() -> None:
    counts = Counts(hits=8, false=2, missed=2, kept=7, moved=1, removed=2, added=2)
    assert (counts.precision, counts.recall, counts.f1, counts.corrections, counts.cuts) == (0.8, 0.8, 0.8, 5, 10)
    assert (counts + counts).hits == 16
    assert (Counts().precision, Counts().recall, Counts().f1) == (None, None, None)


def test_the_sweep_goes_from_a_quarter_to_four_times_the_threshold() -> None:
    swept = Subject.of(PLAIN, 20).thresholds
    assert (swept[0], swept[-1], 20.0 in swept, len(swept)) == (5.0, 80.0, True, 17)
    below_one = Subject.of(PLAIN, None)
    assert below_one.threshold == 0.4
    assert below_one.thresholds[-1] == 0.95, "a probability"
    assert list(below_one.thresholds) == sorted(below_one.thresholds)
    wide = replace(PLAIN, most_threshold=2.0)
    assert Subject.of(wide, None).thresholds[-1] == 1.6, "four times the threshold"
    assert Subject.of(wide, 1.0).thresholds[-1] == 1.7, "below its greatest score"
    with pytest.raises(SettingsError, match="above 0 and at most 2"):
        Subject.of(wide, 5)


def test_the_best_threshold_is_the_one_with_the_fewest_corrections() -> None:
    """Reviewers removed a cut of 0.45 and added one where the score is 0.7: 0.57 would have saved the first."""
    subject = Subject.of(PLAIN, None)
    one = evaluated(video([0, 100, 200, 300]), scored(300, f50=0.45, f100=0.9, f200=0.7), subject)
    assert one.counts == Counts(hits=2, false=1, kept=2, removed=1)
    known = Evaluation(subject)
    known.add(one)
    assert (known.best, known.saved, known.better_and_worse()) == (0.48, 1, (1, 0))
    assert known.conclusion() == (
        "plain at 0.48 instead of 0.4 would have saved 1 of 1 correction: fewer in 1 source video, more in 0."
        " With fewer than 100 reviewed cuts this may be luck."
    )


def test_a_threshold_that_is_best_already_stays() -> None:
    known = Evaluation(Subject.of(PLAIN, None))
    known.add(evaluated(video([0, 100, 200]), scored(200, f100=0.9), known.subject))
    assert (known.best, known.saved) == (0.4, 0)
    assert known.conclusion().startswith("No threshold of the sweep would have saved corrections: plain at 0.4 needs 0 corrections.")


def test_without_decisions_there_is_nothing_to_say() -> None:
    known = Evaluation(Subject.of(PLAIN, None))
    known.add(evaluated(video([0, 100, 200], "nn"), scored(200, f100=0.5, f150=0.9), known.subject))
    assert (known.counts, known.videos) == (Counts(), [])
    assert known.conclusion().startswith("No clip of a source video with scores of plain has a decision yet")
    assert [(one.why, one.frame) for one in known.doubts] == [(Why.UNREVIEWED, 100)], "of a score of 0.9 it is sure"


def test_reliability_says_how_many_cuts_of_a_confidence_were_kept() -> None:
    """Confidence of `jumps` at 0.4: score / (score + 0.4), so 0.6 gives 0.6."""
    known = Evaluation(Subject.of(PLAIN, None))
    edges = [0, 100, 200, 300, 400]
    known.add(evaluated(video(edges), scored(400, f50=0.6, f100=0.6, f200=0.62, f300=0.64), known.subject))
    (bin_,) = [one for one in known.to_json()["reliability"] if one["cuts"]]
    assert (bin_["from"], bin_["to"], bin_["cuts"], bin_["kept"]) == (0.6, 0.7, 4, 3)
    assert known.calibration_error == pytest.approx(abs(3 - 4 * bin_["mean_confidence"]) / 4, abs=1e-3)


def test_confidence_of_one_falls_into_the_last_bin() -> None:
    known = Evaluation(Subject.of(PLAIN, None))
    known.add(evaluated(video([0, 100, 200]), scored(200, f100=1e9), known.subject))
    assert known.bins[9][:2] == (1, 1)


def test_kinds_are_counted_apart() -> None:
    one = evaluated(video([0, 100, 200]), scored(200, f50=0.9), Subject.of(PLAIN, None))
    assert one.by_kind == {"hard": Counts(missed=1, added=1), "unknown": Counts(false=1, removed=1)}


def test_places_worth_a_look() -> None:
    subject = Subject.of(PLAIN, None)
    clips = [0, 100, 200, 300, 400]
    # 100: sure, and kept.
    # 50: a near miss in a reviewed clip. 150: removed though sure. 300: beside a clip without a decision, just above. 350: just below.
    # 250: far below, and nobody has cut there.
    scores = scored(400, f50=0.38, f100=0.9, f150=3.0, f250=0.15, f300=0.42, f350=0.36)
    found = {(one.why, one.frame): one for one in evaluated(video(clips, "yyyn"), scores, subject).doubts}
    assert [(frame, one.is_cut) for (why, frame), one in found.items() if why is Why.UNREVIEWED] == [(300, True), (350, False)]
    assert found[Why.REVIEWED, 50].verdict is None
    assert found[Why.SURPRISE, 150].verdict is Verdict.REMOVED
    assert found[Why.SURPRISE, 200].verdict is Verdict.ADDED, "a cut by hand where there is no score at all"
    assert {frame for why, frame in found if why is Why.SURPRISE} == {150, 200}
    assert {frame for why, frame in found if why is Why.REVIEWED} == {50}, "neither what is sure nor what is far from being a cut"
    assert (found[Why.UNREVIEWED, 350].clip_id, found[Why.UNREVIEWED, 350].score) == (4, pytest.approx(0.36))


def test_the_queue_has_the_clips_that_the_detector_would_make_where_all_is_reviewed() -> None:
    one = evaluated(video([0, 100, 200, 300], "yyn"), scored(300, f50=0.6, f100=0.9, f200=0.9), Subject.of(PLAIN, None))
    assert len(one.confidences) == 2, "0..49 and 50..99; 100..199 ends at a cut that nobody has reviewed"
    assert one.corrections == ((0, 1),)


def test_cuts_as_they_were_made_without_chapters() -> None:
    known = video([0, 100, 200, 300])
    assert as_cut(known, at(100, 150)) == Counts(hits=1, false=1, missed=1, kept=1, removed=1, added=1)


def test_source_videos_add_up_and_are_listed_by_corrections() -> None:
    known = Evaluation(Subject.of(PLAIN, None))
    known.add(evaluated(video([0, 100, 200], number=1), scored(200, f100=0.9), known.subject))
    known.add(evaluated(video([0, 100, 200], number=2), scored(200, f50=0.9), known.subject))
    assert [(one.id, one.counts.corrections) for one in known.worst(10)] == [(2, 2), (1, 0)]
    assert known.counts == Counts(hits=1, false=1, missed=1, kept=1, removed=1, added=1)
    document = json.loads(json.dumps(known.to_json(), allow_nan=False))
    assert (document["precision"], document["recall"], document["corrections"]) == (0.5, 0.5, 2)
    assert [line["threshold"] for line in document["sweep"]] == list(known.subject.thresholds)
