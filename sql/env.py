"""Where Alembic meets the database: by the connection of `resources.postgres.database`, or by the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pgvector.sqlalchemy import Vector
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from resources.postgres import (
    count_tables,
    ingest_tables,
    knowing_tables,
    making_tables,
    master_restores,
    related_tables,
    run_tables,
    schema_tables,
    store_pauses,
)
from resources.postgres.tables import metadata

#: Their import adds their tables to the metadata.
TABLES = (
    count_tables,
    ingest_tables,
    knowing_tables,
    making_tables,
    master_restores,
    related_tables,
    run_tables,
    schema_tables,
    store_pauses,
)

#: Two processes that start at once migrate one after the other; the second finds nothing to do.
MIGRATION_LOCK = 7_438_219_640_551_208


@contextmanager
def connected() -> Iterator[Connection]:
    given = context.config.attributes.get("connection")
    if given is not None:
        yield given
        return
    from heaters_dagster.settings import load_settings
    from resources.postgres.connecting import patience
    from resources.postgres.database import database_url

    url = make_url(database_url(load_settings()))
    engine = create_engine(url, connect_args=patience(url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def numbered(_: object, __: object, directives: list[MigrationScript]) -> None:
    """Give a new revision the next number: file names sort in order, and the last one is the newest."""
    newest = ScriptDirectory.from_config(context.config).get_current_head() or "0"
    directives[0].rev_id = f"{int(newest) + 1:04d}"


if context.is_offline_mode():
    raise CommandError("migrations are run on a database, not written out as SQL: leave out --sql")

with connected() as connection:
    connection.dialect.ischema_names["vector"] = Vector
    context.configure(connection=connection, target_metadata=metadata, process_revision_directives=numbered)
    with context.begin_transaction():
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()
