"""Leases of runs that processes of other machines hold, or have lost, without such processes."""

from __future__ import annotations

from sqlalchemy import text

from resources.files.run_fence import no_fence
from resources.postgres.database import Database

#: For settings of tests whose leases expire: a lease counts as expired at the earliest so long after Postgres was started.
SHORT_LEASE_SECONDS = 2

_HELD = """
    insert into run_leases (run_id, state, host, worker, process, expires_at)
    values (:run_id, :state, :host, 'its worker', :process, clock_timestamp() + interval '1 hour')
    on conflict (run_id) do update set state = excluded.state, host = excluded.host, process = excluded.process
"""
_EXPIRED = "update run_leases set expires_at = clock_timestamp() - interval '1 ms' where run_id = :run_id"
_SERVER_IS_OLD_ENOUGH = """
    select pg_sleep(greatest(0, extract(epoch from pg_postmaster_start_time() - clock_timestamp()) + :seconds + 0.1))
"""


def held(database: Database, run_id: str, *, host: str = "another", process: str = "", state: str = "working") -> None:
    """A process on that machine holds the lease of the run."""
    with no_fence(), database.begin() as connection:
        connection.execute(text(_HELD), {"run_id": run_id, "host": host, "process": process, "state": state})


def expire(database: Database, run_id: str) -> None:
    """The lease was not renewed in time."""
    with no_fence(), database.begin() as connection:
        connection.execute(text(_SERVER_IS_OLD_ENOUGH), {"seconds": SHORT_LEASE_SECONDS})
        connection.execute(text(_EXPIRED), {"run_id": run_id})
