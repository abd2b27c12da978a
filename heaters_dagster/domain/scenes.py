"""From scores to cuts: per-frame scores -> shot boundaries with a confidence -> a cut list that covers every frame.

Everything here works on stored scores, so a changed threshold needs no decode; the format of their file is here too.
A boundary is the ordinal of a displayed frame, the first one of the new shot; it is never computed from a time and a frame rate.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_kinds import SUDDEN_KINDS, CutKind, Transition
from heaters_dagster.domain.detector import CHAPTER, Boundary, Detector, Scores
from heaters_dagster.domain.errors import InvalidMediaError, SettingsError
from heaters_dagster.domain.true_runs import true_runs

FORMAT_VERSION = 1

_HARD_RUN_FRAMES = 3
_ADAPTIVE_NEIGHBOURS = (-2, -1, 1, 2)
_ADAPTIVE_LEAST_CONTENT = 15.0
_ADAPTIVE_MOST = 255.0


@dataclass(frozen=True, slots=True)
class CutClip:
    """Frames [start_frame, end_frame). confidence: of the weaker of its detected boundaries; None for a video without one.

    transition: what the cut is at which it begins; None where nobody tells, and at the beginning of the video.
    """

    start_frame: int
    end_frame: int
    confidence: float | None
    transition: Transition | None = None


@dataclass(frozen=True, slots=True)
class CutSettings:
    """The settings that turned scores into cuts. threshold: in the unit of the detector's scores. min_clip_frames: >= 1.

    chapter_frames: frames at which chapters begin, if these are cuts; rising.
    """

    detector: str
    threshold: float
    min_clip_frames: int
    chapter_frames: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> CutSettings:
        """The reverse of `to_json`. Raises TypeError, KeyError, ValueError for what is none."""
        frames = tuple(int(frame) for frame in fields.get("chapter_frames", ()))
        return cls(**{**fields, "chapter_frames": frames})

    def to_json(self) -> dict[str, Any]:
        """For the row and for the scenes file. Without chapters it is as it always was."""
        chapters = {"chapter_frames": list(self.chapter_frames)} if self.chapter_frames else {}
        return {"detector": self.detector, "threshold": self.threshold, "min_clip_frames": self.min_clip_frames, **chapters}


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """What is stored about the scenes of one source video.

    detector: the one that scored last. scores: column name -> (frame_count,) float32, exact to a float16. settings: None before any cut.
    """

    detector: str
    scores: Mapping[str, NDArray[np.float32]]
    settings: CutSettings | None = None
    boundaries: tuple[Boundary, ...] = field(default=())

    @property
    def frame_count(self) -> int:
        return len(next(iter(self.scores.values())))

    def has_scores_for(self, detector: Detector) -> bool:
        return all(name in self.scores for name in detector.columns)


def cut_settings(detector: Detector, *, threshold: float | None, min_clip_frames: int) -> CutSettings:
    """threshold None: the detector's default. Raises SettingsError for values that cannot be used."""
    if min_clip_frames < 1:
        raise SettingsError(f"the shortest clip must have at least 1 frame, not {min_clip_frames}")
    chosen = detector.default_threshold if threshold is None else threshold
    return CutSettings(detector.name, detector.checked_threshold(chosen), min_clip_frames)


def nothing_cut(source_video_id: int, settings: CutSettings, detector: Detector | None) -> str | None:
    """What people are told of a source video in which no cut was made, where a high threshold may be why; None where it is not.

    detector: that of the settings; None when its package is gone.
    """
    if detector is None or settings.threshold <= detector.default_threshold:
        return None
    default = f"{detector.default_threshold:g}"
    return (
        f"nothing was cut with the threshold {settings.threshold:g} of {detector.name}, whose default is {default}; if it has cuts: "
        f"heaters recut {source_video_id} --threshold {default}"
    )


def boundaries(scores: Scores, detector: Detector, threshold: float) -> tuple[Boundary, ...]:
    """Shot boundaries in order of frames, none at frame 0 and none after the end: a detector of another package may give such.

    Raises SettingsError when the detector's own streams have not made its columns.
    """
    missing = [name for name in detector.columns if name not in scores]
    if missing:
        raise SettingsError(f"the detector {detector.name} has no scores {', '.join(missing)}: the streams that it opens must make them")
    frame_count = len(scores[detector.columns[0]])
    given = detector.boundaries(scores, threshold)
    within = (
        Boundary(int(one.frame), min(1.0, max(0.0, float(one.confidence))), transition=_transition_in(one, frame_count))
        for one in given
        if 0 < one.frame < frame_count
    )
    return tuple(sorted(within))


def with_chapters(found: Iterable[Boundary], chapter_frames: Iterable[int]) -> tuple[Boundary, ...]:
    """The boundaries of a detector and those of chapters, in order of frames; at one frame the chapter counts.

    A chapter keeps the kind and the range that a detector has found at its frame.
    """
    at = {one.frame: one for one in found}
    known = {frame: one.transition for frame, one in at.items()}
    at |= {frame: Boundary(frame, 1.0, CHAPTER, known.get(frame)) for frame in chapter_frames}
    return tuple(at[frame] for frame in sorted(at))


def chapter_frames(starts_seconds: Iterable[float], times: NDArray[np.float64]) -> tuple[int, ...]:
    """The frames nearest to the times at which chapters begin, but for frame 0; rising. A chapter that begins after the end has none.

    times: (n,) when each frame is first shown, and last when the last frame ends; in seconds. Times of chapters are rounded, so the nearest
    frame is meant, not the one that is still shown.
    """
    shown, end = times[:-1], float(times[-1])
    found = set()
    for start in starts_seconds:
        if start >= end:
            continue
        right = int(np.searchsorted(shown, start))
        near = [place for place in (right - 1, right) if 0 <= place < len(shown)]
        found.add(min(near, key=lambda place: abs(float(shown[place]) - start)))
    return tuple(sorted(found - {0}))


def told_boundaries(document: Scenes, settings: Mapping[str, Any] | None, find: Callable[[str], Detector | None]) -> tuple[Boundary, ...]:
    """The boundaries behind the cuts of a source video that has these `scene_settings` on its row; the file may not have them yet.

    None without settings. None but those of chapters when the scores are not those of that detector, and when `find` does not know it: its
    package may be gone.
    """
    if settings is None:
        return ()
    cut_with = CutSettings.from_json(settings)
    if document.settings == cut_with:
        return document.boundaries
    detector = find(cut_with.detector)
    known = detector is not None and document.has_scores_for(detector)
    found = boundaries(document.scores, detector, cut_with.threshold) if detector is not None and known else ()
    return with_chapters(found, cut_with.chapter_frames)


def adaptive_ratio(content: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) -> (n,): each content score over the mean of its two neighbours on either side, 0..255; 0 where content is below 15.

    Source: PySceneDetect 0.7, AdaptiveDetector with its defaults (window_width 2, min_content_val 15, no ratio for the outermost frames).
    """
    n, reach = len(content), max(_ADAPTIVE_NEIGHBOURS)
    ratio = np.zeros(n, np.float32)
    if n <= 2 * reach:
        return ratio
    middle = slice(reach, n - reach)
    around = np.mean([content[reach + step : n - reach + step] for step in _ADAPTIVE_NEIGHBOURS], axis=0)
    still = around < 1e-5
    ratio[middle] = np.where(still, _ADAPTIVE_MOST, np.minimum(content[middle] / np.where(still, 1.0, around), _ADAPTIVE_MOST))
    ratio[content < _ADAPTIVE_LEAST_CONTENT] = 0.0
    return ratio


def transitions(chance: NDArray[np.float32], threshold: float) -> tuple[Boundary, ...]:
    """chance: probability that the middle of a transition is at this frame. For a hard cut that is the last frame of the old shot.

    So the new shot begins after a short run; in a long run, which is a dissolve or fade, it begins in the middle.
    """
    found = []
    for start, end in true_runs(chance > threshold):
        frame = end if end - start <= _HARD_RUN_FRAMES else (start + end) // 2
        if frame < len(chance):
            found.append(Boundary(frame, min(1.0, float(chance[start:end].max()))))
    return tuple(found)


def jumps(scores: NDArray[np.float32], threshold: float) -> tuple[Boundary, ...]:
    """scores: difference of each frame from the one before. Confidence is 0.5 at the threshold."""
    found = []
    for start, end in true_runs(scores >= threshold):
        frame = start + int(np.argmax(scores[start:end]))
        if frame > 0:
            found.append(Boundary(frame, _surplus(float(scores[frame]), threshold)))
    return tuple(found)


def fades(brightness: NDArray[np.float32], threshold: float) -> tuple[Boundary, ...]:
    """A dark stretch between two pictures is a boundary in its middle; the darker, the surer. Dark ends of the video are no boundaries.

    It is a fade, and its frames are the dark ones: how long it took to become dark is not known.
    """
    return tuple(
        Boundary(
            (start + end) // 2,
            1.0 - 0.5 * float(brightness[start:end].min()) / threshold,
            transition=Transition(CutKind.FADE, start, end - 1),
        )
        for start, end in true_runs(brightness < threshold)
        if start > 0 and end < len(brightness)
    )


def cut_list(found: Iterable[Boundary], frame_count: int, min_clip_frames: int) -> tuple[CutClip, ...]:
    """Clips that cover [0, frame_count) without gap or overlap, none shorter than `min_clip_frames` unless the video is.

    Chapters are kept first, then boundaries in order of confidence; one that is too close to one kept before, or to an end of the video, is
    left out. The confidence of a clip is that of detected boundaries only. frame_count >= 1.
    A chapter is a cut by hand where no detector says more. A range ends at the next cut.
    """
    edges: list[int] = [0, frame_count]
    kept: dict[int, float] = {}
    told: dict[int, Transition | None] = {}
    for boundary in sorted(found, key=lambda one: (one.kind != CHAPTER, -one.confidence, one.frame)):
        at = bisect_left(edges, boundary.frame)
        if not 0 < boundary.frame < frame_count:
            continue
        if boundary.frame - edges[at - 1] >= min_clip_frames and edges[at] - boundary.frame >= min_clip_frames:
            edges.insert(at, boundary.frame)
            told[boundary.frame] = boundary.transition
            if boundary.kind != CHAPTER:
                kept[boundary.frame] = boundary.confidence
            elif boundary.transition is None:
                told[boundary.frame] = Transition(CutKind.HAND)
    clips = []
    for place, (start, end) in enumerate(pairwise(edges)):
        confidence = min((kept[edge] for edge in (start, end) if edge in kept), default=None)
        whole = told.get(start)
        fitting = whole and whole.around(start, start_frame=edges[place - 1], end_frame=end)
        clips.append(CutClip(start, end, confidence, fitting))
    return tuple(clips)


def encoded(
    detector: str,
    scores: Mapping[str, NDArray[np.float32]],
    *,
    settings: CutSettings | None = None,
    boundaries: Sequence[Boundary] = (),
) -> bytes:
    """The scenes file: JSON, each column of scores as base64 of little-endian float16 (2 h at 30 frames/s: 0.6 MB a column).

    Boundaries are decided on the rounded scores that `decoded` returns, so that rounding never adds or removes a cut later.
    """
    lengths = {len(column) for column in scores.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise InvalidMediaError(
            f"the columns of scene scores have different lengths ({sorted(lengths)}) or none; each must have one score for every frame"
        )
    told = {str(one.frame): one.transition.to_json() for one in boundaries if one.transition is not None}
    document = {
        "version": FORMAT_VERSION,
        "detector": detector,
        "frame_count": lengths.pop(),
        "settings": None if settings is None else settings.to_json(),
        "boundaries": [[one.frame, round(one.confidence, 4), *([one.kind] if one.kind else [])] for one in boundaries],
        **({"transitions": told} if told else {}),
        "scores": {name: {"type": "float16le", "base64": _packed(column)} for name, column in scores.items()},
    }
    return (json.dumps(document) + "\n").encode()


def decoded(data: bytes) -> Scenes:
    """Raises InvalidMediaError when `data` is not a scenes file that can be used."""
    try:
        document = json.loads(data)
        if document["version"] != FORMAT_VERSION:
            raise ValueError(f"version {document['version']}")
        scores = {str(name): _unpacked(column) for name, column in document["scores"].items()}
        if not scores or any(len(column) != document["frame_count"] for column in scores.values()):
            raise ValueError(f"not all columns have a score for each frame (there are {document['frame_count']})")
        settings = document["settings"]
        told = {int(frame): Transition.from_json(one) for frame, one in document.get("transitions", {}).items()}
        return Scenes(
            detector=str(document["detector"]),
            scores=scores,
            settings=None if settings is None else CutSettings.from_json(settings),
            boundaries=tuple(
                Boundary(int(frame), float(sure), str(*kind), told.get(int(frame))) for frame, sure, *kind in document["boundaries"]
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidMediaError(f"this is not a scenes file: {error}") from error


def _transition_in(boundary: Boundary, frame_count: int) -> Transition | None:
    """What the detector tells, inside the video; a detector of another package may tell more, and in numbers of numpy."""
    told = boundary.transition
    if told is None or told.kind == CutKind.END:
        return None
    frames = () if told.frames is None or told.kind in SUDDEN_KINDS else map(int, told.frames)
    return Transition(CutKind(told.kind), *frames).around(int(boundary.frame), start_frame=0, end_frame=frame_count)


def _packed(column: NDArray[np.float32]) -> str:
    return base64.b64encode(np.nan_to_num(column).astype("<f2").tobytes()).decode()


def _unpacked(column: Mapping[str, Any]) -> NDArray[np.float32]:
    if column["type"] != "float16le":
        raise ValueError(f"scores of type {column['type']}")
    return np.frombuffer(base64.b64decode(column["base64"], validate=True), "<f2").astype(np.float32)


def _surplus(score: float, threshold: float) -> float:
    return score / (score + threshold)
