"""How many source videos are in which state, from counts that the database keeps in the transaction of every change.

As with clips (`clip_counts.py`): the counts are in `source_video_counts`, newer changes in `source_video_count_changes` until they are
added to the counts. One statement reads both, so nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, func, select, text, union_all

from heaters_dagster.domain.states import SourceVideoState
from resources.postgres.count_tables import source_video_count_changes, source_video_counts
from resources.postgres.database import Database
from resources.postgres.tables import source_videos


class GoldMasterToMake(StrEnum):
    """Whether a gold master is still to be made: it waits, the last try failed, or there is nothing to make one of, or it is there."""

    WAITING = "waiting"
    FAILED = "failed"
    NONE = "none"


#: The order in which an index has the source videos of one state that are no duplicates: the one that came into it first is the first.
BY_AGE = (source_videos.c.duplicate_of_id, source_videos.c.state_changed_at, source_videos.c.id)


@dataclass(frozen=True, slots=True)
class AlikeVideos:
    """Source videos in the same state. is_duplicate: they hold the bytes of another one. original_bytes: as far as they are known."""

    state: SourceVideoState
    is_duplicate: bool
    gold_master: GoldMasterToMake
    source_videos: int
    original_bytes: int


def counted_videos(connection: Connection) -> list[AlikeVideos]:
    """All source videos, also deleted ones."""
    return [
        AlikeVideos(SourceVideoState(row.state), row.is_duplicate, GoldMasterToMake(row.gold_master), int(row.videos), int(row.bytes))
        for row in connection.execute(_OF_ALL)
        if row.videos
    ]


def numbers(
    counts: Iterable[AlikeVideos], chosen: Callable[[AlikeVideos], bool] = lambda one: True
) -> dict[SourceVideoState, tuple[int, int]]:
    """State -> (how many of the chosen ones, the bytes of their originals)."""
    found: dict[SourceVideoState, tuple[int, int]] = {}
    for one in filter(chosen, counts):
        videos, size = found.get(one.state, (0, 0))
        found[one.state] = (videos + one.source_videos, size + one.original_bytes)
    return found


def gold_masters_to_make(counts: Iterable[AlikeVideos], to_make: GoldMasterToMake) -> tuple[int, int]:
    """(how many source videos that are not deleted, the bytes of their originals)."""
    found = numbers(counts, lambda one: one.gold_master is to_make and one.state is not SourceVideoState.DELETED).values()
    return sum(videos for videos, _ in found), sum(size for _, size in found)


def recount(database: Database) -> None:
    """Count all source videos again, for rows that were written without the triggers. Nobody can change them while this runs."""
    with database.begin() as connection:
        connection.execute(select(func.heaters_recount_source_videos()))


def count_problems(connection: Connection) -> Iterator[str]:
    """One sentence for each stored count that is wrong."""
    for row in connection.execute(text(_WRONG)):
        others = ", the same as another one" if row.is_duplicate else ""
        master = f", gold master {row.gold_master}" if row.gold_master != GoldMasterToMake.NONE else ""
        yield (
            f"the stored number of source videos in the state {row.state}{others}{master} is {row.kept}, but there are {row.there}; the "
            f"stored size of their originals is {row.kept_bytes} bytes, and they have {row.bytes}"
        )


_KEY = ("state", "is_duplicate", "gold_master")
_BOTH = union_all(
    *(
        select(*(table.c[name] for name in _KEY), table.c.source_videos, table.c.original_bytes)
        for table in (source_video_counts, source_video_count_changes)
    )
).subquery()
_OF_ALL = select(
    *(_BOTH.c[name] for name in _KEY),
    func.sum(_BOTH.c.source_videos).label("videos"),
    func.sum(_BOTH.c.original_bytes).label("bytes"),
).group_by(*(_BOTH.c[name] for name in _KEY))

_WRONG = """
select state, is_duplicate, gold_master, sum(kept)::bigint as kept, sum(there)::bigint as there,
    sum(kept_bytes)::bigint as kept_bytes, sum(bytes)::bigint as bytes
from (
    select state, is_duplicate, gold_master, source_videos as kept, 0 as there, original_bytes as kept_bytes, 0 as bytes
    from source_video_counts
    union all select state, is_duplicate, gold_master, source_videos, 0, original_bytes, 0 from source_video_count_changes
    union all
    select state, duplicate_of_id is not null,
        heaters_gold_master_to_make(gold_master_filepath, original_filepath, duplicate_of_id, gold_master_error),
        0, count(*), 0, coalesce(sum(original_bytes), 0)
    from source_videos group by 1, 2, 3
) both_ways group by 1, 2, 3 having sum(kept) <> sum(there) or sum(kept_bytes) <> sum(bytes) order by 1, 2, 3
"""
