"""All private parts of Dagster that Heaters uses, because the public interface lacks them. No other file imports `dagster._*`.

Before Dagster is updated, run tests/pipeline/test_dagster_private.py: it says in words what would break. The web server's private parts,
which take a second to load, are in `dagster_web_private.py`.
"""

import logging

from dagster import _loggers as _dagster_loggers
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import RunFailureReason
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.instance import InstanceRef
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, NOT_FINISHED_STATUSES, RunRecord
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    DynamicPartitionsTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules import ScheduleStorage
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.tags import GRPC_INFO_TAG, PARTITION_NAME_TAG, RUN_FAILURE_REASON_TAG
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils import ensure_file, touch_file

#: How often the daemon and the UI of Dagster ask the code server whether it was started anew. Dagster's own do so every second.
CODE_SERVER_WATCH_SECONDS = 5

#: The tables that Dagster makes.
DAGSTER_SCHEMAS = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)


def lead_console_loggers_to(handler: logging.Handler) -> None:
    """Let the loggers that Dagster makes for the terminal, one for each run, write to `handler`; none of them below INFO."""

    def create(name: str, level: str | int) -> logging.Logger:
        logger = logging.Logger(name)
        logger.setLevel(level)
        logger.setLevel(max(logger.level, logging.INFO))
        logger.addHandler(handler)
        return logger

    _dagster_loggers.create_console_logger = create  # type: ignore[attr-defined]


__all__ = [
    "CODE_SERVER_WATCH_SECONDS",
    "DAGSTER_SCHEMAS",
    "GRPC_INFO_TAG",
    "IN_PROGRESS_RUN_STATUSES",
    "IO_TYPE_EXTENSION",
    "NOT_FINISHED_STATUSES",
    "PARTITION_NAME_TAG",
    "RUN_FAILURE_REASON_TAG",
    "AssetCheckExecutionRecordStatus",
    "AssetCheckExecutionsTable",
    "CapturedLogContext",
    "CheckRunHealthResult",
    "ComputeIOType",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterStorage",
    "DynamicPartitionsTable",
    "EventLogStorage",
    "InstanceRef",
    "LaunchRunContext",
    "LocalComputeLogManager",
    "QueuedRunCoordinator",
    "RunFailureReason",
    "RunRecord",
    "RunStorage",
    "ScheduleStorage",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "SubmitRunContext",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
    "ensure_file",
    "get_and_update_asset_status_cache_value",
    "lead_console_loggers_to",
    "redirect_to_file",
    "touch_file",
]
