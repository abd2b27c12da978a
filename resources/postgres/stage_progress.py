"""How far a stage is with a source video, where pages and commands can read it: a row while it works.

The process that works may be killed, and its row stays. So a row counts only while a living process holds the lock of the stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TypeAlias

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.progress import Progress, Report
from resources.postgres.conditions import among
from resources.postgres.database import Database, held_locks, lock_key
from resources.postgres.tables import stage_progress

INTERVAL_SECONDS = 2.0

_row = stage_progress.c

#: Asset -> how far its stage is.
ProgressByAsset: TypeAlias = dict[str, Progress]


@contextmanager
def kept_progress(
    database: Database, source_video_id: int, asset: str, report: Report, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Report]:
    """A report that also keeps what it is told, at most every two seconds, until the block ends. The stage's lock must be held.

    Work never fails because its progress cannot be kept.
    """
    mine = (_row.source_video_id == source_video_id) & (_row.asset == asset)
    written = -INTERVAL_SECONDS

    def forget() -> None:
        with suppress(HeatersError), database.begin() as connection:
            connection.execute(stage_progress.delete().where(mine))

    def both(progress: Progress) -> None:
        nonlocal written
        report(progress)
        if clock() - written < INTERVAL_SECONDS:
            return
        written = clock()
        values = {**asdict(progress), "updated_at": func.now()}
        row = insert(stage_progress).values(source_video_id=source_video_id, asset=asset, **values)
        with suppress(HeatersError), database.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[_row.source_video_id, _row.asset], set_=values))

    forget()  # what a try that was killed has left
    try:
        yield both
    finally:
        forget()


def progress_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, ProgressByAsset]:
    """Source video id -> how far the stages are that work on it now; only those that have told it."""
    rows = connection.execute(select(stage_progress).where(among(_row.source_video_id, source_video_ids))).all()
    if not rows:
        return {}
    held, found = held_locks(connection), dict[int, ProgressByAsset]()
    for row in rows:
        if lock_key(row.asset, row.source_video_id) in held:
            told = Progress(row.stage, row.done, row.total, row.unit, row.elapsed_seconds, row.part)
            found.setdefault(row.source_video_id, {})[row.asset] = told
    return found
