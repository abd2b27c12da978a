"""States and the only table of legal transitions; `resources/` applies it, and the database enforces the same.

A working state (`downloading`, `exporting`, ...) may be entered again from itself: that is how work that was killed in the
middle is resumed. A review decision may be undone at any time, also after export: the exported file is then obsolete.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from heaters_dagster.domain.errors import IllegalTransitionError


class SourceVideoState(StrEnum):
    NEW = "new"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    DOWNLOAD_FAILED = "download_failed"
    PREPROCESSING = "preprocessing"
    PREPROCESSED = "preprocessed"
    PREPROCESS_FAILED = "preprocess_failed"
    DETECTING_SCENES = "detecting_scenes"
    SCENES_DETECTED = "scenes_detected"
    DETECT_SCENES_FAILED = "detect_scenes_failed"
    DELETED = "deleted"


class ClipState(StrEnum):
    PENDING_REVIEW = "pending_review"
    REVIEW_APPROVED = "review_approved"
    REVIEW_SKIPPED = "review_skipped"
    REVIEW_ARCHIVED = "review_archived"
    EXPORTING = "exporting"
    EXPORTED = "exported"
    EXPORT_FAILED = "export_failed"
    KEYFRAMING = "keyframing"
    KEYFRAMED = "keyframed"
    KEYFRAME_FAILED = "keyframe_failed"
    EMBEDDING = "embedding"
    EMBEDDED = "embedded"
    EMBEDDING_FAILED = "embedding_failed"


#: The stages of a source video in order. Each is a list of the states in which it has not succeeded yet, its failed state last.
_STAGES = (
    (SourceVideoState.NEW, SourceVideoState.DOWNLOADING, SourceVideoState.DOWNLOAD_FAILED),
    (SourceVideoState.DOWNLOADED, SourceVideoState.PREPROCESSING, SourceVideoState.PREPROCESS_FAILED),
    (SourceVideoState.PREPROCESSED, SourceVideoState.DETECTING_SCENES, SourceVideoState.DETECT_SCENES_FAILED),
    (SourceVideoState.SCENES_DETECTED, SourceVideoState.DELETED),
)

S = TypeVar("S", bound=StrEnum)
_S, _C = SourceVideoState, ClipState

#: Review decisions; reachable from every clip state, because every decision can be changed or undone.
REVIEW_STATES = frozenset({_C.PENDING_REVIEW, _C.REVIEW_APPROVED, _C.REVIEW_SKIPPED, _C.REVIEW_ARCHIVED})

#: States of a clip that stands as "approved": the pipeline is somewhere between decision and search.
APPROVED_STATES = frozenset(ClipState) - {_C.PENDING_REVIEW, _C.REVIEW_SKIPPED, _C.REVIEW_ARCHIVED}

_INGEST: Mapping[SourceVideoState, frozenset[SourceVideoState]] = {
    _S.NEW: frozenset({_S.DOWNLOADING, _S.DOWNLOAD_FAILED}),
    _S.DOWNLOADING: frozenset({_S.DOWNLOADING, _S.DOWNLOADED, _S.DOWNLOAD_FAILED}),
    _S.DOWNLOAD_FAILED: frozenset({_S.NEW, _S.DOWNLOADING}),
    _S.DOWNLOADED: frozenset({_S.PREPROCESSING, _S.PREPROCESS_FAILED}),
    _S.PREPROCESSING: frozenset({_S.PREPROCESSING, _S.PREPROCESSED, _S.PREPROCESS_FAILED}),
    _S.PREPROCESS_FAILED: frozenset({_S.DOWNLOADED, _S.PREPROCESSING}),
    _S.PREPROCESSED: frozenset({_S.DETECTING_SCENES, _S.DETECT_SCENES_FAILED, _S.PREPROCESSING}),
    _S.DETECTING_SCENES: frozenset({_S.DETECTING_SCENES, _S.SCENES_DETECTED, _S.DETECT_SCENES_FAILED}),
    _S.DETECT_SCENES_FAILED: frozenset({_S.PREPROCESSED, _S.DETECTING_SCENES}),
    _S.SCENES_DETECTED: frozenset({_S.DETECTING_SCENES}),
}

#: A source video can be deleted in every state, and then stays so: a row without files, for the audit trail.
SOURCE_VIDEO_TRANSITIONS: Mapping[SourceVideoState, frozenset[SourceVideoState]] = {
    **{state: following | {_S.DELETED} for state, following in _INGEST.items()},
    _S.DELETED: frozenset(),
}

_PIPELINE: Mapping[ClipState, frozenset[ClipState]] = {
    _C.REVIEW_APPROVED: frozenset({_C.EXPORTING, _C.EXPORT_FAILED}),
    _C.EXPORTING: frozenset({_C.EXPORTING, _C.EXPORTED, _C.EXPORT_FAILED}),
    _C.EXPORT_FAILED: frozenset({_C.EXPORTING}),
    _C.EXPORTED: frozenset({_C.KEYFRAMING, _C.KEYFRAME_FAILED, _C.EXPORTING}),
    _C.KEYFRAMING: frozenset({_C.KEYFRAMING, _C.KEYFRAMED, _C.KEYFRAME_FAILED}),
    _C.KEYFRAME_FAILED: frozenset({_C.KEYFRAMING, _C.EXPORTED}),
    _C.KEYFRAMED: frozenset({_C.EMBEDDING, _C.EMBEDDING_FAILED, _C.KEYFRAMING}),
    _C.EMBEDDING: frozenset({_C.EMBEDDING, _C.EMBEDDED, _C.EMBEDDING_FAILED}),
    _C.EMBEDDING_FAILED: frozenset({_C.EMBEDDING, _C.KEYFRAMED}),
    _C.EMBEDDED: frozenset({_C.EMBEDDING, _C.KEYFRAMING}),
}

CLIP_TRANSITIONS: Mapping[ClipState, frozenset[ClipState]] = {
    state: (_PIPELINE.get(state, frozenset()) | REVIEW_STATES) - ({state} & REVIEW_STATES) for state in ClipState
}

#: Where `heaters retry` puts a failed source video or clip: the state before the stage that failed. If a clip's keyframes are gone, it
#: goes on from there to `keyframing`.
SOURCE_VIDEO_RETRY: Mapping[SourceVideoState, SourceVideoState] = {
    _S.DOWNLOAD_FAILED: _S.NEW,
    _S.PREPROCESS_FAILED: _S.DOWNLOADED,
    _S.DETECT_SCENES_FAILED: _S.PREPROCESSED,
}
CLIP_RETRY: Mapping[ClipState, ClipState] = {
    _C.EXPORT_FAILED: _C.REVIEW_APPROVED,
    _C.KEYFRAME_FAILED: _C.EXPORTED,
    _C.EMBEDDING_FAILED: _C.KEYFRAMED,
}


def is_past(state: SourceVideoState, failed_state: SourceVideoState) -> bool:
    """Whether a source video in `state` is past the stage that fails as `failed_state`; such a stage then only restores lost files."""
    number = {member: stage for stage, members in enumerate(_STAGES) for member in members}
    return number[state] > number[failed_state]


def checked_source_video_transition(old: SourceVideoState, new: SourceVideoState) -> SourceVideoState:
    """Return `new` if it may follow `old`; raise IllegalTransitionError otherwise."""
    return _checked("source video", old, new, SOURCE_VIDEO_TRANSITIONS[old])


def checked_clip_transition(old: ClipState, new: ClipState) -> ClipState:
    """Return `new` if it may follow `old`; raise IllegalTransitionError otherwise."""
    return _checked("clip", old, new, CLIP_TRANSITIONS[old])


def _checked(what: str, old: S, new: S, legal: frozenset[S]) -> S:
    if new not in legal:
        raise IllegalTransitionError(f"a {what} that is {old} cannot become {new}; legal: {', '.join(sorted(legal))}")
    return new
