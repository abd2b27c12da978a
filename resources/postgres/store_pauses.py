"""The breaker of the object store: a store that works for a test and fails stages all the same is left alone for a while, by all machines.

A bucket that throttles does it by prefix and by rate; a network that breaks off now and then lets small requests through. A stage that
meets such a store has not failed. It writes a pause here, and until its end nothing is begun; then work goes on. Each pause that follows
soon after the last one is twice as long.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, DateTime, Integer, Table, Text, case, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import HeatersError
from resources.postgres.database import Database
from resources.postgres.tables import metadata

#: Without a fault for so long, the next pause is a short one again.
_FORGOTTEN_SECONDS = 30 * 60
_SHORTEST_SECONDS = 30
_LONGEST_SECONDS = 10 * 60

store_pauses = Table(
    "store_pauses",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("reason", Text, nullable=False, comment="what the store answered, in words for a person"),
    Column("faults", Integer, nullable=False, comment="pauses that followed one another"),
    Column("failed_at", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False, comment="nothing is begun before"),
    comment="an object store that is left alone for a while, because it fails although it can be used",
    prefixes=["UNLOGGED"],
)

_row = store_pauses.c


class StorePauses:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, bucket: str, reason: str) -> str:
        """Begin a pause, or lengthen the one that lasts; returns the reason with its end, in words. Faults during a pause count once."""
        second = literal(timedelta(seconds=1))
        new = insert(store_pauses).values(
            bucket=bucket, reason=reason, faults=1, failed_at=func.now(), until=func.now() + second * _SHORTEST_SECONDS
        )
        lasts = _row.until > func.now()
        is_forgotten = _row.failed_at < func.now() - second * _FORGOTTEN_SECONDS
        faults = case((lasts, _row.faults), (is_forgotten, 1), else_=_row.faults + 1)
        seconds = func.least(_LONGEST_SECONDS, _SHORTEST_SECONDS * func.power(2, func.least(faults, 10) - 1))
        until = case((lasts, _row.until), else_=func.now() + second * seconds)
        begun = new.on_conflict_do_update(
            index_elements=[_row.bucket], set_={"reason": reason, "faults": faults, "failed_at": func.now(), "until": until}
        ).returning(_row.until)
        with self._database.begin() as connection:
            return _told(reason, connection.execute(begun).scalar_one())

    def problem(self, bucket: str | None) -> str | None:
        """Why nothing is begun now, with the end of the pause; None when there is no pause."""
        if bucket is None:
            return None
        with self._database.read() as connection:
            found = connection.execute(select(_row.reason, _row.until).where(_row.bucket == bucket, _row.until > func.now())).first()
        return None if found is None else _told(found.reason, found.until)


def pause_of(database: Database, bucket: str | None) -> str | None:
    """As `StorePauses.problem`, for pages: None when the database does not answer, which they say themselves."""
    try:
        return StorePauses(database).problem(bucket)
    except HeatersError:
        return None


def _told(reason: str, until: datetime) -> str:
    return f"{reason.rstrip('.')}. Nothing is begun before {until.astimezone(UTC):%H:%M:%S} UTC"
