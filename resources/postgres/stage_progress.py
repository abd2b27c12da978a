"""How far a stage is with a source video, where pages, commands and alerts can read it: a row while it works.

The process that works may be killed, and its row stays. So a row counts only while a living process holds the lock of the stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.progress import Progress, Report
from resources.postgres.conditions import among
from resources.postgres.database import Database, held_locks, lock_key
from resources.postgres.tables import source_videos, stage_progress

INTERVAL_SECONDS = 2.0

_row = stage_progress.c
_still_seconds: ColumnElement[float] = func.coalesce(func.extract("epoch", func.clock_timestamp() - _row.progressed_at), 0.0)

#: Asset -> how far its stage is.
ProgressByAsset: TypeAlias = dict[str, Progress]


class KeptProgress:
    """A report that passes on what it is told, and keeps it in the row of the stage while `at_work`, at most every two seconds.

    Work never fails because its progress cannot be kept.
    """

    def __init__(
        self, database: Database, source_video_id: int, asset: str, report: Report, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database, self._report, self._clock = database, report, clock
        self._source_video_id, self._asset = source_video_id, asset
        self._is_at_work = False
        self._written: Progress | None = None
        self._written_at = 0.0

    def __call__(self, progress: Progress) -> None:
        self._report(progress)
        if not self._is_at_work:
            return
        before, now = self._written, self._clock()
        is_soon = before is not None and now - self._written_at < INTERVAL_SECONDS
        if is_soon and before is not None and before.is_waiting == progress.is_waiting:
            return
        self._written, self._written_at = progress, now
        self._keep(progress, has_advanced=before is None or replace(before, elapsed_seconds=progress.elapsed_seconds) != progress)

    def _keep(self, progress: Progress, *, has_advanced: bool = True) -> None:
        values = {name: value for name, value in asdict(progress).items() if name not in {"is_waiting", "still_seconds"}}
        values |= {"updated_at": func.now(), "host": self._database.host}
        if progress.is_waiting:
            values["progressed_at"] = None
        elif has_advanced:
            values["progressed_at"] = func.now()
        row = insert(stage_progress).values(source_video_id=self._source_video_id, asset=self._asset, **values)
        with suppress(HeatersError), self._database.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[_row.source_video_id, _row.asset], set_=values))

    @contextmanager
    def at_work(self) -> Iterator[KeptProgress]:
        """The work itself. The lock of the stage must be held: else this would be about the work of another process."""
        self._written, self._is_at_work = None, True
        # In the place of what a try that was killed has left; and a stage may hang before it tells anything.
        self._keep(Progress.begun(self._asset))
        try:
            yield self
        finally:
            self._is_at_work = False
            self._forget()

    def _forget(self) -> None:
        mine = (_row.source_video_id == self._source_video_id) & (_row.asset == self._asset)
        with suppress(HeatersError), self._database.begin() as connection:
            connection.execute(stage_progress.delete().where(mine))


@contextmanager
def kept_while_at_work(report: Report) -> Iterator[None]:
    """The block in which a stage that takes its lock itself holds it: a KeptProgress keeps what it is told meanwhile."""
    if isinstance(report, KeptProgress):
        with report.at_work():
            yield
    else:
        yield


@contextmanager
def told_turn(database: Database, work: str, *, at_once: int, asset: str, report: Report) -> Iterator[None]:
    """The block while the stage has its turn on this machine (see `Database.turn_on_this_machine`). When it has to wait, that is told."""
    begun, has_waited = Progress.begun(asset), list[bool]()

    def waits() -> None:
        has_waited.append(True)
        report(begun.waiting_for_turn(database.host))

    with database.turn_on_this_machine(work, at_once=at_once, waits=waits):
        if has_waited:
            report(begun)
        yield


def progress_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, ProgressByAsset]:
    """Source video id -> how far the stages are that work on it now; only those that have told it."""
    query = select(stage_progress, _still_seconds.label("still_seconds")).where(among(_row.source_video_id, source_video_ids))
    found = dict[int, ProgressByAsset]()
    for row in _alive(connection, list(connection.execute(query))):
        found.setdefault(row.source_video_id, {})[row.asset] = _told(row)
    return found


@dataclass(frozen=True, slots=True)
class StandingStage:
    """A stage that works and has not got further. asset: its name. since: when its figures last changed. host: where it works."""

    source_video_id: int
    title: str
    asset: str
    progress: Progress
    since: datetime
    host: str


def standing_stages(connection: Connection, *, longer_than_seconds: float) -> list[StandingStage]:
    """The stages of which a living process holds the lock, and that have not got further for so long."""
    query = (
        select(stage_progress, _still_seconds.label("still_seconds"), source_videos.c.title)
        .join(source_videos, source_videos.c.id == _row.source_video_id)
        .where(_still_seconds > longer_than_seconds)
        .order_by(_row.progressed_at, _row.source_video_id, _row.asset)
    )
    return [
        StandingStage(row.source_video_id, row.title, row.asset, _told(row), row.progressed_at, row.host)
        for row in _alive(connection, list(connection.execute(query)))
    ]


def _alive(connection: Connection, rows: list[Row[tuple[object, ...]]]) -> list[Row[tuple[object, ...]]]:
    held = held_locks(connection) if rows else set()
    return [row for row in rows if lock_key(row.asset, row.source_video_id) in held]


def _told(row: Row[tuple[object, ...]]) -> Progress:
    return Progress(
        row.stage, row.done, row.total, row.unit, row.elapsed_seconds, row.part,
        is_waiting=row.progressed_at is None, still_seconds=float(row.still_seconds),
    )  # fmt: skip
