"""The private parts of Dagster's daemon and code server that `heaters up` uses; see `dagster_private.py`. Only those two processes load
them."""

from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import create_daemon_of_type, daemon_controller_from_instance
from dagster._daemon.daemon import DagsterDaemon, MonitoringDaemon, SensorDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._grpc import server_watcher
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer
from dagster._utils.interrupts import capture_interrupts, raise_interrupts_as, setup_interrupt_handlers
from dagster._utils.log import configure_loggers

__all__ = [
    "DagsterApiServer",
    "DagsterDaemon",
    "DagsterGrpcServer",
    "FuturesAwareThreadPoolExecutor",
    "IWorkspaceProcessContext",
    "LoadableTargetOrigin",
    "MonitoringDaemon",
    "QueuedRunCoordinatorDaemon",
    "SensorDaemon",
    "WorkspaceFileTarget",
    "capture_interrupts",
    "configure_loggers",
    "create_daemon_of_type",
    "daemon_controller_from_instance",
    "raise_interrupts_as",
    "server_watcher",
    "setup_interrupt_handlers",
]
