"""A database of its own for one measurement, in a home that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heaters_dagster.settings import Settings
from resources.postgres import embedded_postgres
from resources.postgres.database import Database, open_database


@contextmanager
def scratch_database() -> Iterator[tuple[Settings, Database]]:
    """The settings of the home, and its database: migrated and empty."""
    home = Path(tempfile.mkdtemp(prefix="heaters-benchmark-"))
    home.chmod(0o711)  # as root the server runs as another user
    settings = Settings(home=home)
    try:
        database = open_database(settings)
        yield settings, database
        database.dispose()
    finally:
        embedded_postgres.remove(settings.postgres_folder)
        shutil.rmtree(home, ignore_errors=True)
