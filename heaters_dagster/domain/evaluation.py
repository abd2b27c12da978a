"""How good a detector is by what reviewers did: sums over source videos, a sweep of its threshold, and the places worth another look.

Everything is decided on stored scores, so another threshold and another detector need no decode. Source videos are added one at a time; a
line of sums is kept of each, and twelve bytes of each clip, so a library of any size can be added up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np

from heaters_dagster.domain import scenes
from heaters_dagster.domain.clip_names import reference
from heaters_dagster.domain.cuts import CutPointOperation
from heaters_dagster.domain.detector import CHAPTER, Boundary, Detector, Scores
from heaters_dagster.domain.review_order import QueuedClips
from heaters_dagster.domain.reviewed_cuts import TOLERANCE_FRAMES, Outcome, StandingClip, Truth, Verdict, compared, placed_cuts, truth_of
from heaters_dagster.domain.scenes import CutClip
from heaters_dagster.domain.words import counted

#: With fewer reviewed cuts a better threshold may be luck.
FEW_CUTS = 100
#: Of the confidences from 0 to 1.
_BINS = 10
#: Of the sweep, from a quarter of the threshold to four times of it.
_STEPS, _STEPS_PER_DOUBLE = range(-8, 9), 4
#: The score of a place is the greatest of the frames so near to it.
_NEAR_FRAMES = 3
#: Places worth another look that are kept, for each reason.
_MOST_PLACES = 50
#: A score is near the threshold from two thirds of it to one and a half times of it: a detector whose scores are chances, and whose
#: threshold is 0.5, is in doubt from 0.33 to 0.75.
_NEAR_THRESHOLD = math.log(1.5)
#: Of a score of 0 from the threshold, as a logarithm; a number, because JSON has no infinity.
_FARTHEST = 50.0


@dataclass(frozen=True, slots=True)
class Counts:
    """hits: detections that are a true cut within the tolerance. false: detections that are none. missed: true cuts without a detection.

    kept, moved, removed, added: what reviewers did to the detector's cuts, or would do. A cut that is moved far is false where it was and
    missed where it is, and one correction.
    """

    hits: int = 0
    false: int = 0
    missed: int = 0
    kept: int = 0
    moved: int = 0
    removed: int = 0
    added: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        values = dict.fromkeys(cls.__dataclass_fields__, 0)
        for one in outcomes:
            values[one.verdict.value] += 1
            values["hits"] += one.is_hit
            values["false"] += one.frame is not None and not one.is_hit
            values["missed"] += one.true_frame is not None and not one.is_hit
        return cls(**values)

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def corrections(self) -> int:
        return self.moved + self.removed + self.added

    @property
    def cuts(self) -> int:
        """True cuts."""
        return self.hits + self.missed

    @property
    def precision(self) -> float | None:
        return self.hits / (self.hits + self.false) if self.hits + self.false else None

    @property
    def recall(self) -> float | None:
        return self.hits / self.cuts if self.cuts else None

    @property
    def f1(self) -> float | None:
        both = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / both if both else None

    def to_json(self) -> dict[str, Any]:
        sums = {name: getattr(self, name) for name in self.__dataclass_fields__}
        ratios = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**sums, "corrections": self.corrections, **{name: _rounded(value) for name, value in ratios.items()}}


class Why(StrEnum):
    """Why a place is worth another look. UNREVIEWED: nobody has decided there, and the score is near the threshold. REVIEWED: somebody has.
    SURPRISE: reviewers said the opposite of what the detector was sure of."""

    UNREVIEWED = "unreviewed"
    REVIEWED = "reviewed"
    SURPRISE = "surprise"

    @property
    def words(self) -> str:
        return {
            Why.UNREVIEWED: "Nobody has decided there, and the score is near the threshold",
            Why.REVIEWED: "Decided, and the score is near the threshold",
            Why.SURPRISE: "Reviewers said the opposite of what the detector was sure of",
        }[self]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A place worth another look.

    score: the highest of the detector's curve within 3 frames. is_cut: the detector cuts there at its threshold. verdict: what reviewers
    did there; None where they have left it without a cut, as the detector does, and where nobody has decided. clip_id, clip_sequence: of
    the live clip that the frame is in. distance: of the score from the threshold, as a logarithm.
    """

    why: Why
    source_video_id: int
    clip_id: int
    clip_sequence: int
    frame: int
    score: float
    is_cut: bool
    verdict: Verdict | None
    distance: float

    @property
    def clip(self) -> str:
        """What people can type for the clip: `3:14`."""
        return reference(self.source_video_id, self.clip_sequence)

    @property
    def rank(self) -> tuple[float, int, int]:
        """The least first: near the threshold, and far from it for a surprise."""
        return -self.distance if self.why is Why.SURPRISE else self.distance, self.source_video_id, self.frame

    def to_json(self) -> dict[str, Any]:
        return {
            "why": self.why.value,
            "source_video_id": self.source_video_id,
            "clip_id": self.clip_id,
            "clip": self.clip,
            "frame": self.frame,
            "score": round(self.score, 4),
            "is_cut": self.is_cut,
            "verdict": None if self.verdict is None else self.verdict.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedVideo:
    """One source video as it stands; see `truth_of`. min_clip_frames: the shortest clip that was allowed when it was cut."""

    id: int
    title: str
    clips: Sequence[StandingClip]
    operations: Sequence[CutPointOperation] = ()
    left_out_frames: Sequence[int] = ()
    min_clip_frames: int = 2

    @property
    def corrections_without_decision(self) -> int:
        """Cuts that people have moved or added beside clips without a decision: they count when these clips are decided."""
        placed = placed_cuts(self.operations)
        return sum(right.start_frame in placed and not (left.is_decided and right.is_decided) for left, right in pairwise(self.clips))


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated. thresholds: of the sweep, rising; `threshold` is one of them."""

    detector: Detector
    threshold: float
    thresholds: tuple[float, ...]
    tolerance: int = TOLERANCE_FRAMES

    @classmethod
    def of(cls, detector: Detector, threshold: float | None, tolerance: int = TOLERANCE_FRAMES) -> Subject:
        """The sweep goes from a quarter of the threshold to four times of it, and stays below the greatest score of the detector.

        A package's detector that tells no greatest score: of a threshold below 1, which is a probability, it stays below 1.
        """
        chosen = scenes.cut_settings(detector, threshold=threshold, min_clip_frames=1).threshold
        most = 1.0 if chosen < 1 and math.isinf(detector.most_threshold) else detector.most_threshold
        steps = (chosen * 2 ** (step / _STEPS_PER_DOUBLE) for step in _STEPS if step)
        swept = {float(f"{one:.2g}") for one in steps if one < most} | {chosen}
        return cls(detector, chosen, tuple(sorted(swept)), tolerance)


@dataclass(frozen=True, slots=True)
class VideoEvaluation:
    """One source video. sweep: threshold -> sums. sure: (confidence, whether it is a true cut) of each detection that has a confidence.

    confidences: of the clips whose frames reviewers have judged, in order. corrections: (first, last) of these clips, as places in
    `confidences`, between or in which something was corrected. corrections_without_decision: see `ReviewedVideo`.
    """

    id: int
    title: str
    counts: Counts
    sweep: Mapping[float, Counts]
    by_kind: Mapping[str, Counts]
    sure: tuple[tuple[float, bool], ...]
    confidences: tuple[float | None, ...]
    corrections: tuple[tuple[int, int], ...]
    doubts: tuple[Doubt, ...]
    corrections_without_decision: int


def evaluated(video: ReviewedVideo, scores: Scores, subject: Subject) -> VideoEvaluation:
    """scores: with the columns of the detector, one for each frame of the video."""
    truth = truth_of(video.clips, video.operations, left_out_frames=video.left_out_frames, tolerance=subject.tolerance)
    found = {one: _cuts(video, scenes.boundaries(scores, subject.detector, one)) for one in subject.thresholds}
    outcomes = {threshold: compared(truth, boundaries, tolerance=subject.tolerance) for threshold, (boundaries, _) in found.items()}
    own = outcomes[subject.threshold]
    kinds = sorted({one.kind for one in own})
    clips, corrections = _queue(found[subject.threshold][1], own, truth)
    return VideoEvaluation(
        id=video.id,
        title=video.title,
        counts=Counts.of(own),
        sweep={threshold: Counts.of(some) for threshold, some in outcomes.items()},
        by_kind={kind: Counts.of(one for one in own if one.kind == kind) for kind in kinds},
        sure=tuple((one.confidence, one.is_hit) for one in own if one.confidence is not None),
        confidences=clips,
        corrections=corrections,
        doubts=_doubts(video, scores, subject, {threshold: cuts for threshold, (cuts, _) in found.items()}, own, truth),
        corrections_without_decision=video.corrections_without_decision,
    )


def as_cut(video: ReviewedVideo, found: Iterable[Boundary], *, tolerance: int = TOLERANCE_FRAMES) -> Counts:
    """What reviewers did to the cuts that these boundaries became, those behind the present cuts."""
    truth = truth_of(video.clips, video.operations, left_out_frames=video.left_out_frames, tolerance=tolerance)
    return Counts.of(compared(truth, _cuts(video, [one for one in found if one.kind != CHAPTER])[0], tolerance=tolerance))


def _cuts(video: ReviewedVideo, found: Sequence[Boundary]) -> tuple[list[Boundary], tuple[CutClip, ...]]:
    """The boundaries that become cuts, and the clips."""
    clips = scenes.cut_list(found, video.clips[-1].end_frame, video.min_clip_frames)
    edges = {clip.start_frame for clip in clips}
    return [one for one in found if one.frame in edges], clips


def _queue(
    clips: Sequence[CutClip], outcomes: Sequence[Outcome], truth: Truth
) -> tuple[tuple[float | None, ...], tuple[tuple[int, int], ...]]:
    """Confidences of the clips that reviewers have judged all of, and between which of them, or in which, they have corrected something."""
    places: dict[int, int] = {}
    for clip in clips:
        if any(start <= clip.start_frame + 1 and clip.end_frame <= end for start, end in truth.spans):
            places[clip.start_frame] = len(places)
    ends = {clip.end_frame: clip.start_frame for clip in clips}
    starts = np.array([clip.start_frame for clip in clips])
    corrections = []
    for one in outcomes:
        if one.verdict is Verdict.KEPT:
            continue
        within = int(starts[np.searchsorted(starts, one.at, side="right") - 1])
        beside = [within] if one.frame is None else [ends[one.frame], one.frame]
        known = [places[start] for start in beside if start in places]
        if known:
            corrections.append((known[0], known[-1]))
    return tuple(clip.confidence for clip in clips if clip.start_frame in places), tuple(corrections)


def _doubts(
    video: ReviewedVideo,
    scores: Scores,
    subject: Subject,
    found: Mapping[float, Sequence[Boundary]],
    outcomes: Sequence[Outcome],
    truth: Truth,
) -> tuple[Doubt, ...]:
    """Cuts, and places without a cut that another threshold of the sweep would cut: where the score is near the threshold, and where it is
    far from it and reviewers said the opposite. What a detector is sure of and reviewers have left is not worth a look."""
    curve = subject.detector.curve(scores)
    starts = [clip.start_frame for clip in video.clips]
    verdicts = {one.at: one.verdict for one in outcomes}
    is_cut = dict.fromkeys((one.frame for one in found[subject.threshold]), True)
    for frame in sorted({one.frame for some in found.values() for one in some} | verdicts.keys()):
        if not any(near in is_cut for near in range(frame - subject.tolerance, frame + subject.tolerance + 1)):
            is_cut[frame] = False
    doubts = []
    for frame, cuts in is_cut.items():
        score = float(curve[max(0, frame - _NEAR_FRAMES) : frame + _NEAR_FRAMES + 1].max())
        distance = abs(math.log(score / subject.threshold)) if score > 0 else _FARTHEST
        clip = video.clips[int(np.searchsorted(starts, frame, side="right")) - 1]
        near = [verdicts[one] for one in range(frame - subject.tolerance, frame + subject.tolerance + 1) if one in verdicts]
        verdict = verdicts.get(frame) or next(iter(near), None)
        if distance <= _NEAR_THRESHOLD:
            why = Why.REVIEWED if truth.covers(frame) else Why.UNREVIEWED
        elif verdict in (Verdict.REMOVED, Verdict.ADDED) and (score > subject.threshold) is (verdict is Verdict.REMOVED):
            why = Why.SURPRISE
        else:
            continue
        doubts.append(Doubt(why, video.id, clip.id, clip.sequence, frame, score, cuts, verdict, distance))
    left_out = set(video.left_out_frames)
    return _first(one for one in doubts if one.frame not in left_out)


def _first(doubts: Iterable[Doubt]) -> tuple[Doubt, ...]:
    """The most interesting of each kind."""
    known = list(doubts)
    return tuple(
        one for why in Why for one in heapq.nsmallest(_MOST_PLACES, (one for one in known if one.why is why), key=lambda one: one.rank)
    )


@dataclass(frozen=True, slots=True)
class VideoLine:
    """What is kept of one source video. corrections_at: with each threshold of the sweep."""

    id: int
    title: str
    counts: Counts
    corrections_at: tuple[int, ...]


@dataclass(slots=True)
class Evaluation:
    """Sums over the source videos that were added.

    sweep: threshold -> sums. bins: (detections, how many of them are true cuts, sum of their confidences), for each tenth of confidence.
    without_scores: source videos that could not be evaluated, because no scores of the detector are stored.
    """

    subject: Subject
    videos: list[VideoLine] = field(default_factory=list)
    sweep: dict[float, Counts] = field(default_factory=dict)
    by_kind: dict[str, Counts] = field(default_factory=dict)
    bins: list[tuple[int, int, float]] = field(default_factory=lambda: [(0, 0, 0.0)] * _BINS)
    queue: QueuedClips = field(default_factory=QueuedClips)
    doubts: tuple[Doubt, ...] = ()
    corrections_without_decision: int = 0
    without_scores: int = 0

    def add(self, video: VideoEvaluation) -> None:
        at = tuple(video.sweep[threshold].corrections for threshold in self.subject.thresholds)
        if video.counts != Counts():
            self.videos.append(VideoLine(video.id, video.title, video.counts, at))
        for threshold, counts in video.sweep.items():
            self.sweep[threshold] = self.sweep.get(threshold, Counts()) + counts
        for kind, counts in video.by_kind.items():
            self.by_kind[kind] = self.by_kind.get(kind, Counts()) + counts
        for confidence, is_hit in video.sure:
            place = min(_BINS - 1, int(confidence * _BINS))
            count, kept, total = self.bins[place]
            self.bins[place] = count + 1, kept + is_hit, total + confidence
        self.queue.add(video.confidences, video.corrections)
        self.doubts = _first([*self.doubts, *video.doubts])
        self.corrections_without_decision += video.corrections_without_decision

    @property
    def counts(self) -> Counts:
        return self.sweep.get(self.subject.threshold, Counts())

    @property
    def best(self) -> float:
        """The threshold with the fewest corrections; of several the one nearest to the present one."""
        now = self.subject.threshold
        return min(self.sweep, key=lambda one: (self.sweep[one].corrections, abs(math.log(one / now))), default=now)

    @property
    def saved(self) -> int:
        """Corrections that `best` would have saved."""
        return self.counts.corrections - self.sweep.get(self.best, self.counts).corrections

    def better_and_worse(self) -> tuple[int, int]:
        """In how many source videos `best` needs fewer corrections than the present threshold, and in how many more."""
        best, now = (self.subject.thresholds.index(one) for one in (self.best, self.subject.threshold))
        differences = [one.corrections_at[best] - one.corrections_at[now] for one in self.videos]
        return sum(one < 0 for one in differences), sum(one > 0 for one in differences)

    @property
    def calibration_error(self) -> float | None:
        """How far, on average over the detections, the confidence is from the share that was kept (0..1)."""
        count = sum(one for one, _, _ in self.bins)
        return sum(abs(kept - total) for _, kept, total in self.bins) / count if count else None

    def worst(self, most: int) -> list[VideoLine]:
        return sorted(self.videos, key=lambda one: (-one.counts.corrections, one.id))[:most]

    def conclusion(self) -> str:
        """In a sentence or two: whether another threshold would have been better."""
        name, now, counts = self.subject.detector.name, self.subject.threshold, self.counts
        if not counts.cuts and not counts.false:
            return f"No clip of a source video with scores of {name} has a decision yet: review some, then ask again."
        few = f" With fewer than {FEW_CUTS} reviewed cuts this may be luck." if counts.cuts < FEW_CUTS else ""
        if not self.saved:
            needed = counted(counts.corrections, "correction")
            return f"No threshold of the sweep would have saved corrections: {name} at {now:g} needs {needed}.{few}"
        better, worse = self.better_and_worse()
        return (
            f"{name} at {self.best:g} instead of {now:g} would have saved {self.saved:,} of {counted(counts.corrections, 'correction')}: "
            f"fewer in {counted(better, 'source video')}, more in {worse:,}.{few}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "detector": self.subject.detector.name,
            "threshold": self.subject.threshold,
            "tolerance_frames": self.subject.tolerance,
            "source_videos": len(self.videos),
            "source_videos_without_scores": self.without_scores,
            "corrections_without_decision": self.corrections_without_decision,
            **self.counts.to_json(),
            "kinds": [{"kind": kind, **counts.to_json()} for kind, counts in sorted(self.by_kind.items())],
            "videos": [{"id": one.id, "title": one.title, **one.counts.to_json()} for one in self.worst(len(self.videos))],
            "reliability": [
                {
                    "from": place / _BINS,
                    "to": (place + 1) / _BINS,
                    "cuts": count,
                    "kept": kept,
                    "mean_confidence": _rounded(total / count) if count else None,
                }
                for place, (count, kept, total) in enumerate(self.bins)
            ],
            "calibration_error": _rounded(self.calibration_error),
            "sweep": [{"threshold": threshold, **counts.to_json()} for threshold, counts in sorted(self.sweep.items())],
            "best_threshold": self.best,
            "saved_corrections": self.saved,
            "queue": [
                {"share": one.share, "in_order": _rounded(one.in_order), "least_confident_first": _rounded(one.least_confident_first)}
                for one in self.queue.found()
            ],
            "look_at": [one.to_json() for one in self.doubts],
            "words": self.conclusion(),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
