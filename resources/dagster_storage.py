"""Where Dagster keeps its own runs, events and logs: in our Postgres and under our home folder, found through our settings.

`dagster dev` without DAGSTER_HOME makes a temporary home, but reads the `dagster.yaml` of the folder it is started in. Because that file
names these classes and no address, a plain `dagster dev` keeps its runs between sessions with nothing exported.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils import ensure_file, touch_file
from dagster_postgres import DagsterPostgresStorage

from heaters_dagster.settings import Settings, load_settings
from resources.database import dagster_database_url


class HeatersStorage(DagsterStorage[Any], ConfigurableClass):
    """dagster-postgres on the database of the settings; starts the embedded Postgres when that is the one. It has no configuration."""

    def __init__(self, settings: Settings, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._postgres: DagsterStorage[Any] = DagsterPostgresStorage(dagster_database_url(settings), should_autocreate_tables=True)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HeatersStorage:
        return cls(_settings(), inst_data)

    @property
    def event_log_storage(self) -> EventLogStorage[Any]:
        return self._postgres.event_log_storage

    @property
    def run_storage(self) -> RunStorage[Any]:
        return self._postgres.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage[Any]:
        return self._postgres.schedule_storage


class HeatersLogs(LocalComputeLogManager):
    """What steps print, in files under the home folder; with a bucket, by dagster-aws in the bucket, where every machine's UI finds it.

    Dagster's own manager also mirrors them to the terminal with two `tail` and two Python processes per run, which cost an export
    more than its work, and hide the terminal from progress bars.
    """

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        settings = _settings()
        logs = cls(base_dir=str(settings.dagster_home / "logs"), inst_data=inst_data)
        if settings.object_bucket is None:
            return logs
        from resources.bucket_logs import BucketLogs

        return BucketLogs(logs, settings.object_bucket, settings.s3_endpoint_url)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        out, err = (self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]) for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR))
        ensure_file(out)
        ensure_file(err)
        with redirect_to_file(sys.stdout, out), redirect_to_file(sys.stderr, err):
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]


_given: ContextVar[Settings | None] = ContextVar("given", default=None)


@contextmanager
def opened_with(settings: Settings) -> Iterator[None]:
    """Within this block Dagster's storage and logs are opened with these settings instead of those of the environment.

    As configuration they would travel with the instance: Dagster shows that in its UI, and puts it on command lines.
    """
    token = _given.set(settings)
    try:
        yield
    finally:
        _given.reset(token)


def _settings() -> Settings:
    return _given.get() or load_settings()
