"""How Heaters is, for a page that a person reads: what waits, what failed and why, which parts work, what is stored, the versions.

Figures for programs are in `metrics.py`; both read the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from heaters_dagster.domain.disk_room import in_bytes
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.progress import duration
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import last_known_problem
from resources.postgres import figures
from resources.postgres.backlog import Group, load_backlog
from resources.postgres.database import Database
from resources.postgres.failing_starts import failing_jobs
from resources.postgres.server_figures import DagsterFigures, connections, load_dagster_figures, reading_dagster_tables
from resources.upkeep.machine import checked_disk, database_told, versions
from resources.upkeep.stored_bytes import Stored, load_stored

#: Dagster's daemon says every half minute that it lives, and while nothing happens it rests for up to a minute.
HEARTBEAT_SECONDS = 150.0
#: The daemon on which all others depend: it looks what is due.
HEARTBEAT = "SENSOR"
_MANY_CONNECTIONS = 0.8


@dataclass(frozen=True, slots=True)
class PartState:
    """told: how it is. problem: what is wrong with it and what to do, None when nothing is."""

    name: str
    told: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """groups: what waits and what failed, in the order of the pipeline. failed: (stage, kind of failure) -> how many."""

    groups: tuple[Group, ...]
    failed: Mapping[tuple[str, str], int]
    parts: tuple[PartState, ...]
    stored: tuple[Stored, ...]
    versions: tuple[tuple[str, str], ...]


def load_condition(settings: Settings, database: Database, objects: ObjectStore) -> Condition:
    """Raises DatabaseUnavailableError; everything else that is wrong is in what is returned."""
    with database.read() as connection:
        failed, stored = figures.failed_by_kind(connection), load_stored(connection)
        opened, most = connections(connection)
    used = sum(opened.values())
    parts = [
        PartState(
            "Database",
            f"{database_told(database)}; {used:,} of {most:,} connections used",
            f"{used:,} of {most:,} connections are used: raise max_connections, or end what holds them"
            if most and used > _MANY_CONNECTIONS * most
            else None,
        ),
        PartState("Object store", _store_told(settings), _without_secrets(settings, last_known_problem(objects))),
        _disk(settings),
        *_dagster(settings),
    ]
    found = tuple(versions())
    return Condition(tuple(load_backlog(database)), failed, tuple(parts), tuple(stored), found)


def daemon_problem(found: DagsterFigures | None) -> str | None:
    """Why nothing is done by itself; None when Dagster's daemon was heard of a short time ago."""
    seconds = None if found is None else found.heartbeats.get(HEARTBEAT)
    if seconds is None:
        return "it has never been heard of in this database: start it with heaters up or heaters serve daemon"
    if seconds > HEARTBEAT_SECONDS:
        return f"it has not been heard of for {duration(seconds)}: nothing is done by itself until it runs again"
    return None


def _store_told(settings: Settings) -> str:
    return f"bucket {settings.object_bucket}" if settings.object_bucket else "a folder of this machine"


def _without_secrets(settings: Settings, problem: str | None) -> str | None:
    return None if problem is None else settings.without_secrets(problem)


def _disk(settings: Settings) -> PartState:
    try:
        return PartState("Disk", f"{in_bytes(checked_disk(settings))} free")
    except (HeatersError, OSError) as error:
        return PartState("Disk", "", str(error))


def _dagster(settings: Settings) -> Iterator[PartState]:
    try:
        with reading_dagster_tables(settings) as connection:
            found, failing = load_dagster_figures(connection), failing_jobs(connection)
    except HeatersError as error:
        yield PartState("Daemon", "", settings.without_secrets(str(error)))
        return
    seconds = None if found is None else found.heartbeats.get(HEARTBEAT)
    yield PartState("Daemon", "" if seconds is None else f"heard of {duration(seconds)} ago", daemon_problem(found))
    if failing:
        told = "; ".join(one.sentence for one in failing.values())
        yield PartState("Starts of runs", "", settings.without_secrets(f"{told}. One run is tried every five minutes, and then all"))
    if found is not None:
        runs = [f"{job}: {counted(count, 'run')} {status}" for (job, status), count in sorted(found.runs.items())]
        yield PartState("Runs", "; ".join(runs) or "none is unfinished")
        failed = [f"{ticks.name}: {counted(ticks.count, 'tick')} failed" for ticks in found.ticks if ticks.status == "failure"]
        if failed:
            yield PartState("Sensors", "", f"{'; '.join(failed)} in the last hour. Their logs in the Dagster UI say why")
