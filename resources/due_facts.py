"""What the database knows that decides which runs are due: a few rows, however many source videos are done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select, text

from heaters_dagster.domain.due import MAX_ATTEMPTS, ClipGroup, VideoFacts
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.clip_store import EXPORT_STATES, ClipStore, waits_for_gold_master
from resources.database import Database, lock_key
from resources.source_video_store import is_there
from resources.tables import clips, source_videos

#: Clip states that the pipeline, not a person, leads onwards.
_PIPELINE_STATES = (
    ClipState.REVIEW_APPROVED,
    ClipState.EXPORTING,
    ClipState.EXPORT_FAILED,
    ClipState.EXPORTED,
    ClipState.KEYFRAMING,
    ClipState.KEYFRAME_FAILED,
    ClipState.KEYFRAMED,
    ClipState.EMBEDDING,
    ClipState.EMBEDDING_FAILED,
)

#: Assets whose stage a process holds the lock of while it works: `Database.stage_lock(asset, source_video_id)`.
LOCKED_ASSETS = ("source_video", "proxy", "virtual_clips", "gold_master", "exports", "keyframes", "embeddings", "archived_clips")

#: Deleted, but its row still names objects: whoever deleted it was cut off.
_IS_HALF_DELETED = and_(
    source_videos.c.state == SourceVideoState.DELETED.value,
    func.num_nonnulls(
        source_videos.c.original_filepath,
        source_videos.c.proxy_filepath,
        source_videos.c.frame_index_filepath,
        source_videos.c.scenes_filepath,
        source_videos.c.gold_master_filepath,
    )
    > 0,
)

_HELD_LOCKS = text(
    """
    select (classid::bigint << 32) | objid::bigint from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
    """
)


_EXPORT_WAITS = clips.c.state.in_(EXPORT_STATES) & waits_for_gold_master()


def load_video_facts(database: Database) -> list[VideoFacts]:
    """Facts of every source video of which anything could be due, in order of id."""
    artifacts = ClipStore(database).obsolete_artifacts()
    with database.read() as connection:
        groups = _clip_groups(connection)
        waiting = _exports_waiting(connection)
        obsolete = _obsolete_artifacts(connection, (artifact.clip_id for artifact in artifacts))
        held = set(connection.scalars(_HELD_LOCKS))
        rows = connection.execute(
            select(
                source_videos.c.id,
                source_videos.c.state,
                source_videos.c.attempts,
                _seconds_since(source_videos.c.state_changed_at).label("seconds_since_change"),
                func.coalesce(_seconds_since(source_videos.c.gold_master_failed_at), 0).label("seconds_since_gold_master_failure"),
                source_videos.c.duplicate_of_id.is_not(None).label("is_duplicate"),
                source_videos.c.original_filepath.is_not(None).label("has_original"),
                source_videos.c.gold_master_filepath.is_not(None).label("has_gold_master"),
                source_videos.c.gold_master_attempts,
                _IS_HALF_DELETED.label("is_half_deleted"),
            )
            .where(
                or_(
                    source_videos.c.state.not_in([SourceVideoState.SCENES_DETECTED, SourceVideoState.DELETED]),
                    and_(is_there(), source_videos.c.gold_master_filepath.is_(None), source_videos.c.gold_master_attempts < MAX_ATTEMPTS),
                    _IS_HALF_DELETED,
                    source_videos.c.id.in_({*groups, *obsolete}),
                )
            )
            .order_by(source_videos.c.id)
        ).all()
    return [
        VideoFacts(
            id=row.id,
            state=SourceVideoState(row.state),
            attempts=row.attempts,
            seconds_since_change=float(row.seconds_since_change),
            seconds_since_gold_master_failure=float(row.seconds_since_gold_master_failure),
            is_duplicate=row.is_duplicate,
            has_original=row.has_original,
            has_gold_master=row.has_gold_master,
            gold_master_attempts=row.gold_master_attempts,
            clips=tuple(groups.get(row.id, ())),
            obsolete_artifacts=obsolete.get(row.id, 0) + int(row.is_half_deleted),
            exports_waiting_for_master=waiting.get(row.id, 0),
            busy=frozenset(asset for asset in LOCKED_ASSETS if lock_key(asset, row.id) in held),
        )
        for row in rows
    ]


def _seconds_since(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", func.now() - moment)


def _clip_groups(connection: Connection) -> dict[int, list[ClipGroup]]:
    rows = connection.execute(
        select(
            clips.c.source_video_id,
            clips.c.state,
            clips.c.attempts,
            func.count().label("number"),
            func.max(_seconds_since(clips.c.state_changed_at)).label("seconds_since_change"),
        )
        .where(clips.c.is_live, clips.c.state.in_(_PIPELINE_STATES), not_(_EXPORT_WAITS))
        .group_by(clips.c.source_video_id, clips.c.state, clips.c.attempts)
    )
    groups: dict[int, list[ClipGroup]] = defaultdict(list)
    for row in rows:
        groups[row.source_video_id].append(ClipGroup(ClipState(row.state), row.attempts, row.number, float(row.seconds_since_change)))
    return groups


def _exports_waiting(connection: Connection) -> dict[int, int]:
    """Source video id -> number of exports that wait for its gold master."""
    rows = connection.execute(
        select(clips.c.source_video_id, func.count()).where(clips.c.is_live, _EXPORT_WAITS).group_by(clips.c.source_video_id)
    )
    return {row[0]: row[1] for row in rows}


def _obsolete_artifacts(connection: Connection, clip_ids: Iterable[int]) -> dict[int, int]:
    """Source video id -> number of artifacts, of the clips that they belong to."""
    number = Counter(clip_ids)
    rows = connection.execute(select(clips.c.id, clips.c.source_video_id).where(clips.c.id.in_(number)))
    counts: dict[int, int] = defaultdict(int)
    for clip_id, source_video_id in rows:
        counts[source_video_id] += number[clip_id]
    return counts
