"""Why clips of source videos failed: each reason once, with how many clips it holds back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, union_all

from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.stages import CLIP_STAGES, WorkState, beside
from heaters_dagster.domain.transitions import CLIP_RETRY
from heaters_dagster.domain.words import counted
from resources.postgres.clip_exports import IS_FURTHER
from resources.postgres.clip_work import needs_of
from resources.postgres.conditions import among
from resources.postgres.tables import clip_exports, clip_work, clips

_NAMED = 3


@dataclass(frozen=True, slots=True)
class ClipFailure:
    """reason: in words for people. clips: how many live clips failed for it, at whichever stage."""

    reason: str
    clips: int


def failures_words(failures: Sequence[ClipFailure]) -> str:
    """`the disk is full (12 clips); the file is damaged (1 clip)`, and how many other reasons there are; empty without any."""
    named = [f"{one.reason} ({counted(one.clips, 'clip')})" for one in failures[:_NAMED]]
    more = len(failures) - _NAMED
    return "; ".join([*named, *([counted(more, "other reason")] if more > 0 else [])])


def failures_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, tuple[ClipFailure, ...]]:
    """Source video id -> why clips of it failed, the reason of most clips first; of those of which some have."""
    if not source_video_ids:
        return {}

    def failed(error: ColumnElement[str | None], joined: Select[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
        query = joined.with_only_columns(clips.c.source_video_id, clips.c.id.label("clip_id"), error.label("error"))
        return query.where(among(clips.c.source_video_id, source_video_ids), clips.c.is_live, error.is_not(None), *conditions)

    work, exports = select(clips).join(clip_work), select(clips).join(clip_exports)
    parts = [
        failed(clips.c.error, select(clips), clips.c.state.in_([state.value for state in CLIP_RETRY])),
        failed(clip_exports.c.error, exports, clip_exports.c.state == ExportState.FAILED.value, ~clips.c.is_virtual, IS_FURTHER),
    ]
    parts += [
        failed(
            clip_work.c.error,
            work,
            clip_work.c.stage == stage.asset,
            clip_work.c.state == WorkState.FAILED.value,
            clips.c.state.in_(sorted(needs_of(stage))),
        )
        for stage in beside(CLIP_STAGES)
    ]
    found = union_all(*parts).subquery().c
    count = func.count(found.clip_id.distinct())
    query = select(found.source_video_id, found.error, count).group_by(found.source_video_id, found.error)
    by_video: dict[int, list[ClipFailure]] = {}
    for source_video_id, error, number in connection.execute(query.order_by(found.source_video_id, count.desc(), found.error)):
        by_video.setdefault(source_video_id, []).append(ClipFailure(error, number))
    return {source_video_id: tuple(failures) for source_video_id, failures in by_video.items()}
