"""Reads the facts that decide which runs are due. The number of rows read does not grow with the number of finished source videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal_column,
    not_,
    or_,
    select,
    union,
    union_all,
)

from heaters_dagster.domain.due import ClipGroup, VideoFacts, WorkGroup
from heaters_dagster.domain.room_needed import MediaSize
from heaters_dagster.domain.stages import (
    CLIP_STAGES,
    EXPORTS,
    LOCKED_ASSETS,
    MAX_ATTEMPTS,
    SOURCE_VIDEO,
    VIDEO_STAGES,
    Job,
    WorkState,
    beside,
    with_states,
)
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_RETRY
from resources.postgres import clip_exports
from resources.postgres.clip_work import ClipStage, is_unneeded, open_work
from resources.postgres.conditions import among
from resources.postgres.database import Database, held_locks, lock_key
from resources.postgres.ingest_tables import download_sites
from resources.postgres.making_tables import source_video_making
from resources.postgres.replacement_store import replaced_and_exported, waiting_ids
from resources.postgres.site_turns import first_of_each_site, turn_key
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import clip_artifacts, clip_count_changes, clip_counts_by_video, clip_work, clips, source_videos
from resources.postgres.tables import clip_exports as clip_exports_table

#: Clip states in which the pipeline does the next step, not a person.
_PIPELINE_STATES = sorted(frozenset().union(*(stage.steps.due for stage in with_states(CLIP_STAGES))))

#: The source video is deleted, but its row still names objects: the deletion was interrupted.
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

#: A transaction that deletes a source video is committed at the latest so long after it began.
_LATEST_COMMIT = timedelta(minutes=1)
#: Source videos that one look reads for each kind of work. Sensors start a few runs at a time; a later look finds the rest.
WINDOW = 100
#: How many deletable files one look reads, to find their source videos.
_OBSOLETE_WINDOW = 2_000


def load_video_facts(
    database: Database, only: Collection[int] | None = None, *, stages: Sequence[ClipStage] = CLIP_STAGES, per_site: int = 1
) -> list[VideoFacts]:
    """Facts of source videos that may have due work, in order of id: at most WINDOW for each kind of work.

    only: of these, without that limit. per_site: downloads from one site at a time. Final failures, finished work and duplicates are not
    read, so a look costs as much as there is to do.
    """
    with database.read() as connection:
        ids = sorted(_candidates(connection, stages, per_site) if only is None else set(only))
        groups = _clip_groups(connection, ids)
        work = _work_groups(connection, ids, stages)
        _add_further_exports(connection, ids, work)
        obsolete = _obsolete_artifacts(connection, ids)
        held = held_locks(connection)
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
                source_videos.c.source_bytes,
                source_videos.c.original_bytes,
                source_videos.c.duration_seconds,
                source_videos.c.frame_count,
                source_videos.c.probe["video"].label("picture"),  # the rest of a probe may be long
                _IS_HALF_DELETED.label("is_half_deleted"),
                source_videos.c.site,
                func.coalesce(download_sites.c.not_before > func.now(), False).label("site_held_off"),
                source_videos.c.id.in_(_half_written_proxies()).label("proxy_is_half_written"),
                source_videos.c.id.in_(waiting_ids()).label("waits_to_replace"),
                source_videos.c.id.in_(replaced_and_exported()).label("is_replaced"),
            )
            .join_from(source_videos, download_sites, download_sites.c.site == source_videos.c.site, isouter=True)
            .where(among(source_videos.c.id, ids))
            .order_by(source_videos.c.id)
        ).all()
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
            busy=frozenset(asset for asset in LOCKED_ASSETS if lock_key(asset, row.id) in held),
            site=row.site,
            site_busy=sum(turn_key(row.site, place) in held for place in range(per_site)) if row.site else 0,
            site_held_off=row.site_held_off,
        )
        for row in rows
    ]


def _seconds_since(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", func.now() - moment)


def _candidates(connection: Connection, stages: Sequence[ClipStage], per_site: int) -> set[int]:
    """Ids of source videos that may have due work: for each kind of work the lowest ids; of failed ones those that failed first."""
    video = source_videos.c
    tried_again = [video.state.in_(_FAILED), video.attempts < MAX_ATTEMPTS]
    without_master = [is_there(), video.gold_master_filepath.is_(None), video.original_filepath.is_not(None)]
    of_videos = [
        # What waits to be downloaded is below: of thousands from one site only the first can be wanted.
        select(video.id).where(_IS_UNFINISHED, or_(video.site.is_(None), video.state != SOURCE_VIDEO.steps.ready)).order_by(video.id),
        select(video.id).where(_IS_HALF_DELETED).order_by(video.id),
        select(video.id).where(video.id.in_(_half_written_proxies())).order_by(video.id),
        select(video.id).where(video.id.in_(replaced_and_exported())).order_by(video.id),
        select(video.id).where(*tried_again).order_by(video.state_changed_at),
        select(video.id).where(*without_master, video.gold_master_attempts == 0).order_by(video.id),
        select(video.id)
        .where(*without_master, video.gold_master_attempts > 0, video.gold_master_attempts < MAX_ATTEMPTS)
        .order_by(video.gold_master_failed_at),
    ]
    queries: list[Select[Any]] = [query.where(video.duplicate_of_id.is_(None)) for query in of_videos]
    for ready in _READY_CLIPS:
        counted = [
            select(table.c.source_video_id, table.c.clips).where(table.c.state.in_(ready))
            for table in (clip_counts_by_video, clip_count_changes)
        ]
        both = union_all(*counted).subquery()
        ready_clips = select(both.c.source_video_id).group_by(both.c.source_video_id).having(func.sum(both.c.clips) > 0)
        queries.append(ready_clips.order_by(both.c.source_video_id))
    # Materialized: for the first ones of it in order, the planner would rather read all clips by source video, though none may have failed.
    failed = select(clips.c.source_video_id).where(clips.c.is_live, _MAY_BE_RETRIED).cte("may_be_retried").prefix_with("materialized")
    to_retry = select(failed.c.source_video_id).distinct()
    queries.append(to_retry.order_by(failed.c.source_video_id))
    first = select(clip_artifacts.c.clip_id).where(_UNNEEDED).order_by(clip_artifacts.c.clip_id).limit(_OBSOLETE_WINDOW)
    of_files = select(clips.c.source_video_id).where(clips.c.id.in_(first)).distinct()
    queries.append(of_files.order_by(clips.c.source_video_id))
    further = select(clips.c.source_video_id).join_from(clip_exports_table, clips, clips.c.id == clip_exports_table.c.clip_id)
    queries.append(further.where(_further_export()).distinct().order_by(clips.c.source_video_id))
    # One statement, because each sensor asks every few seconds, and ten statements would be ten round trips.
    queries += [_open_work(stage) for stage in beside(stages)]
    windows = [*(query.limit(WINDOW).subquery() for query in queries), first_of_each_site(per_site, most=WINDOW)]
    return set(connection.scalars(union(*(select(window.c[0]) for window in windows))))


def _half_written_proxies() -> Select[Any]:
    """Ids of source videos whose proxy is being put in place of an older one."""
    return select(source_video_making.c.source_video_id).where(source_video_making.c.proxy_is_being_replaced)


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


def _open_work(stage: ClipStage) -> Select[Any]:
    of_clips = select(clips.c.source_video_id).join_from(clip_work, clips, clip_work.c.clip_id == clips.c.id).where(open_work(stage))
    return of_clips.distinct().order_by(clips.c.source_video_id)


def _further_export() -> ColumnElement[bool]:
    return and_(clip_exports.is_open(), not_(clip_exports.waits_for_gold_master(clip_exports_table.c.profile)))


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
        .where(_further_export(), among(clips.c.source_video_id, source_video_ids))
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
        .where(_UNNEEDED, is_unneeded(), among(clips.c.source_video_id, source_video_ids))
        .group_by(clips.c.source_video_id)
    )
    return {row.source_video_id: row.files for row in connection.execute(query)}


_FAILED = [stage.steps.failed for stage in with_states(VIDEO_STAGES)]
_UNFINISHED = [state for stage in with_states(VIDEO_STAGES) for state in (stage.steps.ready, stage.steps.working)]
#: Without parameters, so that Postgres sees that its partial index serves: the unfinished are mostly the newest of all source videos.
_IS_UNFINISHED = literal_column(f"source_videos.state in ({', '.join(repr(state.value) for state in _UNFINISHED)})", Boolean)
#: For each job on clips: the states in which it is due at once.
_READY_CLIPS = [
    [state for stage in of_job for state in (stage.steps.ready, stage.steps.working)]
    for job in Job
    if (of_job := [stage for stage in with_states(CLIP_STAGES) if stage.job is job])
]
#: Written exactly as in the partial indexes, so that Postgres uses them.
_MAY_BE_RETRIED = literal_column(
    f"clips.state in ({', '.join(repr(state.value) for state in CLIP_RETRY)}) and clips.attempts < {MAX_ATTEMPTS}", Boolean
)
_UNNEEDED = literal_column("clip_artifacts.state in ('writing', 'obsolete')", Boolean)


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
    query = select(source_videos.c.id, changed_at, _IS_HALF_DELETED.label("is_half_deleted")).where(
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
