"""Reads the facts that decide which runs are due. The number of rows read does not grow with the number of finished source videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Select, any_, bindparam, case, func, literal_column, not_, select
from sqlalchemy.dialects.postgresql import ARRAY

from heaters_dagster.domain.due import RETRY_AFTER_SECONDS, ClipGroup, VideoFacts, WorkGroup
from heaters_dagster.domain.room_needed import MediaSize
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, LOCKED_ASSETS, MAX_ATTEMPTS, PROXY, WorkState, beside, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.postgres import clip_exports
from resources.postgres.clip_work import ClipStage, is_unneeded, open_work
from resources.postgres.conditions import among
from resources.postgres.database import Database, held_locks, lock_key
from resources.postgres.due_candidates import (
    IS_HALF_DELETED,
    IS_UNFINISHED_FILE,
    Kind,
    candidates,
    half_written_proxies,
    is_due_further_export,
)
from resources.postgres.ingest_tables import download_sites
from resources.postgres.piece_store import free_pieces
from resources.postgres.replacement_store import replaced_and_exported, waiting_ids
from resources.postgres.site_turns import turn_key
from resources.postgres.tables import clip_artifacts, clip_work, clips, source_videos
from resources.postgres.tables import clip_exports as clip_exports_table

#: Clip states in which the pipeline does the next step, not a person.
_PIPELINE_STATES = sorted(frozenset().union(*(stage.steps.due for stage in with_states(CLIP_STAGES))))

#: A transaction that deletes a source video is committed at the latest so long after it began.
_LATEST_COMMIT = timedelta(minutes=1)
#: Source videos that one look reads for each kind of work. Sensors start a few runs at a time; a later look finds the rest.
WINDOW = 100


def load_video_facts(
    database: Database, only: Collection[int] | None = None, *, stages: Sequence[ClipStage] = CLIP_STAGES, per_site: int = 1
) -> list[VideoFacts]:
    """Facts of source videos that may have due work, in order of id: at most WINDOW for each kind of work.

    only: of these, without that limit. per_site: downloads from one site at a time. Final failures, finished work and duplicates are not
    read, so a look costs as much as there is to do.
    """
    with database.read() as connection:
        if only is None:
            of_kinds = candidates(connection, tuple(stages), per_site=per_site, window=WINDOW)
            ids, kinds = sorted(set().union(*of_kinds.values())), set(of_kinds)
        else:
            ids, kinds = sorted(set(only)), set(Kind)
        if not ids:
            return []
        # What no candidate was found for is not asked for: each question costs a round trip.
        groups = _clip_groups(connection, ids) if Kind.CLIP in kinds else {}
        work = _work_groups(connection, ids, stages) if Kind.WORK in kinds else {}
        if Kind.FURTHER_EXPORT in kinds:
            _add_further_exports(connection, ids, work)
        obsolete = _obsolete_artifacts(connection, ids) if Kind.FILE in kinds else {}
        held = held_locks(connection)
        rows = connection.execute(_video_rows(), {"ids": ids}).all()
        being_made = [row.id for row in rows if row.state == PROXY.steps.working] if held else []
        pieces = free_pieces(connection, being_made, held) if being_made else {}
        waits = [row.id for row in rows if row.has_original and not row.has_gold_master and row.gold_master_attempts < MAX_ATTEMPTS]
        waiting = _exports_waiting(connection, waits) if waits else {}
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
            work=tuple(work.get(row.id, ())),
            proxy_is_half_written=row.proxy_is_half_written,
            waits_to_replace=row.waits_to_replace,
            obsolete_artifacts=obsolete.get(row.id, 0) + int(row.is_half_deleted) + int(row.is_replaced),
            exports_waiting_for_master=waiting.get(row.id, 0),
            media=MediaSize.of(
                {"video": row.picture},
                source_bytes=row.source_bytes,
                original_bytes=row.original_bytes,
                duration_seconds=row.duration_seconds,
                frame_count=row.frame_count,
            ),
            busy=frozenset(asset for asset in LOCKED_ASSETS if lock_key(asset, row.id) in held) if held else frozenset(),
            site=row.site,
            site_busy=sum(turn_key(row.site, place) in held for place in range(per_site)) if row.site and held else 0,
            site_held_off=row.site_held_off,
            free_pieces=pieces.get(row.id, ()),
        )
        for row in rows
    ]


@cache
def _video_rows() -> Select[Any]:
    """What is read of the source videos `ids`. Built once: to build it takes longer than to carry it out."""
    video = source_videos.c
    return (
        select(
            video.id,
            video.state,
            video.attempts,
            _seconds_since(video.state_changed_at).label("seconds_since_change"),
            case(  # a try that left no reason, because its process ended, is followed by the next at once
                (video.gold_master_error.is_(None), RETRY_AFTER_SECONDS),
                else_=func.coalesce(_seconds_since(video.gold_master_failed_at), 0),
            ).label("seconds_since_gold_master_failure"),
            video.duplicate_of_id.is_not(None).label("is_duplicate"),
            video.original_filepath.is_not(None).label("has_original"),
            video.gold_master_filepath.is_not(None).label("has_gold_master"),
            video.gold_master_attempts,
            video.source_bytes,
            video.original_bytes,
            video.duration_seconds,
            video.frame_count,
            video.probe["video"].label("picture"),  # the rest of a probe may be long
            IS_HALF_DELETED.label("is_half_deleted"),
            video.site,
            func.coalesce(download_sites.c.not_before > func.now(), False).label("site_held_off"),
            video.id.in_(half_written_proxies()).label("proxy_is_half_written"),
            video.id.in_(waiting_ids()).label("waits_to_replace"),
            video.id.in_(replaced_and_exported()).label("is_replaced"),
        )
        .join_from(source_videos, download_sites, download_sites.c.site == video.site, isouter=True)
        .where(video.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
        .order_by(video.id)
    )


def _seconds_since(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", func.now() - moment)


def _clip_groups(connection: Connection, source_video_ids: Collection[int]) -> dict[int, list[ClipGroup]]:
    rows = connection.execute(
        select(
            clips.c.source_video_id,
            clips.c.state,
            clips.c.attempts,
            func.count().label("number"),
            func.max(_seconds_since(clips.c.state_changed_at)).label("seconds_since_change"),
        )
        .where(
            clips.c.is_live,
            clips.c.state.in_(_PIPELINE_STATES),
            not_(clip_exports.first_waits_for_gold_master()),
            among(clips.c.source_video_id, source_video_ids),
        )
        .group_by(clips.c.source_video_id, clips.c.state, clips.c.attempts)
    )
    groups: dict[int, list[ClipGroup]] = defaultdict(list)
    for row in rows:
        groups[row.source_video_id].append(ClipGroup(ClipState(row.state), row.attempts, row.number, float(row.seconds_since_change)))
    return groups


def _work_groups(connection: Connection, source_video_ids: Collection[int], stages: Sequence[ClipStage]) -> dict[int, list[WorkGroup]]:
    """Source video id -> the work of stages beside the others on its clips."""
    groups: dict[int, list[WorkGroup]] = defaultdict(list)
    for stage in beside(stages):
        rows = connection.execute(
            select(
                clips.c.source_video_id,
                clip_work.c.state,
                clip_work.c.attempts,
                func.count().label("number"),
                func.max(_seconds_since(clip_work.c.changed_at)).label("seconds_since_change"),
            )
            .join_from(clip_work, clips, clip_work.c.clip_id == clips.c.id)
            .where(open_work(stage), among(clips.c.source_video_id, source_video_ids))
            .group_by(clips.c.source_video_id, clip_work.c.state, clip_work.c.attempts)
        )
        for row in rows:
            group = WorkGroup(stage.asset, WorkState(row.state), row.attempts, row.number, float(row.seconds_since_change))
            groups[row.source_video_id].append(group)
    return groups


def _add_further_exports(connection: Connection, source_video_ids: Collection[int], groups: dict[int, list[WorkGroup]]) -> None:
    """Add the exports beside the first ones that can be made now."""
    if not source_video_ids:
        return
    own = clip_exports_table.c
    rows = connection.execute(
        select(
            clips.c.source_video_id,
            own.state,
            own.attempts,
            func.count().label("number"),
            func.max(_seconds_since(own.changed_at)).label("seconds_since_change"),
        )
        .join_from(clip_exports_table, clips, clips.c.id == own.clip_id)
        .where(is_due_further_export(), among(clips.c.source_video_id, source_video_ids))
        .group_by(clips.c.source_video_id, own.state, own.attempts)
    )
    for row in rows:
        group = WorkGroup(EXPORTS.asset, WorkState(row.state), row.attempts, row.number, float(row.seconds_since_change))
        groups.setdefault(row.source_video_id, []).append(group)


def _exports_waiting(connection: Connection, source_video_ids: Collection[int]) -> dict[int, int]:
    """Source video id -> number of its clips with an export that waits for its gold master."""
    waiting = clip_exports.waiting_for_gold_master(among(clips.c.source_video_id, source_video_ids)).subquery()
    rows = connection.execute(select(waiting.c.source_video_id, func.count().label("clips")).group_by(waiting.c.source_video_id))
    return {row.source_video_id: row.clips for row in rows}


def _obsolete_artifacts(connection: Connection, source_video_ids: Collection[int]) -> dict[int, int]:
    """Source video id -> number of files that are no longer needed."""
    query = (
        select(clips.c.source_video_id, func.count().label("files"))
        .join_from(clip_artifacts, clips, clips.c.id == clip_artifacts.c.clip_id)
        .where(IS_UNFINISHED_FILE, is_unneeded(), among(clips.c.source_video_id, source_video_ids))
        .group_by(clips.c.source_video_id)
    )
    return {row.source_video_id: row.files for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class DeletedVideos:
    """Source videos that were deleted since a moment. gone: ids of those that name no object any more.

    seen_until: the moment from which to look the next time. Not the last one: a deletion may be committed late or be half done.
    """

    gone: tuple[int, ...]
    seen_until: datetime


def deleted_since(database: Database, moment: datetime | None) -> DeletedVideos:
    """Those that were deleted since then; None: at any time."""
    changed_at = source_videos.c.state_changed_at
    query = select(source_videos.c.id, changed_at, IS_HALF_DELETED.label("is_half_deleted")).where(
        literal_column("source_videos.state = 'deleted'", Boolean)  # in the words of the partial index
    )
    if moment is not None:
        query = query.where(changed_at > moment)
    with database.read() as connection:
        now = connection.execute(select(func.now())).scalar_one()
        rows = connection.execute(query.order_by(changed_at)).all()
    unfinished = [row.state_changed_at for row in rows if row.is_half_deleted]
    until = min([now - _LATEST_COMMIT, *(since - _LATEST_COMMIT for since in unfinished)])
    return DeletedVideos(tuple(row.id for row in rows if not row.is_half_deleted), until)
