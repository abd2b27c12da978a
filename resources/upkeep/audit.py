"""Checks everything: clips that do not cover their source video, objects without a row, lost objects. It only reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from sqlalchemy import Connection, select, text

from heaters_dagster.domain.audit import lost_keys, orphan_keys
from heaters_dagster.domain.cuts import ReviewClip, mece_problems
from heaters_dagster.domain.keys import PREFIXES
from heaters_dagster.domain.stages import MAX_ATTEMPTS
from heaters_dagster.domain.states import SourceVideoState
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_counts import count_problems
from resources.postgres.clip_store import ClipArtifact
from resources.postgres.database import Database
from resources.postgres.source_video_counts import count_problems as video_count_problems
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import clip_artifacts, clips, source_videos

#: How many findings of one kind an audit lists; the others are only counted.
MOST_SAID = 100


def audit(database: Database, objects: ObjectStore, *, with_counts: bool = True) -> list[str]:
    """What is wrong, one sentence each; empty when all is well. Of each kind it gives the first MOST_SAID and the number of others.

    with_counts: also the stored counts, see `wrong_counts`.

    It needs no more memory for a million clips than for ten: Postgres compares the stored keys with those of the rows.
    """
    with database.begin() as connection:
        said = _capped(_coverage_problems(connection), "clips do not cover their source videos")
    said += wrong_counts(database) if with_counts else []
    with database.begin() as connection:
        # List the objects first, then read the rows: objects that are stored in between are not in the list, and those in the list have
        # rows.
        _list_stored(connection, objects)
        orphans = (f"{key} is stored, but no row names it" for key in _orphans(connection))
        said_of_orphans = _capped(orphans, "objects are stored that no row names")
        if connection.execute(text(f"select exists ({_LOST})")).scalar():
            # A row may have been written after the list was made, so each object that seems lost is looked up once more.
            _list_stored(connection, objects)
        return [*said, *_lost(connection), *said_of_orphans]


def wrong_counts(database: Database) -> list[str]:
    """The stored counts of clips and source videos that are not the number of rows, one sentence each, as `audit` gives them."""
    with database.begin() as connection:
        return [
            *_capped(count_problems(connection), "counts are wrong"),
            *_capped(video_count_problems(connection), "counts of source videos are wrong"),
        ]


def coverage_problems(database: Database, source_video_id: int | None = None) -> list[str]:
    """Gaps and overlaps in the clips of source videos with detected scenes. The database does not allow them; this is a second check.

    source_video_id: only of this one.
    """
    with database.read() as connection:
        return list(_coverage_problems(connection, source_video_id))


def orphan_objects(database: Database, objects: ObjectStore) -> list[str]:
    """Keys of stored objects that no row names and that no stage will write again."""
    with database.begin() as connection:
        _list_stored(connection, objects)
        return list(_orphans(connection))


def _capped(problems: Iterable[str], what: str) -> list[str]:
    rest = iter(problems)
    said = list(islice(rest, MOST_SAID))
    more = sum(1 for _ in rest)
    return [*said, f"and {more} more {what}"] if more else said


def _coverage_problems(connection: Connection, source_video_id: int | None = None) -> Iterator[str]:
    """Postgres finds the videos by reading the clips in the order of their index; only the clips of these videos are read here."""
    of_one = "and v.id = :source_video_id" if source_video_id is not None else ""
    wrong = connection.execute(text(_UNCOVERED.format(of_one=of_one)), {"source_video_id": source_video_id} if of_one else {})
    for video in wrong:
        live = select(clips.c.id, clips.c.sequence, clips.c.start_frame, clips.c.end_frame)
        live = live.where(clips.c.source_video_id == video.id, clips.c.is_live)
        found = [
            ReviewClip(id=row.id, source_video_id=video.id, sequence=row.sequence, start_frame=row.start_frame, end_frame=row.end_frame)
            for row in connection.execute(live.order_by(clips.c.start_frame))
        ]
        for problem in mece_problems(found, video.frame_count):
            yield f"source video {video.id}: {problem}"


def _list_stored(connection: Connection, objects: ObjectStore) -> None:
    """Write the keys of all stored objects to a table of this transaction, without objects of other programs in the same bucket."""
    connection.execute(text('create temporary table if not exists stored_objects (key text collate "C" primary key) on commit drop'))
    keys = (info.key for prefix in PREFIXES for info in objects.list(prefix))
    while page := list(islice(keys, _KEYS_AT_ONCE)):
        connection.execute(text("insert into stored_objects select unnest(cast(:keys as text[])) on conflict do nothing"), {"keys": page})
    connection.execute(text("analyze stored_objects"))


def _orphans(connection: Connection) -> Iterator[str]:
    waits_for_gold_master = source_videos.c.gold_master_filepath.is_(None) & (source_videos.c.gold_master_attempts < MAX_ATTEMPTS)
    unfinished = select(source_videos.c.id).where(
        is_there(),
        source_videos.c.duplicate_of_id.is_(None),
        (source_videos.c.state != SourceVideoState.SCENES_DETECTED) | waits_for_gold_master,
    )
    at_work = set(connection.scalars(unfinished))
    for row in connection.execute(text(_UNKNOWN), execution_options=_STREAMED):
        yield from orphan_keys([row.key], known=frozenset(), at_work=at_work)


def _lost(connection: Connection) -> list[str]:
    """Postgres counts those that are not said: to send a million rows here took longer than to find them."""
    rows = connection.execute(text(_FIRST_LOST), {"most": MOST_SAID}).all()
    said = lost_keys(frozenset(), {row.key: row.owner for row in rows})
    more = rows[0].number - len(rows) if rows else 0
    return [*said, f"and {more} more objects are gone from the store"] if more else said


_KEYS_AT_ONCE = 10_000
_STREAMED = {"yield_per": 1_000}

_UNCOVERED = """
select v.id, v.frame_count from source_videos v left join (
    select source_video_id, max(end_frame) as end_frame, bool_and(start_frame = before) as joined from (
        select source_video_id, start_frame, end_frame,
            coalesce(lag(end_frame) over (partition by source_video_id order by start_frame), 0) as before
        from clips where is_live
    ) clip group by source_video_id
) cover on cover.source_video_id = v.id
where v.state = 'scenes_detected' and (cover.joined is not true or cover.end_frame is distinct from v.frame_count) {of_one}
order by v.id
"""

KEYS_OF_VIDEOS = """
    select key, 'source video ' || id as owner from source_videos, unnest(array[
        original_filepath, proxy_filepath, frame_index_filepath, scenes_filepath, gold_master_filepath
    ]) key where key is not null
    union all select subtitle_filepath, 'source video ' || source_video_id from transcripts
    union all select thumbnail_filepath, 'source video ' || source_video_id from source_video_facts where thumbnail_filepath is not null
    union all select thumbnail_filepath, 'source video ' || source_video_id from given_thumbnails
    union all select looks_filepath, 'source video ' || source_video_id from source_video_looks
"""
_UNKNOWN = f"""
select s.key from stored_objects s
where not exists (select from clip_artifacts a where a.key = s.key and a.state <> 'deleted')
and not exists (select from ({KEYS_OF_VIDEOS}) v where v.key = s.key)
order by s.key
"""
_LOST = f"""
select key collate "C" as key, owner from (
    select a.key, 'clip ' || c.sequence || ' of ' || v.title as owner
    from clip_artifacts a join clips c on c.id = a.clip_id join source_videos v on v.id = c.source_video_id where a.state = 'live'
    union all {KEYS_OF_VIDEOS}
) needed where not exists (select from stored_objects s where s.key = needed.key)
"""
_FIRST_LOST = f"""
with lost as materialized ({_LOST})
select key, owner, (select count(*) from lost) as number from lost order by key limit :most
"""


def newest_exports(database: Database, source_video_id: int, *, most: int) -> list[ClipArtifact]:
    """The exported files of a source video that were written last, newest first."""
    query = (
        select(clip_artifacts)
        .join(clips, clips.c.id == clip_artifacts.c.clip_id)
        .where(clips.c.source_video_id == source_video_id, clip_artifacts.c.kind == "export", clip_artifacts.c.state == "live")
        .order_by(clip_artifacts.c.updated_at.desc(), clip_artifacts.c.id.desc())
        .limit(most)
    )
    with database.read() as connection:
        return [ClipArtifact(**row._mapping) for row in connection.execute(query)]
