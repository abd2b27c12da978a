"""Runs a step in processes that die of SIGKILL, each later than the one before: before its first effect, its second, its third.

An effect is a commit in Postgres of a transaction that may have written, or an object that is written or deleted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from heaters_dagster.settings import Settings, child_environment, load_settings
from resources.object_store.local import LocalObjectStore
from resources.object_store.open import open_object_store
from resources.object_store.s3 import S3ObjectStore
from resources.postgres.database import Database
from tests.warm_process import ran


def deaths(settings: Settings, code: str, *arguments: Any) -> Iterator[int]:
    """Yields after each process that died, and ends when one has come to its end. Each begins with what those before it left.

    code: defines `step(database, objects, settings, *arguments)`.
    """
    program, number = f"from tests.killed_steps import run\n{code}\nrun(step)", 0
    while True:
        number += 1
        done = ran(program, str(number), json.dumps(arguments), environment=child_environment(settings))
        if done.returncode == 0:
            return
        assert done.returncode == -signal.SIGKILL, f"the step failed: {done.stderr}"
        yield number


def run(step: Callable[..., None]) -> None:
    """In the process: the step, which dies before its effect of that number."""
    settings = load_settings()
    assert settings.database_url is not None
    stored = Database.connect(settings.database_url), open_object_store(settings)
    _die_before(int(sys.argv[1]))
    step(*stored, settings, *json.loads(sys.argv[2]))


def _die_before(number: int) -> None:
    left = [number]

    def effect(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def committed(connection: Connection) -> None:
        if not connection.get_execution_options().get("postgresql_readonly"):
            effect()

    event.listen(Engine, "commit", committed)
    for kind in (LocalObjectStore, S3ObjectStore):
        for name in ("put_file", "put_bytes", "delete"):
            setattr(kind, name, _after(effect, getattr(kind, name)))


def _after(effect: Callable[[], None], method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        effect()
        return method(*arguments, **options)

    return call
