"""The contract with Dagster's private parts: when a new Dagster is tried, these failures say in words what has to be looked at."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import dagster
import dagster_postgres
import pytest
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from grpc import _common as grpc_waits

from heaters_dagster.settings import PROJECT_ROOT
from resources.orchestrator import dagster_daemon_private as daemon_private
from resources.orchestrator import dagster_private as private

#: Private name -> what stops working without it.
USES = {
    "dagster._core.definitions.unresolved_asset_job_definition:UnresolvedAssetJobDefinition": "only a type: what define_asset_job returns",
    "dagster._core.events:RunFailureReason": "an interrupted run is told from one that failed",
    "dagster._core.execution.compute_logs:redirect_to_file": "what steps print goes to a file without processes of its own",
    "dagster._core.instance:InstanceRef": "heaters opens the Dagster instance of its home",
    "dagster._cli.api:_execute_run_command_body": "workers of Celery execute runs",
    "dagster._core.launcher:CheckRunHealthResult": "a run whose process was killed on a worker is told from one that works",
    "dagster._core.launcher:WorkerStatus": "a run whose process was killed on a worker is told from one that works",
    "dagster._core.launcher:LaunchRunContext": "runs wait on the queue of their kind",
    "dagster._core.run_coordinator:QueuedRunCoordinator": "every run gets the tags that the limits of dagster.yaml use",
    "dagster._core.run_coordinator:SubmitRunContext": "every run gets the tags that the limits of dagster.yaml use",
    "dagster._core.storage.asset_check_execution_record:AssetCheckExecutionRecordStatus": "checks that never began are not shown in red",
    "dagster._core.storage.base_storage:DagsterStorage": "Dagster's storage opens with our settings: no password in its configuration",
    "dagster._core.storage.compute_log_manager:CapturedLogContext": "what steps print is shown in the UI",
    "dagster._core.storage.compute_log_manager:ComputeIOType": "what steps print is shown in the UI",
    "dagster._core.storage.dagster_run:IN_PROGRESS_RUN_STATUSES": "runs are ended when heaters up ends",
    "dagster._core.storage.dagster_run:NOT_FINISHED_STATUSES": "what is in flight is not asked for again",
    "dagster._core.storage.dagster_run:RunRecord": "only a type: a run with its times",
    "dagster._core.storage.event_log:EventLogStorage": "only a type: the event log",
    "dagster._core.storage.event_log.schema:AssetCheckExecutionsTable": "checks that never began are not shown in red",
    "dagster._core.storage.event_log.schema:DynamicPartitionsTable": "thousands of partitions retire, or go with their videos, in a second",
    "dagster._core.storage.event_log.schema:SqlEventLogStorageTable": "assets that a failed run never began are not shown in red",
    "dagster._core.storage.event_log.sql_event_log:SqlEventLogStorage": "assets that a failed run never began are not shown in red",
    "dagster._core.storage.local_compute_log_manager:IO_TYPE_EXTENSION": "what steps print goes to files with the names that the UI reads",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager": "what steps print is shown in the UI",
    "dagster._core.storage.partition_status_cache:get_and_update_asset_status_cache_value": "only measured: a list of partitions",
    "dagster._core.storage.runs:RunStorage": "only a type: the runs",
    "dagster._core.storage.schedules:ScheduleStorage": "only a type: the schedules",
    "dagster._core.storage.tags:GRPC_INFO_TAG": "a dead worker is told from a living one",
    "dagster._core.storage.tags:PARTITION_NAME_TAG": "the source video of a run is known",
    "dagster._core.storage.tags:RUN_FAILURE_REASON_TAG": "an interrupted run is told from one that failed",
    "dagster._serdes:ConfigurableClass": "Dagster opens our storage and logs by their names in dagster.yaml",
    "dagster._serdes:ConfigurableClassData": "Dagster opens our storage and logs by their names in dagster.yaml",
    "dagster._utils:ensure_file": "what steps print goes to files",
    "dagster._utils:touch_file": "the UI knows when a step has stopped printing",
    "dagster._core.storage.event_log.schema:SqlEventLogStorageMetadata": "tables that are there are not made again at each opening",
    "dagster._core.storage.runs.schema:RunStorageSqlMetadata": "tables that are there are not made again at each opening",
    "dagster._core.storage.schedules.schema:ScheduleStorageSqlMetadata": "tables that are there are not made again at each opening",
    "dagster._core.types.loadable_target_origin:LoadableTargetOrigin": "the code server of heaters up starts",
    "dagster._core.utils:FuturesAwareThreadPoolExecutor": "the code server of heaters up starts",
    "dagster._daemon.controller:create_daemon_of_type": "the daemon of heaters up has all its daemons",
    "dagster._daemon.controller:daemon_controller_from_instance": "the daemon of heaters up starts",
    "dagster._daemon.daemon:DagsterDaemon": "only a type: one of the daemons",
    "dagster._daemon.daemon:MonitoringDaemon": "runs are looked after when there are some, not every ten seconds",
    "dagster._daemon.daemon:SensorDaemon": "sensors look when there is something to do, not every five seconds",
    "dagster._daemon.run_coordinator.queued_run_coordinator_daemon:QueuedRunCoordinatorDaemon": "queued runs start at once",
    "dagster._grpc:server_watcher": "the code server is asked every five seconds whether it is a new one, not every second",
    "dagster._grpc.server:DagsterApiServer": "run workers are forks of a warm process",
    "dagster._grpc.server:DagsterGrpcServer": "the code server of heaters up starts",
    "dagster._utils.interrupts:capture_interrupts": "the daemon of heaters up ends when it is asked to",
    "dagster._utils.interrupts:raise_interrupts_as": "the daemon of heaters up ends while it stands by",
    "dagster._utils.interrupts:setup_interrupt_handlers": "the daemon of heaters up ends when it is asked to",
    "dagster._core.workspace.context:IWorkspaceProcessContext": "only a type: the code locations of the UI",
    "dagster._core.workspace.context:WorkspaceProcessContext": "the Dagster UI starts behind our door",
    "dagster._core.workspace.load_target:WorkspaceFileTarget": "the Dagster UI starts behind our door",
    "dagster._utils.log:configure_loggers": "the Dagster UI logs as dagster-webserver does",
    "dagster_webserver.app:create_app_from_workspace_process_context": "the Dagster UI starts behind our door",
    "dagster_webserver.version:__version__": "the Dagster UI says its version",
}
_WALLS = ("dagster_private", "dagster_web_private", "dagster_daemon_private", "dagster_run_private")
WALLS = {Path(f"resources/orchestrator/{name}.py") for name in _WALLS}


@pytest.mark.parametrize("use", sorted(USES))
def test_dagster_still_has_each_private_part(use: str) -> None:
    module, _, name = use.partition(":")
    told = f"Dagster {dagster.__version__} has no {name} in {module} any more. Without it this is lost: {USES[use]}"
    try:
        found = hasattr(importlib.import_module(module), name)
    except ImportError as error:
        pytest.fail(f"{told} ({error})")
    assert found, told


def test_the_list_above_is_what_the_wall_imports() -> None:
    assert {f"{module}:{name}" for wall in WALLS for module, name in private_imports(PROJECT_ROOT / wall)} == set(USES)


def test_nothing_else_imports_a_private_part_of_dagster() -> None:
    folders = ("assets", "heaters_dagster", "resources", "review_app")
    files = [path for folder in folders for path in (PROJECT_ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(path.relative_to(PROJECT_ROOT)) for path in files if any(private_imports(path))}
    assert {Path(path) for path in found} == WALLS


@pytest.mark.parametrize(
    ("owner", "method", "parameters", "lost"),
    [
        (private.LocalComputeLogManager, "capture_logs", ["log_key"], "what steps print goes to files"),
        (private.LocalComputeLogManager, "get_captured_local_path", ["log_key", "extension"], "what steps print goes to files"),
        (private.LocalComputeLogManager, "complete_artifact_path", ["log_key"], "the UI knows when a step has stopped printing"),
        (private.QueuedRunCoordinator, "submit_run", ["context"], "every run gets its tags"),
        (private.SqlEventLogStorage, "run_connection", ["run_id"], "plans of a failed run are withdrawn"),
        (private.SqlEventLogStorage, "index_connection", [], "plans of a failed run are withdrawn"),
        (private.EventLogStorage, "free_concurrency_slots_for_run", ["run_id"], "the pool slots of a dead run are freed"),
        (dagster.DagsterInstance, "get_run_records", ["filters", "limit"], "a look reads the runs"),
        (dagster.DagsterInstance, "add_run_tags", ["run_id", "new_tags"], "runs have titles and reasons"),
        (dagster.DagsterInstance, "report_run_canceled", ["dagster_run", "message"], "dead runs are ended"),
        (dagster.DagsterInstance, "report_run_canceling", ["run", "message"], "runs are ended when heaters up ends"),
    ],
)
def test_dagsters_methods_take_what_we_give_them(owner: type, method: str, parameters: list[str], lost: str) -> None:
    told = f"Dagster {dagster.__version__}: {owner.__name__}.{method} has changed. Look at: {lost}"
    assert hasattr(owner, method), told
    assert set(parameters) <= set(inspect.signature(getattr(owner, method)).parameters), told


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (private.SqlEventLogStorageTable, {"run_id", "asset_key", "dagster_event_type"}),
        (private.AssetCheckExecutionsTable, {"run_id", "asset_key", "execution_status"}),
    ],
)
def test_dagsters_tables_have_the_columns_that_plans_are_withdrawn_by(table: object, columns: set[str]) -> None:
    assert columns <= {column.name for column in table.columns}, f"Dagster {dagster.__version__}: assets stay red that never began"  # type: ignore[attr-defined]


def test_dagsters_postgres_storages_keep_their_engine_where_we_set_it() -> None:
    for kind in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        told = (
            f"dagster-postgres {dagster_postgres.__version__}: {kind.__name__} has no _engine; each question would open a connection again"
        )
        assert "self._engine" in inspect.getsource(kind), told


def test_what_we_set_in_dagster_and_grpc_is_still_read_there() -> None:
    """So that an idle `heaters up` does not wake ten times a second."""
    reads = [
        (daemon_private.server_watcher.watch_grpc_server_thread, "WATCH_INTERVAL"),
        (grpc_waits.wait, "MAXIMUM_WAIT_TIMEOUT"),
        (PostgresScheduleStorage.get_instigator_state, "self.has_instigators_table()"),
        (PostgresScheduleStorage.has_instigators_table, "self._has_instigators_table(conn)"),
        (PostgresRunStorage.get_run_records, "self.has_run_stats_index_cols()"),
    ]
    for reader, name in reads:
        assert name in inspect.getsource(reader), f"Dagster {dagster.__version__}, {reader.__qualname__}: does not read {name} any more"


def test_the_tags_are_spelled_as_in_runs_of_before() -> None:
    spelled = (private.PARTITION_NAME_TAG, private.GRPC_INFO_TAG, private.RUN_FAILURE_REASON_TAG)
    assert spelled == ("dagster/partition", ".dagster/grpc_info", "dagster/failure_reason"), "runs of before are not found any more"


def private_imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("dagster._", "dagster_webserver.")):
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("dagster._"))
