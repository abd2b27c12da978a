"""Leases of runs in Postgres. Only the clock of the server counts, so clocks of machines may differ as they like."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import Connection, text

from heaters_dagster.domain.errors import HeatersError, RunTakenAwayError
from heaters_dagster.domain.run_leases import LeaseState, RunLease
from resources.files.run_fence import no_fence
from resources.files.this_process import process_is_gone, process_mark, worker_name
from resources.postgres.database import Database, application_name

#: Of leases that were taken away the rows stay this long, so that a process that stood still finds out.
_KEPT_LOST = "1 day"

_BEGIN = text(
    """
    insert into run_leases as lease (run_id, state, host, worker, process, expires_at)
    values (:run_id, 'working', :host, :worker, :process, clock_timestamp() + make_interval(secs => :seconds))
    on conflict (run_id) do update set
        state = 'working', host = excluded.host, worker = excluded.worker, process = excluded.process, since = clock_timestamp(),
        renewed_at = clock_timestamp(), expires_at = excluded.expires_at
    where lease.state in ('queued', 'launched') or (lease.state = 'lost' and :replaces_lost)
        or (lease.state = 'working' and lease.worker in (excluded.worker, ''))
    returning run_id
    """
)
#: What waits has a lease from whoever says so last; one that works, or was taken away, keeps its state.
_WAIT = text(
    """
    insert into run_leases as lease (run_id, state, host, worker, process, expires_at)
    select run_id, :state, :host, :worker, :process, clock_timestamp() + make_interval(secs => :seconds)
    from unnest(cast(:run_ids as text[])) run_id
    on conflict (run_id) do update set
        state = excluded.state, host = excluded.host, worker = excluded.worker, process = excluded.process,
        since = case when lease.state = excluded.state then lease.since else clock_timestamp() end,
        renewed_at = clock_timestamp(), expires_at = excluded.expires_at
    where lease.state in ('queued', 'launched')
        and (lease.state <> excluded.state or lease.expires_at < clock_timestamp() + make_interval(secs => :fresh))
    """
)
_ADOPT = text(
    """
    insert into run_leases (run_id, state, host, worker, process, expires_at)
    select run_id, 'working', '', '', '', clock_timestamp() + make_interval(secs => :seconds) from unnest(cast(:run_ids as text[])) run_id
    on conflict (run_id) do nothing
    """
)
_RENEW = text(
    """
    update run_leases set renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => :seconds)
    where worker = :worker and state = 'working' and run_id = any(:run_ids)
    returning run_id
    """
)
#: After a restart of the server nobody could renew for a while: then every lease has a full term before it counts as expired.
_IS_EXPIRED = "(expires_at < clock_timestamp() and clock_timestamp() > pg_postmaster_start_time() + make_interval(secs => :grace))"
_LOAD = text(f"select run_id, state, host, worker, process, {_IS_EXPIRED} as is_expired from run_leases where run_id = any(:run_ids)")
_TAKE_AWAY = text(
    f"""
    update run_leases set state = 'lost', since = clock_timestamp()
    where run_id = :run_id and worker = :worker and state = :state and (state = 'lost' or :is_gone or {_IS_EXPIRED})
    returning run_id
    """
)
_END_SESSIONS = text(
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and application_name = :name"
)


class RunLeases:
    """The leases, as this process and this machine (`database.host`) see them.

    seconds: how long a lease holds without being renewed. grace_seconds: so long after a start of Postgres none has expired.
    """

    def __init__(self, database: Database, *, seconds: float, grace_seconds: float | None = None) -> None:
        self._database = database
        self.seconds = seconds
        self._grace = {"grace": seconds if grace_seconds is None else grace_seconds}
        self.host = database.host

    @property
    def address(self) -> str:
        """The database that holds them."""
        return self._database.url

    def begin(self, run_id: str) -> None:
        """This process works on the run from now on. Raises RunTakenAwayError when another does, or when its lease was taken away."""
        if not self._begun(run_id, replaces_lost=False):
            raise RunTakenAwayError(f"run {run_id} is worked on by another process, or was ended: this process leaves it alone")

    def wait(self, run_ids: Collection[str], state: LeaseState) -> None:
        """This process is responsible for runs that nobody works on yet. Those renewed a short time ago are left as they are."""
        if run_ids:
            with no_fence(), self._database.begin() as connection:
                given = {"run_ids": sorted(run_ids), "state": state.value, "fresh": self.seconds * 3 / 4, **self._mine}
                connection.execute(_WAIT, given)

    def begin_or_say_who(self, name: str) -> RunLease | None:
        """Make this process the one that holds the lease called `name`, which is of no run; else the lease of who has it.

        It is taken over from a process that has ended or has not renewed it in time.
        """
        lease = self.load([name]).get(name)
        if lease is not None and lease.worker != worker_name():
            is_gone = lease.host == self.host and process_is_gone(lease.process)
            if not lease.is_over(process_is_gone=is_gone) or not self.take_away(lease, is_gone=is_gone):
                return lease
        if self._begun(name, replaces_lost=True):
            return None
        return self.load([name]).get(name) or lease  # another was quicker

    def _begun(self, run_id: str, *, replaces_lost: bool) -> bool:
        with no_fence(), self._database.begin() as connection:
            return connection.scalar(_BEGIN, {"run_id": run_id, "replaces_lost": replaces_lost, **self._mine}) is not None

    def renew(self, run_ids: Collection[str]) -> set[str]:
        """Renew leases of this process; returns those that it still has."""
        with no_fence(), self._database.begin() as connection:
            given = {"run_ids": sorted(run_ids), "worker": worker_name(), "seconds": self.seconds}
            return set(connection.scalars(_RENEW, given))

    def end(self, run_id: str) -> None:
        """The run has ended in this process."""
        with no_fence(), self._database.begin() as connection:
            query = "delete from run_leases where run_id = :run_id and worker = :worker and state = 'working'"
            connection.execute(text(query), {"run_id": run_id, "worker": worker_name()})

    def close(self, run_id: str) -> None:
        """The run was ended from outside: who works on it loses its lease, and nobody begins it any more."""
        with no_fence(), self._database.begin() as connection:
            query = "update run_leases set state = 'lost', since = clock_timestamp() where run_id = :run_id and state <> 'lost'"
            connection.execute(text(query), {"run_id": run_id})

    def adopt(self, run_ids: Collection[str]) -> None:
        """Give a lease to runs that have none, because an older Heaters began them: they are ended unless somebody renews it."""
        if run_ids:
            with no_fence(), self._database.begin() as connection:
                connection.execute(_ADOPT, {"run_ids": sorted(run_ids), "seconds": self.seconds})

    def load(self, run_ids: Collection[str]) -> dict[str, RunLease]:
        """Run id -> its lease; without those that have none."""
        if not run_ids:
            return {}
        with self._database.read() as connection:
            rows = connection.execute(_LOAD, {"run_ids": sorted(run_ids), **self._grace})
            return {
                row.run_id: RunLease(row.run_id, LeaseState(row.state), row.host, row.worker, row.process, row.is_expired) for row in rows
            }

    def take_away(self, lease: RunLease, *, is_gone: bool) -> bool:
        """Take the lease away, in one step; False when it was renewed meanwhile. is_gone: its own machine knows that the process ended.

        The sessions of its process in this database end as well: their locks are free for whoever does the work again, and what they were
        writing is rolled back. (A process that stands still would hold its locks for ever.)
        """
        given = {"run_id": lease.run_id, "worker": lease.worker, "state": lease.state.value, "is_gone": is_gone, **self._grace}
        with no_fence(), self._database.begin() as connection:
            if connection.scalar(_TAKE_AWAY, given) is None:
                return False
            _forget_old(connection)
        if lease.worker not in {"", worker_name()}:
            with no_fence(), suppress(HeatersError), self._database.begin() as connection:
                connection.execute(_END_SESSIONS, {"name": application_name(lease.worker)})
        return True

    @property
    def _mine(self) -> dict[str, object]:
        return {"host": self.host, "worker": worker_name(), "process": process_mark(), "seconds": self.seconds}


def _forget_old(connection: Connection) -> None:
    connection.execute(text(f"delete from run_leases where state = 'lost' and since < clock_timestamp() - interval '{_KEPT_LOST}'"))
