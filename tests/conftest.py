"""What most tests share: a Postgres for this session, a database for every test, settings and an object store in a temp folder.

Tests with xdist share one server. The controlling process makes its folder, stops the server and removes the folder at the end;
what a killed session left behind is removed by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from heaters_dagster.settings import Settings
from resources import embedded_postgres
from resources.database import Database, migrate
from resources.object_store.interface import ObjectStore

SESSION_FOLDER = "HEATERS_TEST_SESSION_FOLDER"
TEMPLATE = "heaters_template"

_session_lock = pytest.StashKey[int]()
_numbers = count()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    _sweep_killed_sessions()
    folder = tempfile.mkdtemp(prefix="heaters-tests-")
    os.chmod(folder, 0o711)  # as root the server runs as another user
    config.stash[_session_lock] = _locked(Path(folder))
    os.environ[SESSION_FOLDER] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(SESSION_FOLDER))
    embedded_postgres.remove(folder / "postgres")
    shutil.rmtree(folder, ignore_errors=True)
    os.close(config.stash[_session_lock])


def _locked(folder: Path) -> int:
    lock = os.open(folder / "session.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep_killed_sessions() -> None:
    for folder in Path(tempfile.gettempdir()).glob("heaters-tests-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < 60:
                continue  # perhaps just made and not locked yet
            lock = _locked(folder)
            embedded_postgres.remove(folder / "postgres")
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of the database `postgres` of a server that runs for this test session; `heaters_template` in it is empty and migrated."""
    url = embedded_postgres.ensure_running(Path(os.environ[SESSION_FOLDER]) / "postgres", durable=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(1)")
        if connection.execute("select from pg_database where datname = %s", (TEMPLATE,)).fetchone() is None:
            connection.execute(f"create database {TEMPLATE}_new")
            database = Database.connect(_url_of(url, f"{TEMPLATE}_new"))
            migrate(database)
            database.dispose()
            connection.execute(f"alter database {TEMPLATE}_new rename to {TEMPLATE}")
    return url


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """A migrated database without a row in it, only for this test."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        database = Database.connect(_url_of(postgres_url, name))
        yield database
        database.dispose()
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    """Settings of a fresh home, with the test's own database; nothing of the environment."""
    return Settings(home=tmp_path, database_url=database.url)


@pytest.fixture
def object_store(settings: Settings) -> ObjectStore:
    """An empty local object store."""
    from resources.object_store.local import LocalObjectStore

    return LocalObjectStore(settings.objects_folder, work_folder=settings.work_folder)


def _url_of(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)
