"""Where Dagster keeps its runs, events and logs, and how runs get into its queue. Heaters' settings decide.

All of it is in Heaters' Postgres and under HEATERS_HOME.

`dagster dev` without DAGSTER_HOME makes a temporary home, but reads the `dagster.yaml` of the folder it is started in. Because that file
names these classes and no address, a plain `dagster dev` keeps its runs between sessions with nothing exported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import AssetKey, DagsterEventType, DagsterRun

from heaters_dagster import event_log
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.run_queues import OTHER, WEIGHED, WEIGHT_TAG, queue_limits, weight_tags
from heaters_dagster.domain.run_tags import JOB_TAG, TITLE_TAG, tags_of_work
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import ASSETS_OF_JOB, Job
from heaters_dagster.settings import Settings, load_settings
from resources.orchestrator.dagster_connections import open_dagster_storage
from resources.orchestrator.dagster_private import (
    IO_TYPE_EXTENSION,
    PARTITION_NAME_TAG,
    AssetCheckExecutionRecordStatus,
    AssetCheckExecutionsTable,
    CapturedLogContext,
    ComputeIOType,
    ConfigurableClass,
    ConfigurableClassData,
    DagsterStorage,
    EventLogStorage,
    LocalComputeLogManager,
    QueuedRunCoordinator,
    RunStorage,
    ScheduleStorage,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SubmitRunContext,
    ensure_file,
    lead_console_loggers_to,
    redirect_to_file,
    touch_file,
)
from resources.orchestrator.dagster_resources import shared_database
from resources.orchestrator.leased_runs import tie_leases
from resources.postgres.database import dagster_database_url
from resources.postgres.nudges import Nudge, nudge
from resources.postgres.source_video_store import SourceVideoStore

#: Programs of Dagster whose output is for their log only.
_SERVERS = frozenset({"dagster-daemon", "dagster-webserver"})


class HeatersStorage(DagsterStorage[Any], ConfigurableClass):
    """dagster-postgres on the database of the settings; starts the embedded Postgres if it is used. It has no configuration."""

    def __init__(self, settings: Settings, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._postgres: DagsterStorage[Any] = open_dagster_storage(dagster_database_url(settings))
        tie_leases(self._postgres, settings)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HeatersStorage:
        """Every program of Dagster opens the storage first, so here its log gets its form too, also in those that are not ours."""
        settings = given_settings()
        event_log.set_up(settings, owns_output=Path(sys.argv[0]).name in _SERVERS)
        if (handler := event_log.handler()) is not None:
            lead_console_loggers_to(handler)
        return cls(settings, inst_data)

    @property
    def event_log_storage(self) -> EventLogStorage[Any]:
        return self._postgres.event_log_storage

    @property
    def run_storage(self) -> RunStorage[Any]:
        return self._postgres.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage[Any]:
        return self._postgres.schedule_storage


class HeatersRunCoordinator(QueuedRunCoordinator):
    """The queue. It gives every run the tags that its limits use, no matter how the run was started; the settings say the limits.

    Sensors can tag only their own runs; a run that a person starts in the UI, and each run of a backfill, has no such tags.
    Limits under `concurrency: runs:` of an instance file come before those of the settings.
    """

    def __init__(self, settings: Settings, *, tags_of_jobs: Mapping[str, Mapping[str, Any]] | None = None, **options: Any) -> None:
        most, limits = queue_limits(settings.runs_at_once, settings.machines, large_masters=settings.large_masters)
        self._settings = settings
        self._tags_of_jobs = tags_of_jobs or {}
        super().__init__(**{"max_concurrent_runs": most, "tag_concurrency_limits": limits, **options})

    @classmethod
    def config_type(cls) -> Any:
        config: Any = super().config_type()
        return {**config, "tags_of_jobs": dg.Field(dict, is_required=False, description=_TAGS_OF_JOBS)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HeatersRunCoordinator:
        return cls(given_settings(), inst_data=inst_data, **config_value)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        missing = missing_tags(run, self._title)
        missing |= self._weight(run, missing)
        missing |= {name: value for name, value in self._of_launcher({**run.tags, **missing}).items() if name not in run.tags}
        if missing:
            self._instance.add_run_tags(run.run_id, missing)
        submitted = super().submit_run(context)
        with suppress(HeatersError):
            nudge(shared_database(self._settings), Nudge.RUNS)
        return submitted

    def _title(self, source_video_id: int) -> str | None:
        with suppress(HeatersError):
            return without_access(SourceVideoStore(shared_database(self._settings)).load(source_video_id).title)
        return None

    def _weight(self, run: DagsterRun, missing: Mapping[str, str]) -> dict[str, str]:
        key, job = run.tags.get(PARTITION_NAME_TAG, ""), run.tags.get(JOB_TAG) or missing.get(JOB_TAG)
        if job not in WEIGHED or WEIGHT_TAG in run.tags or not key.isdigit():
            return {}
        with suppress(HeatersError):
            return weight_tags(Job(job), SourceVideoStore(shared_database(self._settings)).load(int(key)).media.frame_pixels)
        return {}

    def _of_launcher(self, tags: Mapping[str, str]) -> dict[str, str]:
        """What the instance file gives runs of this kind for its run launcher: memory, processors, a graphics card."""
        job = tags.get(JOB_TAG, OTHER)
        weighed = f"{job}/{tags[WEIGHT_TAG]}" if WEIGHT_TAG in tags else job
        given = {**self._tags_of_jobs.get(job, {}), **self._tags_of_jobs.get(weighed, {})}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


_TAGS_OF_JOBS = (
    "Job -> tags that its runs get, for the run launcher: {export: {ecs/cpu: '1024'}}. `archive_master/large` is for large pictures, "
    "`other` for all that is no job of its own. Values that are no text are written as JSON."
)


def missing_tags(run: DagsterRun, title_of: Callable[[int], str | None]) -> dict[str, str]:
    """The tags that a run on one source video lacks; its own tags stay."""
    key = run.tags.get(PARTITION_NAME_TAG)
    if key is None or not key.isdigit() or int(key) > MAX_ID:
        return {}
    tags = {name: value for name, value in tags_of_work(assets_of(run), key).items() if name not in run.tags}
    title = None if TITLE_TAG in run.tags else title_of(int(key))
    return tags if title is None else {**tags, TITLE_TAG: title}


def assets_of(run: DagsterRun) -> tuple[str, ...]:
    """The assets that a run makes, also when a person chose them; none for a run that only checks existing files."""
    if run.asset_selection:
        return tuple(key.to_user_string() for key in run.asset_selection)
    if run.asset_check_selection:
        return ()
    return ASSETS_OF_JOB[Job(run.job_name)] if run.job_name in set(Job) else tuple(name for made in ASSETS_OF_JOB.values() for name in made)


def withdraw_plans(storage: EventLogStorage[Any], run_id: str, assets: Iterable[AssetKey], checks: Iterable[AssetKey]) -> int:
    """Delete the plans of a run that is about to fail: its plans to make `assets` and to run `checks`. Returns how many were deleted.

    Dagster shows everything in red that a failed run had planned and did not make: one file that was not a video made four assets and three
    checks red. But work that never began has not failed.
    """
    assert isinstance(storage, SqlEventLogStorage)
    withdrawn, planned = 0, SqlEventLogStorageTable.c
    with storage.run_connection(run_id) as connection:
        for key in assets:
            mine = (planned.run_id == run_id) & (planned.asset_key == key.to_string())
            kind = planned.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
            withdrawn += connection.execute(SqlEventLogStorageTable.delete().where(mine & kind)).rowcount
    executions = AssetCheckExecutionsTable.c
    with storage.index_connection() as connection:
        for key in checks:
            mine = (executions.run_id == run_id) & (executions.asset_key == key.to_string())
            kind = executions.execution_status == AssetCheckExecutionRecordStatus.PLANNED.value
            withdrawn += connection.execute(AssetCheckExecutionsTable.delete().where(mine & kind)).rowcount
    return withdrawn


class HeatersLogs(LocalComputeLogManager):
    """The output of steps: in files under the home folder, or with dagster-aws in the bucket, where the UI of every machine finds it.

    Dagster's own manager also copies the output to the terminal, with two `tail` and two Python processes for each run. They cost more
    than an export itself, and progress bars then have no terminal.
    """

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        settings = given_settings()
        logs = cls(base_dir=str(settings.dagster_home / "logs"), inst_data=inst_data)
        if settings.object_bucket is None:
            return logs
        from resources.orchestrator.bucket_logs import BucketLogs

        return BucketLogs(logs, settings.object_bucket, settings.s3_endpoint_url, settings.s3_kms_key)

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

    As configuration they would be part of the instance, which Dagster shows in its UI and writes on command lines.
    """
    token = _given.set(settings)
    try:
        yield
    finally:
        _given.reset(token)


def given_settings() -> Settings:
    """Those of the `opened_with` block, else of the environment."""
    return _given.get() or load_settings()
