"""Copies the rows of all tables of a schema out of one snapshot, and into empty tables, with COPY.

Not pg_dump: it has to be at least as new as the server, an older server does not take all that it writes, and it needs to be installed.
What is copied here are rows only. Their tables are made by the migrations, up to the revision of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

_REVISION = "alembic_version"
#: No rows to copy: they say what the tables are, and what runs now.
_NOT_COPIED = {_REVISION, "schema_compatibility", "run_leases"}


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table, the columns of which values are copied (those that are computed are left out), and its rows if they were counted."""

    name: str
    columns: tuple[str, ...]
    rows: int = 0


def tables_of(connection: Connection) -> list[CopiedTable]:
    """The tables of the current schema, each after those that it refers to. Unlogged ones are left out: they say what runs now."""
    named = {row.name: tuple(row.columns) for row in connection.execute(text(_TABLES)) if row.name not in _NOT_COPIED}
    needs: dict[str, set[str]] = {name: set() for name in named}
    for row in connection.execute(text(_REFERENCES)):
        if row.name in named and row.other in named and row.name != row.other:
            needs[row.name].add(row.other)
    ordered: list[CopiedTable] = []
    while needs:
        ready = sorted(name for name, others in needs.items() if not others & needs.keys())
        if not ready:
            raise ValueError(f"tables refer to one another in a circle: {', '.join(sorted(needs))}")
        ordered += [CopiedTable(name, named[name]) for name in ready]
        for name in ready:
            del needs[name]
    return ordered


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables in the current schema; None when there are none."""
    if connection.scalar(text("select to_regclass(format('%I.%I', current_schema(), cast(:name as text)))"), {"name": _REVISION}) is None:
        return None
    revision = connection.scalar(text("select version_num from alembic_version"))
    return None if revision is None else str(revision)


def copied_out(connection: Connection, table: CopiedTable) -> Iterator[bytes]:
    """The rows as COPY writes them as text, in pieces."""
    query = sql.SQL("copy (select {columns} from {table}) to stdout").format(columns=_columns(table), table=sql.Identifier(table.name))
    with _driver(connection).cursor() as cursor, cursor.copy(query) as copy:
        for piece in copy:
            yield bytes(piece)


def copied_in(connection: Connection, table: CopiedTable, pieces: Iterable[bytes]) -> int:
    """Load what `copied_out` gave; returns how many rows. Constraints are tested; see `as_they_were` for triggers."""
    query = sql.SQL("copy {table} ({columns}) from stdin").format(columns=_columns(table), table=sql.Identifier(table.name))
    with _driver(connection).cursor() as cursor:
        with cursor.copy(query) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


def as_they_were(connection: Connection, tables: Sequence[CopiedTable], load: Callable[[], None]) -> None:
    """Run `load` without the triggers that act on new rows, and without the indexes that only make reading fast; both come back after it.

    The rows were let in by the triggers when they were written; to count clips, or to stamp a time, a second time would change them. The
    owner of the tables may do this; nothing here needs a superuser.
    """
    names = [sql.Identifier(table.name) for table in tables]
    for name in names:
        _run(connection, sql.SQL("alter table {} disable trigger user").format(name))
    indexes = connection.execute(text(_PLAIN_INDEXES), {"tables": [table.name for table in tables]}).all()
    for index in indexes:
        _run(connection, sql.SQL("drop index {}").format(sql.Identifier(index.name)))
    load()
    for index in indexes:
        connection.exec_driver_sql(index.definition.replace("%", "%%"))
    for name in names:
        _run(connection, sql.SQL("alter table {} enable trigger user").format(name))


def filled_tables(connection: Connection, tables: Iterable[CopiedTable]) -> list[str]:
    """Which of these tables have a row."""
    return [table.name for table in tables if _first_row(connection, table.name)]


def sequences_of(connection: Connection) -> dict[str, int]:
    """Sequence of the current schema -> the last value that it gave. A sequence that gave none is left out."""
    rows = connection.execute(text("select sequencename, last_value from pg_sequences where schemaname = current_schema()"))
    return {row.sequencename: row.last_value for row in rows if row.last_value is not None}


def set_sequences(connection: Connection, last_values: Mapping[str, int]) -> None:
    known = set(connection.scalars(text("select sequencename from pg_sequences where schemaname = current_schema()")))
    for name, value in last_values.items():
        if name in known:
            connection.execute(
                text("select setval(cast(format('%I.%I', current_schema(), cast(:name as text)) as regclass), :value)"),
                {"name": name, "value": value},
            )


def _first_row(connection: Connection, table: str) -> bool:
    query = sql.SQL("select exists (select from {})").format(sql.Identifier(table))
    with _driver(connection).cursor() as cursor:
        row = cursor.execute(query).fetchone()
    return bool(row and row[0])


def _columns(table: CopiedTable) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, table.columns))


def _run(connection: Connection, statement: sql.Composed) -> None:
    with _driver(connection).cursor() as cursor:
        cursor.execute(statement)


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


_TABLES = """
select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
group by c.relname
"""
_REFERENCES = """
select a.relname as name, b.relname as other
from pg_constraint r join pg_class a on a.oid = r.conrelid join pg_class b on b.oid = r.confrelid
where r.contype = 'f' and a.relnamespace = current_schema()::regnamespace
"""
_PLAIN_INDEXES = """
select c.relname as name, pg_get_indexdef(i.indexrelid) as definition
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
where t.relnamespace = current_schema()::regnamespace and t.relname = any(:tables) and not i.indisunique
and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
order by c.relname
"""
