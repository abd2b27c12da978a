"""Rows of `clips` and of `clip_artifacts` as values, and the clip as the review core knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from heaters_dagster.domain.clip_names import reference
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewClip
from heaters_dagster.domain.review import snapshot
from heaters_dagster.domain.states import ClipState
from resources.postgres.tables import clips


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One row of `clips`.

    [start_frame, end_frame): frames of the source video. sequence: per source video, never reused.
    is_live: False once a cut point operation has replaced it. clip_filepath: object key of the export, None while the clip is virtual.
    confidence: 0..1 of the weaker detected boundary, None without one. attempts: failed tries of the current stage.
    cut_kind, cut_first_frame, cut_last_frame: see `transition`.
    state_changed_at: when it came into this state; a lease or opening the clip changes `updated_at` only.
    """

    id: int
    source_video_id: int
    sequence: int
    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    source_video_order: int
    state: ClipState
    error: str | None
    attempts: int
    is_live: bool
    is_virtual: bool
    clip_filepath: str | None
    confidence: float | None
    cut_kind: str | None = None
    cut_first_frame: int | None = None
    cut_last_frame: int | None = None
    grouped_with_clip_id: int | None
    cut_point_version: int
    export_profile: str
    created_by_user_id: int | None
    last_modified_by_user_id: int | None
    leased_by_user_id: int | None
    lease_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    state_changed_at: datetime

    @property
    def frame_count(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def transition(self) -> Transition | None:
        """What the cut is at which the clip begins, and which frames it takes; None: nobody knows."""
        return None if self.cut_kind is None else Transition(CutKind(self.cut_kind), self.cut_first_frame, self.cut_last_frame)

    @property
    def reference(self) -> str:
        """What people can type for it: `3:14`."""
        return reference(self.source_video_id, self.sequence)

    @property
    def place(self) -> tuple[int, int, int]:
        """The clip's place in `ClipStore.find`: pass that of the last clip of a page to get the next page."""
        return (self.source_video_id, self.start_frame, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClip:
    """A clip that a detector cut. confidence, transition: see Clip; the first clip of a video begins with the file in any case."""

    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    confidence: float | None = None
    transition: Transition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipArtifact:
    """One row of `clip_artifacts`. kind: export or keyframe. state: writing, live, obsolete, deleted. manifest: see domain/manifest.py."""

    id: int
    clip_id: int
    kind: str
    key: str
    state: str
    byte_size: int | None
    manifest: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


#: The columns that a Clip is made of. `cut_points`, which says four of them once more as JSON, is for readers of the database: to read it
#: takes three times as long as all the others.
CLIP_NAMES = tuple(field.name for field in fields(Clip))
CLIP = tuple(clips.c[name] for name in CLIP_NAMES)


def clip_of_row(row: Sequence[Any]) -> Clip:
    """The Clip of a row of the columns CLIP in their order, from any query."""
    values = dict(zip(CLIP_NAMES, row, strict=True))
    values["state"] = ClipState(values["state"])
    return Clip(**values)


def review_clip(row: Clip) -> ReviewClip:
    """What review knows about a clip."""
    return ReviewClip(
        id=row.id,
        source_video_id=row.source_video_id,
        sequence=row.sequence,
        start_frame=row.start_frame,
        end_frame=row.end_frame,
        state=row.state,
        is_live=row.is_live,
        version=row.cut_point_version,
        grouped_with_clip_id=row.grouped_with_clip_id,
        confidence=row.confidence,
        export_profile=row.export_profile,
        transition=row.transition,
    )


def cut_columns(transitions: Iterable[Transition | None]) -> dict[str, list[Any]]:
    """Arguments of statements that write many clips: `cut_kinds`, `cut_first_frames`, `cut_last_frames`."""
    known = [None if one is None else (str(one.kind), one.first_frame, one.last_frame) for one in transitions]
    kinds, firsts, lasts = ([None if one is None else one[place] for one in known] for place in range(3))
    return {"cut_kinds": kinds, "cut_first_frames": firsts, "cut_last_frames": lasts}


def ledger_snapshot(row: Clip) -> dict[str, Any]:
    """`row` as the ledger stores it: with times, so that undo and redo need no frame index."""
    times = {"start_time_seconds": row.start_time_seconds, "end_time_seconds": row.end_time_seconds}
    return {**snapshot(review_clip(row)), **times}


def live_clips(connection: Connection, source_video_id: int) -> list[Clip]:
    """The clips that cover a source video, in order, without locks."""
    query = select(*CLIP).where(clips.c.source_video_id == source_video_id, clips.c.is_live).order_by(clips.c.start_frame)
    return [clip_of_row(row) for row in connection.execute(query)]


def artifact_of_row(row: Row[Any]) -> ClipArtifact:
    return ClipArtifact(**row._mapping)
