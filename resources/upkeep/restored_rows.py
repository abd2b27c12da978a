"""Loads the rows of a backup into empty databases: all of them, or none when it is killed in the middle."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from heaters_dagster.domain.errors import BadRequestError, PermanentError, SettingsError
from heaters_dagster.domain.words import counted
from resources.postgres.database import Database
from resources.postgres.migrations import downgrade, known_revisions, upgrade
from resources.postgres.table_copies import (
    CopiedTable,
    as_they_were,
    copied_in,
    filled_tables,
    revision_of,
    sequences_of,
    set_sequences,
    tables_of,
)
from resources.upkeep.backup import DAGSTER, HEATERS
from resources.upkeep.backup_place import AboutBackup, SavedPart, SavedTable

#: In Dagster's table of keys and values, while a restore is not complete: then its rows may be replaced.
_UNFINISHED = "heaters_restore_unfinished"
_PIECE_BYTES = 1 << 20
SOURCE_VIDEO_NUMBERS = "source_videos_id_seq"


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go. dagster: None: only the rows of Heaters."""

    heaters: Database
    dagster: Database | None


def check_empty(target: Target) -> None:
    """Raises BadRequestError, in words, when there are rows of Heaters, or runs of Dagster."""
    with target.heaters.begin() as connection:
        _refuse_rows(connection)
    if target.dagster is not None:
        with target.dagster.begin() as connection:
            _refuse_runs(connection)


def load_rows(
    target: Target, about: AboutBackup, rows: Path, *, then: Callable[[Connection], None] = lambda connection: None
) -> dict[str, int]:
    """Load `rows.zip`; returns how many rows each part has now. then: runs in the transaction of Heaters' rows, when they are loaded.

    Dagster's tables must be there. Raises BadRequestError when the target is not empty, SettingsError when this Heaters is too old,
    PermanentError when the rows are not those that were saved; then nothing is changed.
    """
    of_heaters = about.parts[HEATERS]
    if of_heaters.revision not in known_revisions():
        raise SettingsError(
            f"backup {about.name} was made by Heaters {about.heaters}, with revision {of_heaters.revision} of the database, which this "
            f"Heaters does not know (newest: {known_revisions()[-1]}): update Heaters"
        )
    with zipfile.ZipFile(rows) as members, ExitStack() as stack:
        # Left in reverse: Dagster's rows are there first, marked as unfinished until Heaters' are there too.
        connection = stack.enter_context(target.heaters.begin())
        _make_tables(connection, of_heaters.revision)
        _load(connection, HEATERS, of_heaters, members)
        upgrade(connection)
        then(connection)
        if target.dagster is not None:
            of_dagster = stack.enter_context(target.dagster.begin())
            _refuse_runs(of_dagster)
            _empty(of_dagster)
            _load(of_dagster, DAGSTER, about.parts[DAGSTER], members)
            of_dagster.execute(text("insert into kvs (key, value) values (:key, :name)"), {"key": _UNFINISHED, "name": about.name})
    if target.dagster is not None:
        with target.dagster.begin() as of_dagster:
            of_dagster.execute(text("delete from kvs where key = :key"), {"key": _UNFINISHED})
    for one in filter(None, (target.heaters, target.dagster)):
        with one.begin() as connection:
            connection.execute(text("analyze"))
    parts = (HEATERS,) if target.dagster is None else (HEATERS, DAGSTER)
    return {part: about.parts[part].rows for part in parts}


def _refuse_rows(connection: Connection) -> None:
    if revision_of(connection) is None:
        return
    if filled := filled_tables(connection, tables_of(connection)):
        shown = ", ".join(filled[:3]) + (f" and {len(filled) - 3} more tables" if len(filled) > 3 else "")
        raise BadRequestError(
            f"the database is not empty, it has rows in {shown}: a backup is restored into an empty place only. Set HEATERS_HOME to a new "
            "folder, or HEATERS_DATABASE_URL to a new database, and type the same command again"
        )


def _refuse_runs(connection: Connection) -> None:
    tables = {table.name for table in tables_of(connection)}
    if "runs" not in tables or connection.scalar(text("select exists (select from kvs where key = :key)"), {"key": _UNFINISHED}):
        return
    if connection.scalar(text("select exists (select from runs)")):
        raise BadRequestError(
            "Dagster's database is not empty, it has runs: a backup is restored into an empty place only. Set HEATERS_HOME to a new "
            "folder, or HEATERS_DATABASE_URL to a new database, and type the same command again"
        )


def _make_tables(connection: Connection, revision: str) -> None:
    """The empty tables of Heaters as they were when the rows were saved."""
    _refuse_rows(connection)
    present = revision_of(connection)
    if present is not None and present not in known_revisions():
        raise SettingsError(f"the database is at revision {present}, which this Heaters does not know: update Heaters")
    if present is None or present < revision:
        upgrade(connection, revision)
    elif present > revision:
        downgrade(connection, revision)
    for table in tables_of(connection):
        connection.execute(text(f'lock table "{table.name}"'))
    _refuse_rows(connection)  # nobody has been faster


def _empty(connection: Connection) -> None:
    """What Dagster writes by itself as soon as it runs: its heartbeats and ticks."""
    connection.execute(text("set local lock_timeout = '20s'"))
    names = ", ".join(f'"{table.name}"' for table in tables_of(connection))
    connection.execute(text(f"truncate {names}"))


def _load(connection: Connection, part: str, saved: SavedPart, members: zipfile.ZipFile) -> None:
    there = {table.name: table for table in tables_of(connection)}
    wanted = {table.name: table for table in saved.tables if table.rows}
    for table in wanted.values():
        lacks = [table.name] if table.name not in there else sorted(set(table.columns) - set(there[table.name].columns))
        if lacks:
            another = "use the Heaters that made it, or --without-dagster" if part == DAGSTER else "use the Heaters that made it"
            raise PermanentError(f"the backup has {', '.join(lacks)} in the rows of {part}, which is not known here: {another}")
    in_order = [CopiedTable(name, wanted[name].columns, wanted[name].rows) for name in there if name in wanted]

    def load() -> None:
        for table in in_order:
            _load_table(connection, part, table, wanted[table.name], members)

    as_they_were(connection, in_order, load)
    set_sequences(connection, saved.sequences)


def _load_table(connection: Connection, part: str, table: CopiedTable, saved: SavedTable, members: zipfile.ZipFile) -> None:
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        with members.open(f"{part}/{table.name}.copy") as member:
            while piece := member.read(_PIECE_BYTES):
                digest.update(piece)
                yield piece

    loaded = copied_in(connection, table, pieces())
    if loaded != saved.rows or digest.hexdigest() != saved.sha256:
        told = counted(saved.rows, "row")
        raise PermanentError(f"table {table.name} of {part} is damaged in the backup: {told} saved, {loaded:,} loaded; take another backup")


def leave_numbers_out(connection: Connection, *, next_source_video: int, clips: Mapping[int, int], ids: int) -> None:
    """Numbers that were given after the backup are not given again. clips: source video -> greatest number of a clip with a file."""
    later = {name: value + ids for name, value in sequences_of(connection).items()}
    set_sequences(connection, later | {SOURCE_VIDEO_NUMBERS: next_source_video - 1})
    for source_video_id, number in clips.items():
        connection.execute(
            text("update source_videos set next_clip_sequence = :next where id = :id and next_clip_sequence < :next"),
            {"id": source_video_id, "next": number + 1},
        )
