"""Row locks, and the one order in which every transaction takes them, so that there are no deadlocks.

1. The reviewer. A new name is inserted at this place too: another transaction that inserts the same name waits until the first has
committed. 2. Source videos, by id.
3. Clips, by id.
4. Rows that belong to rows locked before: the counters of a source video (by its id), artifacts, vectors, the ledger.

No transaction that holds one of these locks calls the object store or another server, because reviewers wait for it. What must not
happen while an object is stored or deleted waits for an advisory lock before step 1 (`wait_for_files`, `Database.turn`).

A transaction may leave out a step (an approval changes one clip and depends on no other, so it leaves out its source video) but never goes
back to an earlier one, and it locks all rows of a step in one statement. There are two
exceptions: a statement that skips locked rows never waits, so it may lock in any order (`ReviewQueueStore.take`); and advisory locks of
stages are only tried, never waited for (`Database.stage_lock`). Counting clips adds rows and locks none; whoever folds them into the
counts only tries to get the lock for it (`sql/versions/0006_clip_counts.py`). The check at commit that clips cover a video locks the
video, so whoever changes frames of clips, or whether they are live, holds it already.

The locks are NO KEY UPDATE: others can still write rows that refer to a locked row, such as new clips of a video. Who skips or archives
clips needs the video's cuts and groups to stay as they are, but changes none except links to these very clips, whose rows it locks. It
locks the video SHARE, and nothing of it more strongly later, so that those who decide on one video do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, TextClause, func, select, text
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.review import checked_reviewer_name
from resources.postgres.clip_rows import CLIP, CLIP_NAMES
from resources.postgres.tables import clips, reviewers, source_videos


def lock_reviewer(connection: Connection, name: str) -> Row[Any]:
    """The reviewer with that name, created if new; their other actions wait until this transaction ends. Step 1."""
    tidy = checked_reviewer_name(name)
    seen = reviewers.update().where(reviewers.c.name == tidy).values(last_seen_at=func.clock_timestamp()).returning(reviewers)
    row = connection.execute(seen).first()
    if row is None:
        connection.execute(insert(reviewers).values(name=tidy).on_conflict_do_nothing())
        row = connection.execute(seen).one()
    return row


def known_reviewer(connection: Connection, name: str) -> int:
    """Id of the reviewer with that name, created if new; only the creation makes others wait. This is step 1, too."""
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


def lock_source_videos_of(connection: Connection, clip_ids: Sequence[int], *, shared: bool = False) -> None:
    """The source videos of these clips. Step 2. shared: others may hold them shared, too; nobody else changes cuts or groups meanwhile."""
    connection.execute(_SOURCE_VIDEOS_SHARED if shared else _SOURCE_VIDEOS_OF, {"ids": list(clip_ids)})


def lock_clips(connection: Connection, clip_ids: Sequence[int], beside: str = "", **arguments: object) -> list[Row[Any]]:
    """Rows of `clips`, by id; missing ids are left out. Step 3.

    beside: query of more ids to lock, with parameters `:ids` and `arguments`; lock the source videos first, so that the neighbours of a
    clip do not change meanwhile.
    """
    return list(connection.execute(_clips_query(beside), {"ids": list(clip_ids), **arguments}))


def lock_live_clips(connection: Connection, source_video_id: int) -> list[Row[Any]]:
    """All live clips of a source video, whose row is locked, by id. Step 3."""
    return list(connection.execute(locking(select(*CLIP).where(clips.c.source_video_id == source_video_id, clips.c.is_live))))


def locking(query: Select[Any]) -> Select[Any]:
    """A query of clips that locks the clips it finds, by id, and waits for locks. Step 3."""
    return query.order_by(clips.c.id).with_for_update(key_share=True)


_OF_CLIPS = """
    select id from source_videos
    where id = any(array(select source_video_id from clips where id = any(cast(:ids as bigint[]))))
    order by id for {strength}
"""
_SOURCE_VIDEOS_OF = text(_OF_CLIPS.format(strength="no key update"))
_SOURCE_VIDEOS_SHARED = text(_OF_CLIPS.format(strength="share"))


@lru_cache
def _clips_query(beside: str) -> TextClause:
    more = f"|| array({beside})" if beside else ""
    return text(f"select {', '.join(CLIP_NAMES)} from clips where id = any(cast(:ids as bigint[]) {more}) order by id for no key update")
