"""Which schema the database has, which one this program needs, and the way from one to the other.

While a deployment is renewed, old and new programs use one database. So a migration only adds (it expands): the program of before works
with the schema of after. What nobody uses any more is taken away by a later migration, which names the oldest program that works without
it: `contracts = "0036"` in its file means that programs which know revision 0036 do. `oldest_program` follows from that, and stands in the
database, where programs find it that do not know the newest revision.
"""

from __future__ import annotations

import ast
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import PROJECT_ROOT

MIGRATIONS = PROJECT_ROOT / "sql"
#: Programs from this revision on know how to live with a newer schema; older ones refuse it.
FIRST_SIDE_BY_SIDE = "0034"

#: Alembic keeps the running migration in a global variable, so threads take turns. Processes take turns by the lock in `sql/env.py`.
_migrating = threading.Lock()


class Transactions(Protocol):
    """What a migration needs of a database."""

    def begin(self) -> AbstractContextManager[Connection]: ...
    def read(self) -> AbstractContextManager[Connection]: ...


@dataclass(frozen=True, slots=True)
class SchemaState:
    """revision: of the database; None: it is empty. newest: that this program knows. oldest_program: that works with the database.

    pending: revisions that are to be applied, the oldest first.
    """

    revision: str | None
    newest: str
    oldest_program: str | None
    pending: tuple[str, ...]

    @property
    def is_newer(self) -> bool:
        """Whether a newer program has migrated the database."""
        return self.revision is not None and self.revision > self.newest

    @property
    def works(self) -> bool:
        """Whether this program works with the database as it is."""
        return not self.pending and (not self.is_newer or (self.oldest_program is not None and self.oldest_program <= self.newest))


def known_revisions(folder: Path = MIGRATIONS) -> list[str]:
    return sorted(path.name.split("_", 1)[0] for path in (folder / "versions").glob("[0-9]*_*.py"))


def oldest_program(folder: Path = MIGRATIONS) -> str:
    """The revision that a program must know at least to work with the newest schema: the highest that a migration names as `contracts`."""
    named = [contracted(path) for path in (folder / "versions").glob("[0-9]*_*.py")]
    return max([FIRST_SIDE_BY_SIDE, *(one for one in named if one is not None)])


def contracted(migration: Path) -> str | None:
    """What the file names as `contracts`; read, not run."""
    for line in ast.parse(migration.read_text()).body:
        if isinstance(line, ast.Assign) and [getattr(target, "id", None) for target in line.targets] == ["contracts"]:
            return str(ast.literal_eval(line.value))
    return None


def schema_state(connection: Connection) -> SchemaState:
    known = known_revisions()
    revision = _scalar(connection, "alembic_version", "version_num")
    pending = tuple(one for one in known if revision is None or one > revision)
    return SchemaState(revision, known[-1], _scalar(connection, "schema_compatibility", "oldest_program"), pending)


def _scalar(connection: Connection, table: str, column: str) -> str | None:
    if connection.scalar(text("select to_regclass(:name)"), {"name": table}) is None:
        return None
    found = connection.scalar(text(f"select {column} from {table}"))
    return None if found is None else str(found)


def refuse_unusable(state: SchemaState) -> None:
    """Raises SettingsError when this program does not work with the database, and says what to do."""
    if state.works:
        return
    if state.is_newer:
        raise SettingsError(
            f"the database is at revision {state.revision}, which this Heaters does not know (newest: {state.newest}): update Heaters"
        )
    raise SettingsError(
        f"the database is at revision {state.revision or 'none'}, and this Heaters needs {state.newest}: type heaters migrate. "
        "It does not do so by itself, because HEATERS_MIGRATE is false"
    )


def migrate(database: Transactions) -> None:
    """Bring the schema to the newest revision. This is quick when nothing is to be done: a few queries and no import of Alembic.

    Raises SettingsError when a newer Heaters has migrated the database so that this one does not work with it, or when it lacks pgvector.
    """
    with database.begin() as connection:
        state = schema_state(connection)
        if not state.pending:
            refuse_unusable(state)
            return
        upgrade(connection)


def upgrade(connection: Connection, revision: str | None = None) -> None:
    """Bring the schema up to `revision`, in the transaction of `connection`; None: to the newest, and store which programs work with it.

    Raises SettingsError when the database lacks pgvector.
    """
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    try:
        with _migrating:
            command.upgrade(config, revision or "head")
    except DBAPIError as error:
        if isinstance(error.orig, (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege)):
            said = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
            raise SettingsError(
                f"the database cannot be set up: {said}. Heaters needs pgvector: install it on the server and, "
                f"as an administrator, type: create extension vector"
            ) from None
        raise
    if revision is None:
        connection.execute(text("delete from schema_compatibility"))
        connection.execute(text("insert into schema_compatibility values (:oldest)"), {"oldest": oldest_program()})


def downgrade(connection: Connection, revision: str) -> None:
    """Bring an empty schema back to this revision, in the transaction of `connection`."""
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    with _migrating:
        command.downgrade(config, revision)


def check_schema(database: Transactions) -> None:
    """Raises SettingsError when this program does not work with the database as it is. Changes nothing."""
    with database.read() as connection:
        refuse_unusable(schema_state(connection))


def alembic_config() -> Any:
    """Alembic's settings, as code, so that they work from every folder."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
