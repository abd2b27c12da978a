"""Whether a server says in time, and truly, that its database or its object store cannot be used."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.upkeep.readiness import DATABASE, LIVE_PATH, OBJECT_STORE, READY_PATH, Readiness

SECRET = "a-password-of-the-database"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that lets connections in and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_what_can_be_used_is_ready(settings: Settings, database: Database) -> None:
    readiness = Readiness(settings, lambda: database)
    assert readiness.now().problems == {}
    assert readiness.answer(READY_PATH) == (200, {"ready": True, "unusable": []})


def test_a_store_that_cannot_be_used_is_named_and_why_is_not_told_to_everybody(settings: Settings, database: Database) -> None:
    broken = replace(settings, bucket="no-such-bucket-here") if settings.bucket else settings
    if not settings.bucket:
        settings.objects_folder.write_bytes(b"a file where the folder should be")
    readiness = Readiness(broken, lambda: database)
    assert list(readiness.now().problems) == [OBJECT_STORE]
    assert readiness.answer(READY_PATH) == (503, {"ready": False, "unusable": [OBJECT_STORE]})
    assert readiness.answer(LIVE_PATH) == (200, {"live": True}), "it runs: to start it again would not help"


@pytest.mark.folder
def test_a_database_that_hangs_holds_one_thread_and_nobody_longer_than_told(settings: Settings, silent: int) -> None:
    hangs = Database.connect(f"postgresql+psycopg://heaters:{SECRET}@127.0.0.1:{silent}/heaters")
    readiness = Readiness(replace(settings, database_url=hangs.url), lambda: hangs, patience_seconds=0.2)
    began = {thread.ident for thread in threading.enumerate()}
    for _ in range(4):
        assert readiness.now().problems == {DATABASE: "it has not answered for 0.2 s"}
    trying = [one for one in threading.enumerate() if one.name == "readiness" and one.ident not in began]
    assert len(trying) == 1


@pytest.mark.folder
def test_a_database_that_is_back_is_found_to_be_so(settings: Settings, database: Database, silent: int) -> None:
    gone = Database.connect(f"postgresql+psycopg://heaters:{SECRET}@127.0.0.1:1/heaters")
    now = [gone]
    readiness = Readiness(replace(settings, database_url=gone.url), lambda: now[0])
    (told,) = readiness.now().problems.values()
    assert SECRET not in told
    now[0] = database
    deadline = time.monotonic() + 30
    while not readiness.now().ok:
        assert time.monotonic() < deadline
        time.sleep(0.1)
