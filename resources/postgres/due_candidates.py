"""Finds the source videos that may have due work, in one statement that is built once in a process and planned once in a connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    TextClause,
    and_,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects import postgresql

from heaters_dagster.domain.stages import CLIP_STAGES, MAX_ATTEMPTS, SOURCE_VIDEO, VIDEO_STAGES, Job, beside, with_states
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.transitions import CLIP_RETRY
from resources.postgres import clip_exports
from resources.postgres.clip_work import ClipStage, open_work
from resources.postgres.count_tables import clip_count_changes, clip_counts_by_video
from resources.postgres.making_tables import source_video_making
from resources.postgres.replacement_store import replaced_and_exported
from resources.postgres.site_turns import first_of_each_site
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import clip_artifacts, clip_work, clips, source_videos
from resources.postgres.tables import clip_exports as clip_exports_table

#: How many deletable files one look reads, to find their source videos.
_OBSOLETE_WINDOW = 2_000


class Kind(StrEnum):
    """Where the work of a candidate is written."""

    VIDEO = "video"
    CLIP = "clip"
    WORK = "work"
    FURTHER_EXPORT = "further_export"
    FILE = "file"


def candidates(connection: Connection, stages: tuple[ClipStage, ...], *, per_site: int, window: int) -> Mapping[Kind, Set[int]]:
    """Ids of source videos that may have due work, by the kind of work: `window` of each.

    The lowest ids, and of what failed those that failed first. per_site: downloads from one site at a time. A kind that is missing is due
    nowhere.
    """
    found: dict[Kind, set[int]] = defaultdict(set)
    for kind, source_video_id in connection.execute(_statement(stages, per_site, window)):
        found[Kind(kind)].add(source_video_id)
    return found


@lru_cache(maxsize=8)
def _statement(stages: tuple[ClipStage, ...], per_site: int, window: int) -> TextClause:
    """(kind, source video id), as text without parameters.

    Each sensor asks every few seconds. To build the statement took 8 ms and to plan it 9 ms, ten times as long as to carry it out: now it
    is built once, and as it has no parameters, Postgres keeps its plan (psycopg prepares what a connection has sent five times).
    One statement, because ten would be ten round trips.
    """
    queries = [
        *((Kind.VIDEO, query.where(source_videos.c.duplicate_of_id.is_(None))) for query in _of_videos()),
        *((Kind.CLIP, query) for query in _of_clips()),
        *((Kind.WORK, _open_work(stage)) for stage in beside(stages)),
        (Kind.FURTHER_EXPORT, _of_further_exports()),
        (Kind.FILE, _of_files()),
    ]
    windows = [
        *((kind, query.limit(window).subquery()) for kind, query in queries),
        (Kind.VIDEO, first_of_each_site(per_site, most=window)),
    ]
    found = union_all(*(select(literal_column(f"'{kind}'").label("kind"), of_kind.c[0]) for kind, of_kind in windows))
    # Named parameters, so that % is no special character in the text.
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return text(str(found.compile(dialect=dialect, compile_kwargs={"literal_binds": True})))


def _of_videos() -> list[Select[Any]]:
    video = source_videos.c
    without_master = [is_there(), video.gold_master_filepath.is_(None), video.original_filepath.is_not(None)]
    return [
        # What waits to be downloaded is found by its site: of thousands from one site only the first can be wanted.
        select(video.id).where(_IS_UNFINISHED, or_(video.site.is_(None), video.state != SOURCE_VIDEO.steps.ready)).order_by(video.id),
        select(video.id).where(IS_HALF_DELETED).order_by(video.id),
        select(video.id).where(video.id.in_(half_written_proxies())).order_by(video.id),
        select(video.id).where(video.id.in_(replaced_and_exported())).order_by(video.id),
        select(video.id).where(video.state.in_(_FAILED), video.attempts < MAX_ATTEMPTS).order_by(video.state_changed_at),
        select(video.id).where(*without_master, video.gold_master_attempts == 0).order_by(video.id),
        select(video.id)
        .where(*without_master, video.gold_master_attempts > 0, video.gold_master_attempts < MAX_ATTEMPTS)
        .order_by(video.gold_master_failed_at),
    ]


def _of_clips() -> list[Select[Any]]:
    queries: list[Select[Any]] = []
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
    return [*queries, select(failed.c.source_video_id).distinct().order_by(failed.c.source_video_id)]


def _open_work(stage: ClipStage) -> Select[Any]:
    of_clips = select(clips.c.source_video_id).join_from(clip_work, clips, clip_work.c.clip_id == clips.c.id).where(open_work(stage))
    return of_clips.distinct().order_by(clips.c.source_video_id)


def _of_further_exports() -> Select[Any]:
    further = select(clips.c.source_video_id).join_from(clip_exports_table, clips, clips.c.id == clip_exports_table.c.clip_id)
    return further.where(is_due_further_export()).distinct().order_by(clips.c.source_video_id)


def _of_files() -> Select[Any]:
    first = select(clip_artifacts.c.clip_id).where(IS_UNFINISHED_FILE).order_by(clip_artifacts.c.clip_id).limit(_OBSOLETE_WINDOW)
    return select(clips.c.source_video_id).where(clips.c.id.in_(first)).distinct().order_by(clips.c.source_video_id)


def is_due_further_export() -> ColumnElement[bool]:
    """Condition on `clip_exports` joined with clips: a further export can be made now."""
    return and_(clip_exports.is_open(), not_(clip_exports.waits_for_gold_master(clip_exports_table.c.profile)))


def half_written_proxies() -> Select[Any]:
    """Ids of source videos whose proxy is being put in place of an older one."""
    return select(source_video_making.c.source_video_id).where(source_video_making.c.proxy_is_being_replaced)


#: The source video is deleted, but its row still names objects: the deletion was interrupted.
IS_HALF_DELETED = and_(
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

_FAILED = [stage.steps.failed for stage in with_states(VIDEO_STAGES)]
_UNFINISHED = [state for stage in with_states(VIDEO_STAGES) for state in (stage.steps.ready, stage.steps.working)]
#: Exactly as in the partial indexes, so that Postgres uses them: the unfinished are mostly the newest of all source videos.
_IS_UNFINISHED = literal_column(f"source_videos.state in ({', '.join(repr(state.value) for state in _UNFINISHED)})", Boolean)
_MAY_BE_RETRIED = literal_column(
    f"clips.state in ({', '.join(repr(state.value) for state in CLIP_RETRY)}) and clips.attempts < {MAX_ATTEMPTS}", Boolean
)
IS_UNFINISHED_FILE = literal_column("clip_artifacts.state in ('writing', 'obsolete')", Boolean)
#: For each job on clips: the states in which it is due at once.
_READY_CLIPS = [
    [state for stage in of_job for state in (stage.steps.ready, stage.steps.working)]
    for job in Job
    if (of_job := [stage for stage in with_states(CLIP_STAGES) if stage.job is job])
]
