"""What waits, what failed and what people decided, in figures: from the rows, by queries that stay cheap in a large library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, text

from heaters_dagster.domain.failure_kinds import kind_of_failure
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, GOLD_MASTER, VIDEO_STAGES, Stage, WorkState, beside, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.postgres.clip_counts import EVERYTHING, counts_by_state
from resources.postgres.source_video_counts import BY_AGE, GoldMasterToMake, counted_videos, gold_masters_to_make, numbers
from resources.postgres.tables import clip_exports, clip_work, clips, review_actions, source_videos

#: In these nothing waits, and nearly all source videos are in one of them: their times are not read.
_SETTLED = (SourceVideoState.SCENES_DETECTED, SourceVideoState.DELETED)
#: Of more clips in one state the oldest is that with the lowest id, which an index gives.
_READ_FOR_THE_OLDEST = 20_000
_MOST_REASONS = 2000
#: Longer than this an approved clip should not wait for its file.
FRESHNESS_SECONDS = 300.0
REVIEW, FURTHER_EXPORTS = "review", "further_exports"


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows that wait for a stage, on which it works, or on which it failed. stage: its asset, or `review`, or `further_exports`."""

    stage: str
    state: WorkState
    count: int
    oldest: datetime | None


def source_videos_by_state(connection: Connection) -> dict[SourceVideoState, tuple[int, datetime | None]]:
    """State -> how many, and since when the oldest is in it. Duplicates are not counted."""
    own = source_videos.c
    found: dict[SourceVideoState, tuple[int, datetime | None]] = dict.fromkeys(_SETTLED, (0, None))
    for state, (count, _) in numbers(counted_videos(connection), lambda one: not one.is_duplicate).items():
        query = select(own.state_changed_at).where(own.state == state.value, own.duplicate_of_id.is_(None)).order_by(*BY_AGE).limit(1)
        found[state] = (count, None if state in _SETTLED else connection.scalar(query))
    return found


def clips_by_state(connection: Connection) -> dict[ClipState, tuple[int, datetime | None]]:
    """State -> how many live clips, and since when the oldest is in it where anything waits in it."""
    waits = {state for stage in with_states(CLIP_STAGES) for state in (stage.steps.ready, stage.steps.working, stage.steps.failed)}
    found: dict[ClipState, tuple[int, datetime | None]] = {}
    for state, count in counts_by_state(connection, EVERYTHING).items():
        standing = clips.c.is_live & (clips.c.state == state.value)
        oldest = None
        if state is ClipState.PENDING_REVIEW or (state in waits and count > _READ_FOR_THE_OLDEST):
            oldest = connection.scalar(select(clips.c.state_changed_at).where(standing).order_by(clips.c.id).limit(1))
        elif state in waits:
            oldest = connection.scalar(select(func.min(clips.c.state_changed_at)).where(standing))
        found[state] = (count, oldest)
    return found


def queues(
    connection: Connection,
    videos: Mapping[SourceVideoState, tuple[int, datetime | None]],
    of_clips: Mapping[ClipState, tuple[int, datetime | None]],
) -> Iterator[Queue]:
    """Every queue, empty ones too, in the order of the pipeline: so a figure that falls to 0 is there as 0."""
    yield from _of_states(VIDEO_STAGES, videos)
    yield from _gold_masters(connection)
    yield Queue(REVIEW, WorkState.WAITING, *of_clips.get(ClipState.PENDING_REVIEW, (0, None)))
    yield from _of_states(CLIP_STAGES, of_clips)
    yield from _further_exports(connection)
    yield from _beside(connection)


def _of_states(stages: Iterable[Stage[Any]], found: Mapping[Any, tuple[int, datetime | None]]) -> Iterator[Queue]:
    for stage in with_states(stages):
        steps = stage.steps
        for state, of_row in ((WorkState.WAITING, steps.ready), (WorkState.WORKING, steps.working), (WorkState.FAILED, steps.failed)):
            yield Queue(stage.asset, state, *found.get(of_row, (0, None)))


def _gold_masters(connection: Connection) -> Iterator[Queue]:
    counts = counted_videos(connection)
    for state, to_make in ((WorkState.WAITING, GoldMasterToMake.WAITING), (WorkState.FAILED, GoldMasterToMake.FAILED)):
        count, _ = gold_masters_to_make(counts, to_make)
        first = first_without_gold_master(to_make, source_videos.c.state_changed_at).limit(1)
        yield Queue(GOLD_MASTER.asset, state, count, connection.scalar(first) if count else None)


def without_gold_master() -> ColumnElement[bool]:
    """Source videos that have an original and no gold master."""
    own = source_videos.c
    there = own.gold_master_filepath.is_(None) & own.duplicate_of_id.is_(None) & own.original_filepath.is_not(None)
    return there & (own.state != SourceVideoState.DELETED.value)


def first_without_gold_master(to_make: GoldMasterToMake, *columns: ColumnElement[Any]) -> Select[Any]:
    """Those that wait for their gold master, or that have failed, in the order of their ids: an index gives this order, and whoever was
    submitted first has nearly always waited longest."""
    failed = source_videos.c.gold_master_error.is_not(None)
    query = select(*columns).where(without_gold_master(), failed if to_make is GoldMasterToMake.FAILED else ~failed)
    return query.order_by(source_videos.c.id)


def _further_exports(connection: Connection) -> Iterator[Queue]:
    own = clip_exports.c
    another = clips.c.is_live & ~clips.c.is_virtual & (own.profile != clips.c.export_profile)
    for state in (WorkState.WAITING, WorkState.WORKING, WorkState.FAILED):
        query = select(func.count(), func.min(own.changed_at)).join_from(clip_exports, clips, clips.c.id == own.clip_id)
        count, oldest = connection.execute(query.where(own.state == state.value, another)).one()
        yield Queue(FURTHER_EXPORTS, state, int(count), oldest)


def _beside(connection: Connection) -> Iterator[Queue]:
    own = clip_work.c
    for stage in beside():
        for state in (WorkState.WAITING, WorkState.WORKING, WorkState.FAILED):
            query = select(func.count(), func.min(own.changed_at)).where(own.stage == stage.asset, own.state == state.value)
            count, oldest = connection.execute(query).one()
            yield Queue(stage.asset, state, int(count), oldest)


def failed_by_kind(connection: Connection) -> dict[tuple[str, str], int]:
    """(stage, kind of failure) -> how many rows have failed at it and wait, for their next try or for a person."""
    found: dict[tuple[str, str], int] = {}

    def add(stage: str, rows: Iterable[Any]) -> None:
        for reason, count in rows:
            key = (stage, kind_of_failure(reason or "").value)
            found[key] = found.get(key, 0) + int(count)

    def by_reason(column: ColumnElement[Any], *chosen: ColumnElement[bool]) -> Any:
        said = func.left(column, 300)
        return select(said, func.count()).where(*chosen).group_by(said).limit(_MOST_REASONS)

    video = source_videos.c
    for stage in with_states(VIDEO_STAGES):
        query = by_reason(video.error, video.state == stage.steps.failed.value, video.duplicate_of_id.is_(None))
        add(stage.asset, connection.execute(query))
    query = by_reason(video.gold_master_error, without_gold_master(), video.gold_master_error.is_not(None))
    add(GOLD_MASTER.asset, connection.execute(query))
    for of_clips in with_states(CLIP_STAGES):
        query = by_reason(clips.c.error, clips.c.is_live, clips.c.state == of_clips.steps.failed.value)
        add(of_clips.asset, connection.execute(query))
    for of_clips in beside():
        query = by_reason(clip_work.c.error, clip_work.c.stage == of_clips.asset, clip_work.c.state == WorkState.FAILED.value)
        add(of_clips.asset, connection.execute(query))
    add(FURTHER_EXPORTS, connection.execute(by_reason(clip_exports.c.error, clip_exports.c.state == WorkState.FAILED.value)))
    return found


def decisions_of_last_hour(connection: Connection) -> tuple[dict[str, int], int]:
    """(action -> how many were done in the last hour, how many reviewers did them)."""
    own = review_actions.c
    recent = own.created_at > func.now() - text("interval '1 hour'")
    query = select(own.action, func.count()).where(recent).group_by(own.action)
    by_action = {str(action): int(count) for action, count in connection.execute(query)}
    return by_action, int(connection.scalar(select(func.count(func.distinct(own.reviewer_id))).where(recent)) or 0)


def approved_without_file(connection: Connection, *, longer_than_seconds: float) -> tuple[int, datetime | None]:
    """How many clips were approved longer ago and have no file, and since when the oldest waits.

    Not those that a fault of their own holds up: an export that failed, or one that waits for its gold master.
    """
    from resources.postgres.clip_exports import first_waits_for_gold_master

    own = clips.c
    waits = own.is_live & own.state.in_([EXPORTS.steps.ready.value, EXPORTS.steps.working.value]) & ~first_waits_for_gold_master()
    query = select(func.count(), func.min(own.state_changed_at))
    count, oldest = connection.execute(
        query.where(waits, own.state_changed_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, longer_than_seconds))
    ).one()
    return int(count), oldest
