"""The states of source videos and clips, in the words of the specification. What may follow what: `transitions.py`."""

from __future__ import annotations

from enum import StrEnum


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


_C = ClipState

#: Review decisions; reachable from every clip state, because every decision can be changed or undone.
REVIEW_STATES = frozenset({_C.PENDING_REVIEW, _C.REVIEW_APPROVED, _C.REVIEW_SKIPPED, _C.REVIEW_ARCHIVED})

#: States of a clip that stands as "approved": the pipeline is somewhere between decision and search.
APPROVED_STATES = frozenset(ClipState) - {_C.PENDING_REVIEW, _C.REVIEW_SKIPPED, _C.REVIEW_ARCHIVED}
