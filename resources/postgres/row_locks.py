"""Row locks, and the one order in which every transaction takes them, so that no two can wait for each other in a circle.

1. The reviewer. A name that is new is inserted at this place too: whoever inserts the same name waits until the first has committed.
2. Source videos, by id.
3. Clips, by id.
4. What hangs on rows that are locked by then: the counters of a source video (by its id), artifacts, vectors, the ledger.

A transaction may leave a step out, never go back to an earlier one, and locks all rows of a step in one statement. Two more rules make
this hold: a statement that skips locked rows waits for nobody, so it may lock in any order (`ReviewQueueStore.take`); and advisory locks of
stages are only tried, never waited for (`Database.stage_lock`). Counting clips adds rows and locks none; whoever folds them into the
counts only tries for the lock of doing so (`sql/versions/0006_clip_counts.py`). The check at commit that clips cover a video locks the
video, so whoever changes frames of clips, or whether they are live, holds it already.

The locks are NO KEY UPDATE: rows that refer to a locked one, such as new clips of a video, can still be written by others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, TextClause, func, select, text
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.review import checked_reviewer_name
from resources.postgres.tables import clips, reviewers, source_videos


def lock_reviewer(connection: Connection, name: str) -> Row[Any]:
    """The reviewer of that name, made if new; their other actions wait until this transaction ends. Step 1."""
    tidy = checked_reviewer_name(name)
    seen = reviewers.update().where(reviewers.c.name == tidy).values(last_seen_at=func.clock_timestamp()).returning(reviewers)
    row = connection.execute(seen).first()
    if row is None:
        connection.execute(insert(reviewers).values(name=tidy).on_conflict_do_nothing())
        row = connection.execute(seen).one()
    return row


def known_reviewer(connection: Connection, name: str) -> int:
    """Id of the reviewer of that name, made if new; nobody waits for it unless it is new. Step 1 all the same."""
    tidy = checked_reviewer_name(name)
    query = select(reviewers.c.id).where(reviewers.c.name == tidy)
    found = connection.scalar(query)
    if found is None:
        connection.execute(insert(reviewers).values(name=tidy).on_conflict_do_nothing())
        found = connection.execute(query).scalar_one()
    return int(found)


def lock_source_video(connection: Connection, source_video_id: int) -> Row[Any] | None:
    """The row of `source_videos`; None when there is none. Step 2."""
    query = select(source_videos).where(source_videos.c.id == source_video_id).with_for_update(key_share=True)
    return connection.execute(query).first()


def lock_source_videos_of(connection: Connection, clip_ids: Sequence[int]) -> None:
    """The source videos of these clips. Step 2."""
    connection.execute(_SOURCE_VIDEOS_OF, {"ids": list(clip_ids)})


def lock_clips(connection: Connection, clip_ids: Sequence[int], beside: str = "", **arguments: object) -> list[Row[Any]]:
    """Rows of `clips`, by id; ids that are not there are left out. Step 3.

    beside: query of more ids to lock, with parameters `:ids` and `arguments`; lock the source videos first, so that what is beside what
    does not change meanwhile.
    """
    return list(connection.execute(_clips_query(beside), {"ids": list(clip_ids), **arguments}))


def lock_live_clips(connection: Connection, source_video_id: int) -> list[Row[Any]]:
    """All live clips of a source video, whose row is locked, by id. Step 3."""
    return list(connection.execute(locking(select(clips).where(clips.c.source_video_id == source_video_id, clips.c.is_live))))


def locking(query: Select[Any]) -> Select[Any]:
    """A query of clips that waits for and locks those it finds, by id. Step 3."""
    return query.order_by(clips.c.id).with_for_update(key_share=True)


_SOURCE_VIDEOS_OF = text(
    """
    select id from source_videos
    where id = any(array(select source_video_id from clips where id = any(cast(:ids as bigint[]))))
    order by id for no key update
    """
)


@lru_cache
def _clips_query(beside: str) -> TextClause:
    more = f"|| array({beside})" if beside else ""
    return text(f"select * from clips where id = any(cast(:ids as bigint[]) {more}) order by id for no key update")
