"""The private parts of Dagster's web server that Heaters uses; see `dagster_private.py`. Only the process of the Dagster UI loads them."""

from dagster._core.workspace.context import IWorkspaceProcessContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc import server_watcher
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

__all__ = [
    "IWorkspaceProcessContext",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "__version__",
    "configure_loggers",
    "create_app_from_workspace_process_context",
    "server_watcher",
]
