"""`heaters serve ...`: one part of Heaters in the foreground, for containers and system services. `heaters up` runs all of them.

Each command becomes the part's own program (exec), so that a signal of the container's or service's manager reaches it, and its exit code
is the part's.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from heaters_dagster.commands.shared import example
from heaters_dagster.settings import Settings, child_environment, load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="Run one part of Heaters in the foreground, for containers and system services. On one machine `heaters up` runs all of them.",
)

_WORKSPACE = """load_from:
  - grpc_server:
      host: {host}
      port: {port}
      location_name: heaters
"""


@app.command(epilog=example("serve review"))
def review() -> None:
    """The review app, on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT."""
    _become(load_settings(), "review_app")


@app.command(epilog=example("serve code --listen 0.0.0.0:4000"))
def code(
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where it listens. It lets everybody in who reaches it: only Dagster's web server and daemon should.",
        ),
    ] = "127.0.0.1:4000",
) -> None:
    """Dagster's code server: it knows the assets, and the run workers of this machine are its children."""
    from heaters_dagster.setting_values import host_and_port

    try:
        address = host_and_port(listen)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, not {listen!r}", param_hint="--listen") from None
    _become(load_settings(), "heaters_dagster.commands.up.code_server", address)


@app.command(epilog=example("serve dagster"))
def dagster() -> None:
    """The Dagster UI, on HEATERS_DAGSTER_HOST and HEATERS_DAGSTER_PORT. It needs a code server at HEATERS_CODE_SERVER."""
    _become(load_settings(), "heaters_dagster.commands.up.dagster_ui", has_workspace=True)


@app.command(epilog=example("serve daemon"))
def daemon() -> None:
    """Dagster's daemon: sensors, schedules, the queue. One works for each database. It needs a code server at HEATERS_CODE_SERVER."""
    _become(load_settings(), "heaters_dagster.commands.up.daemon", has_workspace=True)


def _workspace(settings: Settings, home: Path) -> str:
    """The file that tells Dagster where the code server is; put in place in one step, because another part may be reading it."""
    from resources.object_store.work_folder import written_beside

    host, _, port = settings.code_server.rpartition(":")
    path = home / "served_workspace.yaml"
    with written_beside(path) as part:
        part.write_text(_WORKSPACE.format(host=host, port=port))
    return str(path)


def _become(settings: Settings, module: str, *arguments: str, has_workspace: bool = False) -> None:
    """Replace this process by `python -m MODULE ARGUMENTS`, with the database migrated or found to be as it must be.

    has_workspace: another argument names the file that says where the code server is.
    """
    from heaters_dagster.orchestration.instance import prepare_dagster_home
    from resources.postgres.database import open_database

    open_database(settings).dispose()
    home = prepare_dagster_home(settings)
    workspace = [_workspace(settings, home)] if has_workspace else []
    environment = child_environment(settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1")
    os.chdir(settings.home)  # Dagster and Streamlit read files of their own from the folder they work in
    sys.stdout.flush()
    # A shell starts what it runs in the background with Ctrl-C ignored, and Dagster then ignores SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments, *workspace], environment)
