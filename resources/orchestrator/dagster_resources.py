"""The stores, the work folder and progress as Dagster resources.

An asset names the resources that it needs; its core function never uses Dagster. Resources have no configuration, because Dagster keeps
configuration in its database and shows it to everybody who reaches its UI. Each process that uses one reads its own environment. Tests,
and programs with their own settings, pass their settings with `dagster_resources(settings)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import dagster as dg
from pydantic import PrivateAttr

from heaters_dagster.domain.progress import Progress, Report
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.object_store.interface import ObjectStore
    from resources.object_store.originals import Originals
    from resources.object_store.stills import Stills
    from resources.object_store.work_folder import WorkFolder
    from resources.postgres.database import Database

_LOG_INTERVAL_SECONDS = 5.0
_shown_by: ContextVar[Report | None] = ContextVar("shown_by", default=None)


class Log(Protocol):
    """The methods of a logger that progress needs; `context.log` has them."""

    def info(self, msg: object, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a stage works: the settings, the folder of its temporary files, and the originals and stills that the run has at hand."""

    settings: Settings
    work: WorkFolder
    originals: Callable[[ObjectStore], Originals]
    stills: Callable[[ObjectStore], Stills]


class _FromSettings(dg.ConfigurableResource[None]):
    def settings(self) -> Settings:
        return load_settings()


class DatabaseResource(_FromSettings):
    """Postgres: source videos, clips, decisions, embeddings."""

    def get(self) -> Database:
        """The process's one Database for these settings; starts the embedded Postgres and migrates when needed."""
        return shared_database(self.settings())


class ObjectStoreResource(_FromSettings):
    """Files under object keys: a local folder, or S3 when a bucket is set."""

    def get(self) -> ObjectStore:
        from resources.object_store.open import shared_object_store

        return shared_object_store(self.settings())


class MachineResource(_FromSettings):
    """Settings and work folder of a stage. Files that a run keeps in it are deleted when the run ends."""

    _originals: Originals | None = PrivateAttr(default=None)
    _stills: Stills | None = PrivateAttr(default=None)

    def get(self) -> Machine:
        from resources.object_store.work_folder import WorkFolder

        settings = self.settings()
        work = WorkFolder.of(settings)

        def originals(objects: ObjectStore) -> Originals:
            from resources.object_store.originals import Originals

            self._originals = self._originals or Originals(objects, work)
            return self._originals

        def stills(objects: ObjectStore) -> Stills:
            from resources.object_store.stills import Stills

            self._stills = self._stills or Stills(objects)
            return self._stills

        return Machine(settings=settings, work=work, originals=originals, stills=stills)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        if self._originals is not None:
            self._originals.close()
            self._originals = None
        self._stills = None


class ProgressResource(dg.ConfigurableResource[None]):
    """Shows the progress of a stage: as lines in the run's log, or as bars of the command that runs it."""

    def report_to(self, log: Log) -> Report:
        """A report for one stage. Inside a `progress_shown_by` block it goes there; else it writes at most one log line every 5 seconds."""
        return _shown_by.get() or logged(log)


@contextmanager
def progress_shown_by(report: Report) -> Iterator[None]:
    """Within this block, stages that run in this thread report here and not to Dagster's log."""
    token = _shown_by.set(report)
    try:
        yield
    finally:
        _shown_by.reset(token)


def logged(log: Log, *, clock: Callable[[], float] = time.monotonic) -> Report:
    """Write progress to a log as sentences: at most one every 5 seconds, and always the end of a stage.

    A line is an event in Dagster's database, so a line per frame would cost more than the frame.
    """
    last: dict[str, float] = {}

    def report(progress: Progress) -> None:
        now = clock()
        finished = progress.total is not None and progress.done >= progress.total
        if not finished and now - last.setdefault(progress.stage, now) < _LOG_INTERVAL_SECONDS:
            return
        last[progress.stage] = now
        log.info(str(progress))

    return report


def dagster_resources(settings: Settings | None = None) -> Mapping[str, dg.ConfigurableResource[None]]:
    """Resource key -> resource, for `Definitions` and for tests; settings None: those of the process, read when first used."""
    return {
        "database": _made(DatabaseResource, settings),
        "object_store": _made(ObjectStoreResource, settings),
        "machine": _made(MachineResource, settings),
        "progress": ProgressResource(),
    }


def _made(kind: type[_FromSettings], settings: Settings | None) -> _FromSettings:
    """A resource whose class is made for these settings. A value in the resource itself would be configuration."""
    if settings is None:
        return kind()
    members = {"__module__": kind.__module__, "__doc__": kind.__doc__, "settings": lambda self: settings}
    known: type[_FromSettings] = type(kind.__name__, (kind,), members)
    return known()


@lru_cache(maxsize=8)
def shared_database(settings: Settings) -> Database:
    """The one Database of this process for these settings."""
    from resources.postgres.database import open_database

    return open_database(settings)
