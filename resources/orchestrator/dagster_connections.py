"""Dagster's storage in Postgres over connections that a process keeps.

dagster-postgres opens a connection for each question and closes it again, and Postgres starts a process for each connection. In an idle
`heaters up` that was more than half of the processor time, and in a sensor's look it was half of the wait.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from weakref import WeakSet

from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from resources.orchestrator.dagster_private import DAGSTER_SCHEMAS, DagsterStorage
from resources.postgres.connecting import patience

#: Connections that a process keeps open. When it needs more at the same time, it opens more and closes them afterwards.
_KEPT_CONNECTIONS = 2
_MORE_AT_A_TIME = 50


def open_dagster_storage(url: str) -> DagsterStorage[Any]:
    """Dagster's tables at this address; missing ones are created. All storages of a process share its connections."""
    engine = _engine(url)
    storage: DagsterStorage[Any] = DagsterPostgresStorage(url, should_autocreate_tables=not _has_all_tables(engine))
    # The web server of Dagster replaces these engines by its own, with a time limit for each statement (`optimize_for_webserver`).
    for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
        assert isinstance(part, PostgresRunStorage | PostgresEventLogStorage | PostgresScheduleStorage)
        part._engine = engine
    # Complete by now. Dagster asks for the names of all tables before each question about a sensor: a quarter of what a tick cost.
    storage.schedule_storage.has_instigators_table = lambda: True  # type: ignore[attr-defined]
    storage.schedule_storage._has_instigators_table = lambda connection: True  # type: ignore[attr-defined]
    # And for the columns of the table of runs before each list of runs: a tenth of a look. They came long before the version that we pin.
    storage.run_storage.has_run_stats_index_cols = lambda: True  # type: ignore[attr-defined]
    return storage


def make_dagster_tables(url: str) -> None:
    """Create the tables of Dagster at this address, where they are missing. No connection stays open."""
    DagsterPostgresStorage(url, should_autocreate_tables=True)


def _has_all_tables(engine: Engine) -> bool:
    """One query. Dagster itself would make three times eight queries each time a sensor or a run opens the storage."""
    if engine in _complete:
        return True
    names = sorted({name for schema in DAGSTER_SCHEMAS for name in schema.tables} | {"alembic_version"})
    with engine.connect() as connection:
        query = text("select count(*) from pg_tables where schemaname = current_schema() and tablename = any(:names)")
        there = bool(connection.scalar(query, {"names": names}) == len(names))
    if there:
        _complete.add(engine)
    return there


#: Addresses at which this process has found Dagster's tables complete.
_complete: WeakSet[Engine] = WeakSet()


#: All engines that this process has opened.
_opened: WeakSet[Engine] = WeakSet()


def close_kept_connections() -> None:
    """Close the kept connections: for a process that stops the server or counts its users. Later uses open connections again."""
    for engine in list(_opened):
        engine.dispose()


@lru_cache(maxsize=8)
def _engine(url: str) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_MORE_AT_A_TIME,
        pool_pre_ping=True,  # the server may have been restarted since the connection was last used
        connect_args=patience(make_url(url)),
    )
    _opened.add(engine)
    return engine
