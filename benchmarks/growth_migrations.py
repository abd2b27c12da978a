"""How long each migration takes on a large database, and for how long it keeps others from its tables."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from resources.postgres.database import Database
from resources.postgres.migrations import alembic_config

_TABLES = ("source_videos", "clips", "review_actions", "clip_artifacts")
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Migrated:
    """read_held, write_held: seconds in which no other session could read, or write, a table; the longest, and of which table."""

    revision: str
    seconds: float
    read_held: tuple[float, str]
    write_held: tuple[float, str]


def taken_back(database: Database, revision: str) -> None:
    """Take a database back to an older schema; with rows in it that takes minutes."""
    _alembic(database, command.downgrade, revision)


def migrated(database: Database, *, after: str) -> list[Migrated]:
    """Take a database through all migrations after the revision that it is at."""
    script = ScriptDirectory.from_config(alembic_config())
    revisions = [one.revision for one in script.iterate_revisions("head", after)]
    found = [_one(database, revision) for revision in reversed(revisions)]
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return found


def _one(database: Database, revision: str) -> Migrated:
    held = {(table, mode): 0.0 for table in _TABLES for mode in ("access share", "row exclusive")}
    done = threading.Event()

    def watch(mode: str) -> None:
        with database.engine.connect() as connection:
            while not done.wait(_LOOK_SECONDS):
                began = time.monotonic()
                for table in _TABLES:
                    if not _free(connection, table, mode):
                        held[table, mode] += _LOOK_SECONDS + time.monotonic() - began

    watchers = [threading.Thread(target=watch, args=(mode,)) for mode in ("access share", "row exclusive")]
    for watcher in watchers:
        watcher.start()
    began = time.monotonic()
    _alembic(database, command.upgrade, revision)
    seconds = time.monotonic() - began
    done.set()
    for watcher in watchers:
        watcher.join()
    longest = [max((held[table, mode], table) for table in _TABLES) for mode in ("access share", "row exclusive")]
    return Migrated(revision, seconds, longest[0], longest[1])


def _free(connection: Connection, table: str, mode: str) -> bool:
    try:
        with connection.begin():
            connection.execute(text(f"lock table {table} in {mode} mode nowait"))
    except OperationalError:
        return False
    return True


def _alembic(database: Database, step: object, revision: str) -> None:
    assert callable(step)
    config = alembic_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        step(config, revision)
