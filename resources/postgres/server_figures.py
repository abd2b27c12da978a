"""What Postgres says of itself, and of Dagster's tables beside ours: connections, sizes, runs, pools, ticks, heartbeats.

In plain SQL, so that processes that do not load Dagster can read it; tests/pipeline/test_metrics.py compares it with a real instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from heaters_dagster.settings import Settings
from resources.postgres.database import DAGSTER_NAME, Database, dagster_database_url

_CONNECTIONS = text(
    """
    select case when datname = :dagster and datname <> current_database() then 'dagster' else 'heaters' end,
        coalesce(state, 'unknown'), count(*)
    from pg_stat_activity
    where backend_type = 'client backend' and datname in (current_database(), :dagster) group by 1, 2
    """
)
_MOST_CONNECTIONS = text("select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
_OTHER_DATABASE = text("select pg_database_size(:dagster) from pg_database where datname = :dagster and datname <> current_database()")
_SCHEMA = text(
    """
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :dagster and c.relkind in ('r', 'm')
    """
)
_HAS_DAGSTER = text("select to_regclass('job_ticks') is not null and to_regclass('concurrency_slots') is not null")
_RUNS = text(
    """
    select pipeline_name, status, count(*) from runs
    where status in ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING') group by 1, 2
    """
)
_POOLS = text(
    """
    select l.concurrency_key as pool, l."limit" as most,
        (select count(*) from concurrency_slots s
            where s.concurrency_key = l.concurrency_key and s.run_id is not null and not s.deleted) as active,
        (select count(*) from pending_steps p where p.concurrency_key = l.concurrency_key and p.assigned_timestamp is null) as pending
    from concurrency_limits l order by 1
    """
)
_HEARTBEATS = text(
    "select daemon_type, extract(epoch from (now() at time zone 'utc') - timestamp)::float8 from daemon_heartbeats order by 1"
)
#: By the index of each sensor's ticks; the table itself has those of days.
_TICKS = text(
    """
    select coalesce(i.instigator_body::json -> 'origin' ->> 'job_name', i.instigator_body::json -> 'origin' ->> 'instigator_name') as name,
        t.status, count(*) as ticks, min(extract(epoch from (now() at time zone 'utc') - t.timestamp))::float8 as age
    from instigators i join job_ticks t on t.selector_id = i.selector_id and t.timestamp > (now() at time zone 'utc') - interval '1 hour'
    group by 1, 2 order by 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class PoolSlots:
    """A pool of Dagster: how many steps may work at a time, how many do, and how many wait for it."""

    pool: str
    limit: int
    active: int
    pending: int


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks of a sensor or schedule in the last hour with one status, and how long ago the newest was."""

    name: str
    status: str
    count: int
    newest_seconds: float


@dataclass(frozen=True, slots=True)
class DagsterFigures:
    """runs: (job, status) -> unfinished runs. heartbeats: daemon -> seconds since it was last heard of."""

    runs: dict[tuple[str, str], int]
    pools: tuple[PoolSlots, ...]
    ticks: tuple[Ticks, ...]
    heartbeats: dict[str, float]


def connections(connection: Connection) -> tuple[dict[tuple[str, str], int], int]:
    """((part, state) -> open connections to it, how many there may be on the server). part: heaters or dagster."""
    rows = connection.execute(_CONNECTIONS, {"dagster": DAGSTER_NAME})
    return {(row[0], row[1]): int(row[2]) for row in rows}, int(connection.scalar(_MOST_CONNECTIONS) or 0)


def database_bytes(connection: Connection) -> dict[str, int]:
    """heaters and dagster -> size on the disk of the server. Dagster's tables are a database of their own, or a schema in ours."""
    whole = int(connection.scalar(text("select pg_database_size(current_database())")) or 0)
    named = {"dagster": DAGSTER_NAME}
    other = connection.scalar(_OTHER_DATABASE, named)
    schema = int(connection.scalar(_SCHEMA, named) or 0)
    return {"heaters": whole - schema, "dagster": schema or int(other or 0)}


def run_leases(connection: Connection) -> dict[str, int]:
    """State -> leases of runs; `expired` those of work that nobody renews. Nothing where there are no leases yet."""
    if connection.scalar(text("select to_regclass('run_leases')")) is None:
        return {}
    query = text(
        "select case when state = 'working' and expires_at < clock_timestamp() then 'expired' else state end, count(*) "
        "from run_leases group by 1"
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def load_dagster_figures(connection: Connection) -> DagsterFigures | None:
    """connection: to Dagster's tables, see `open_dagster_tables`. None when Dagster has not made them yet."""
    if not connection.scalar(_HAS_DAGSTER):
        return None
    return DagsterFigures(
        runs={(row[0], row[1].lower()): int(row[2]) for row in connection.execute(_RUNS)},
        pools=tuple(PoolSlots(row.pool, int(row.most), int(row.active), int(row.pending)) for row in connection.execute(_POOLS)),
        ticks=tuple(Ticks(row.name, row.status.lower(), int(row.ticks), float(row.age)) for row in connection.execute(_TICKS) if row.name),
        heartbeats={row[0]: float(row[1]) for row in connection.execute(_HEARTBEATS)},
    )


def open_dagster_tables(settings: Settings) -> Database:
    """Dagster's tables for reading, over one connection. Dispose of it after use, or keep it."""
    return Database.connect(dagster_database_url(settings), pool_size=1)


@contextmanager
def reading_dagster_tables(settings: Settings) -> Iterator[Connection]:
    """For one look at Dagster's tables. Raises DatabaseUnavailableError."""
    tables = open_dagster_tables(settings)
    try:
        with tables.read() as connection:
            yield connection
    finally:
        tables.dispose()
