"""Which source videos have something that failed: the video itself, its gold master, or one of its clips."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, or_, select, union_all

from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.stages import WorkState
from heaters_dagster.domain.transitions import CLIP_RETRY, SOURCE_VIDEO_RETRY
from resources.postgres.count_tables import clip_count_changes, clip_counts_by_video
from resources.postgres.database import Database
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import clip_exports, clip_work, clips, source_videos

_AT_ONCE = 500


def failed_videos(database: Database) -> Iterator[int]:
    """Ids in order, read a page at a time; without duplicates of other source videos, which a retry would only fetch once more.

    Failed clips are found by the stored counts, because there may be a million clips.
    """
    video = source_videos.c
    counted = [
        select(table.c.source_video_id, table.c.clips).where(table.c.state.in_([state.value for state in CLIP_RETRY]))
        for table in (clip_counts_by_video, clip_count_changes)
    ]
    both = union_all(*counted).subquery()
    with_clips = select(both.c.source_video_id).group_by(both.c.source_video_id).having(func.sum(both.c.clips) > 0)
    beside = [
        select(clips.c.source_video_id)
        .join_from(table, clips, table.c.clip_id == clips.c.id)
        .where(clips.c.is_live, table.c.state == failed)
        for table, failed in ((clip_work, WorkState.FAILED.value), (clip_exports, ExportState.FAILED.value))
    ]
    has_failed = or_(
        video.state.in_([state.value for state in SOURCE_VIDEO_RETRY]),
        video.gold_master_error.is_not(None),
        *(video.id.in_(query) for query in (with_clips, *beside)),
    )
    query = select(video.id).where(is_there(), has_failed, video.duplicate_of_id.is_(None)).order_by(video.id).limit(_AT_ONCE)
    last = 0
    while True:
        with database.read() as connection:
            page = list(connection.scalars(query.where(video.id > last)))
        if not page:
            return
        yield from page
        last = page[-1]
