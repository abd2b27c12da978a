"""`python -m heaters_dagster.commands.up.dagster_ui WORKSPACE`: Dagster's web server behind `OperatorDoor`."""

from __future__ import annotations

import sys
from typing import Any

import dagster as dg

from heaters_dagster import event_log
from heaters_dagster.commands.up.operator_door import OperatorDoor, check_reach
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.quiet_server import serve
from heaters_dagster.settings import Settings, load_settings
from resources.orchestrator.dagster_private import CODE_SERVER_WATCH_SECONDS
from resources.orchestrator.dagster_resources import shared_database
from resources.orchestrator.dagster_web_private import (
    IWorkspaceProcessContext,
    WorkspaceFileTarget,
    WorkspaceProcessContext,
    __version__,
    configure_loggers,
    create_app_from_workspace_process_context,
    server_watcher,
)
from resources.upkeep.readiness import Readiness

#: As in Dagster's own command.
_STATEMENT_TIMEOUT_MILLISECONDS = 15_000
_POOL_RECYCLE_SECONDS = 3600
_POOL_MAX_OVERFLOW = 20
_POLL_MILLISECONDS = 2000


def behind_the_door(context: IWorkspaceProcessContext[Any], settings: Settings) -> OperatorDoor:
    """Dagster's ASGI program, with `OperatorDoor` in front of it."""
    app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MILLISECONDS)
    return OperatorDoor(app, settings, Readiness(settings, lambda: shared_database(settings)))


def main() -> int:
    """Exit code: 0 when it was stopped, 2 when the settings cannot be used."""
    try:
        settings = load_settings()
        check_reach(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_loggers(log_level="WARNING")
    event_log.set_up(settings, "dagster", owns_output=True)
    server_watcher.WATCH_INTERVAL = CODE_SERVER_WATCH_SECONDS
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MILLISECONDS, _POOL_RECYCLE_SECONDS, _POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget(paths=[sys.argv[1]])
        with WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target) as context:
            app = behind_the_door(context, settings)
            serve(
                app,
                host=settings.dagster_host,
                port=settings.dagster_port,
                log_level="warning",
                access_log=False,
                **event_log.uvicorn_options(),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
