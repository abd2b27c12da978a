"""Whether the address of the database leads to sessions of our own, and to enough of them.

Locks of stages, turns and NOTIFY belong to a session. A pool in front of Postgres that gives a connection a server process for one
transaction only (PgBouncer with pool_mode transaction or statement) takes them away without a word: two workers would do the same work.
"""

from __future__ import annotations

from contextlib import ExitStack

from sqlalchemy import text

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.postgres.database import Database

#: Connections of one run while it works: two or three of Heaters', two of Dagster's, one for each lock that it holds, of which there are
#: at most three.
OF_A_RUN = 8
#: Of the parts that run beside them, at their most: review app 15, its listening 1; code server, daemon and the Dagster UI 10 each; a
#: command of a person 5.
OF_PARTS = 51
#: Runs of other kinds than those with a setting of their own, on one machine.
_OTHER_RUNS = 2
_OTHERS_AT_WORK = 4

_LIMITS = text(
    """
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true), '0')::int as server,
        (select datconnlimit from pg_database where datname = current_database()) as database,
        (select rolconnlimit from pg_roles where rolname = current_user) as role
    """
)
_PROCESS = text("select pg_backend_pid()")


def check_sessions(database: Database) -> None:
    """Raises SettingsError when the connections of this address are no sessions of their own.

    One connection is idle while others have a transaction open. In a session of its own it keeps its server process, which no other
    connection can have; a pool of transactions gives the idle process away.
    """
    with ExitStack() as stack:
        idle = stack.enter_context(database.session())
        mine = idle.scalar(_PROCESS)
        for _ in range(_OTHERS_AT_WORK):
            at_work = stack.enter_context(database.read())
            if at_work.scalar(_PROCESS) == mine or idle.scalar(_PROCESS) != mine:
                raise SettingsError(
                    "HEATERS_DATABASE_URL leads to a pool that shares connections between transactions (PgBouncer with pool_mode "
                    "transaction or statement). Locks and NOTIFY get lost there, and two processes would do the same work: set pool_mode "
                    "session for Heaters, or use the address of Postgres itself"
                )


def check_connections(database: Database, settings: Settings) -> str:
    """How many connections are needed and allowed, in words. Raises SettingsError when too few are allowed."""
    needed, allowed = connections_needed(settings), connections_allowed(database)
    told = f"at most {needed} are needed ({counted(settings.machines, 'machine')}), {allowed} are allowed"
    if needed > allowed:
        raise SettingsError(
            f"{told}. When they run out, work fails and is tried again. Raise max_connections of Postgres, or the limit of the database or "
            "the user; or lower HEATERS_INGEST_RUNS, HEATERS_EXPORT_RUNS, HEATERS_ENRICH_RUNS and HEATERS_MASTER_RUNS"
        )
    return told


def connections_needed(settings: Settings) -> int:
    """At most, by everything that runs with these settings: the budget of docs/operate/database.md."""
    runs = sum(settings.runs_at_once.values()) + _OTHER_RUNS
    return settings.machines * runs * OF_A_RUN + OF_PARTS


def connections_allowed(database: Database) -> int:
    """By the server, the database and its user, without those kept for administrators."""
    with database.read() as connection:
        limits = connection.execute(_LIMITS).one()
    return min([int(limits.server), *(int(limit) for limit in (limits.database, limits.role) if limit is not None and limit >= 0)])
