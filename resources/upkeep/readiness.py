"""Whether a server can do its work now: whether its database and its object store can be used. Balancers and containers ask for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.object_store.probe import place_problem
from resources.postgres.database import Database

#: Whether the server answers at all; whether it can do its work.
LIVE_PATH, READY_PATH = "/healthz", "/readyz"
DATABASE, OBJECT_STORE = "database", "object store"
#: For how long an answer counts, however many ask.
_KEPT_SECONDS = 2.0
#: Who asks waits no longer than this: health checks are often given up after five seconds.
_PATIENCE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Ready:
    """problems: part -> why it cannot be used, in words that may hold addresses and names of buckets."""

    problems: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(slots=True)
class _Part:
    look: Callable[[], str | None]
    kept: tuple[float, str | None] | None = None
    running: Future[str | None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Readiness:
    """Of one process. open_database: gives its database; it may raise HeatersError.

    However many ask, each part is tried once at a time: a store that hangs holds one thread, not one for each request.
    """

    def __init__(self, settings: Settings, open_database: Callable[[], Database], *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._settings = settings
        self._patience_seconds = patience_seconds
        self._parts = {
            DATABASE: _Part(lambda: _database_problem(open_database)),
            OBJECT_STORE: _Part(lambda: place_problem(settings)),
        }

    def now(self) -> Ready:
        """Returns in time; a part that does not answer by then cannot be used."""
        asked = {name: _asked(part) for name, part in self._parts.items()}
        deadline = time.monotonic() + self._patience_seconds
        problems = {}
        for name, answer in asked.items():
            try:
                problem = answer.result(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                problem = f"it has not answered for {self._patience_seconds:g} s"
            if problem is not None:
                problems[name] = self._settings.without_secrets(problem)
        return Ready(problems)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body for who asks at LIVE_PATH or READY_PATH. The reasons are not in it, because everybody may ask."""
        if path == LIVE_PATH:
            return 200, {"live": True}
        found = self.now()
        return (200 if found.ok else 503), {"ready": found.ok, "unusable": list(found.problems)}


def _asked(part: _Part) -> Future[str | None]:
    """The answer that is known, or that of the try which runs now."""
    with part.lock:
        if part.kept is not None and time.monotonic() - part.kept[0] < _KEPT_SECONDS:
            known: Future[str | None] = Future()
            known.set_result(part.kept[1])
            return known
        if part.running is None:
            part.running = Future()
            threading.Thread(target=_try, args=(part, part.running), name="readiness", daemon=True).start()
        return part.running


def _try(part: _Part, answer: Future[str | None]) -> None:
    try:
        problem = part.look()
    except (HeatersError, OSError) as error:
        problem = str(error)
    except Exception as error:  # a defect is no reason to say that all is well, nor to keep everybody waiting
        problem = f"{type(error).__name__}: {error}"
    with part.lock:
        part.kept, part.running = (time.monotonic(), problem), None
    answer.set_result(problem)


def _database_problem(open_database: Callable[[], Database]) -> str | None:
    with open_database().read() as connection:
        connection.exec_driver_sql("select 1")
    return None
