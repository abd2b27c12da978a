"""`heaters up`: the programs that it runs, what must be ready for them, and how everything ends."""

from __future__ import annotations

import errno
import http.client
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from heaters_dagster.commands.up.held import CODE_SOCKET, held_folder, running_at
from heaters_dagster.commands.up.machines import check_shared
from heaters_dagster.commands.up.operator_door import check_reach
from heaters_dagster.commands.up.part_lines import OURS, Say, shown_lines
from heaters_dagster.commands.up.supervisor import Part, Supervisor
from heaters_dagster.domain.errors import BusyError, HeatersError, SettingsError
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings, child_environment

if TYPE_CHECKING:
    from resources.postgres.database import Database


def run_everything(settings: Settings, *, open_browser: bool = False) -> int:
    """Run all of Heaters until Ctrl-C, SIGTERM or SIGHUP; returns the exit code.

    Raises BusyError when it runs already in this HEATERS_HOME (two daemons on one database hinder each other), SettingsError when a port
    cannot be had, naming the setting, and what starting the embedded Postgres raises.
    """
    if (address := running_at(settings)) is not None:
        raise BusyError(
            f"heaters up is already running with HEATERS_HOME={settings.home}: use that one, at {address}, or end it with Ctrl-C and start"
            " again"
        )
    if settings.dagster_port == settings.review_port:
        raise SettingsError(
            f"HEATERS_DAGSTER_PORT and HEATERS_REVIEW_PORT are both {settings.review_port}: set one of them to another port"
        )
    if settings.broker_url is not None:
        check_shared(settings)
    check_reach(settings)
    check_port(settings.dagster_host, settings.dagster_port, setting="HEATERS_DAGSTER", what="the Dagster UI")
    check_port(settings.review_host, settings.review_port, setting="HEATERS_REVIEW", what="the review app")
    shown = shown_lines(settings)

    def say(name: str, text: str) -> None:
        shown(name, settings.without_secrets(text))

    say(OURS, "starting; Ctrl-C ends everything")
    with _postgres(settings, say) as database, held_folder(settings) as folder:
        from heaters_dagster.orchestration.instance import open_instance, prepare_dagster_home
        from heaters_dagster.orchestration.janitor import cancel_running, end_dead_runs
        from resources.orchestrator.dagster_connections import close_kept_connections
        from resources.orchestrator.leased_runs import leases_of
        from resources.postgres.database import keep_running

        home = prepare_dagster_home(settings, say=lambda text: say(OURS, text))
        with open_instance(settings) as instance:
            end_dead_runs(instance, settings, database)
            environment = child_environment(settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1")
            # Not in the folder where `heaters up` was started: Dagster and Streamlit read their own files from the folder they work in.
            supervisor = Supervisor(heaters_parts(settings, folder), environment=environment, say=say, folder=settings.home)
            with signals_stop(supervisor):
                code = supervisor.run(
                    when_ready=lambda: _announce(settings, say, open_browser=open_browser),
                    # Heaters' own connections start a killed Postgres again, Dagster's do not.
                    meanwhile=lambda: keep_running(settings),
                    before_end=lambda: cancel_running(
                        instance, "heaters up was ended", leases=leases_of(settings), code_socket=folder / CODE_SOCKET
                    ),
                )
        close_kept_connections()
    say(OURS, "everything has ended")
    return code


def heaters_parts(settings: Settings, folder: Path) -> list[Part]:
    """The programs of `heaters up`. folder: for the socket of the code server; its path must be short.

    One code server, shared and without Dagster's reloading proxy: three processes instead of the five of `dagster dev`.
    """
    code_socket, workspace, looks = folder / CODE_SOCKET, folder / "workspace.yaml", folder / "daemon_is_ready"
    workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {code_socket}\n      location_name: heaters\n")
    python = sys.executable
    return [
        Part(
            "code",
            (python, "-m", "heaters_dagster.commands.up.code_server", str(code_socket)),
            ready=lambda: _accepts(code_socket),
        ),
        Part(
            "review",
            (python, "-m", "review_app"),
            ready=lambda: _answers(f"{settings.review_url}/_stcore/health"),
            address=settings.review_url,
        ),
        Part(
            "dagster",
            (python, "-m", "heaters_dagster.commands.up.dagster_ui", str(workspace)),
            ready=lambda: _answers(f"{settings.dagster_local_url}/server_info", token=settings.dagster_token),
            after=("code",),
            address=settings.dagster_local_url,
        ),
        Part(
            "daemon",
            (python, "-m", "heaters_dagster.commands.up.daemon", str(workspace), str(looks)),
            ready=looks.exists,
            after=("code",),
        ),
    ]


def check_port(host: str, port: int, *, setting: str, what: str) -> None:
    """Raise SettingsError, with the setting to change, when the port cannot be used. setting: its name without _HOST and _PORT."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        place, reason = f"port {port} of {host}, for {what},", (error.strerror or str(error)).partition(" (")[0]
        if error.errno == errno.EADDRINUSE:
            told = f"{place} is in use by another program: end that program, or set {setting}_PORT to another port"
        elif error.errno == errno.EACCES:
            told = f"{place} is for administrators only: set {setting}_PORT to a port above 1023"
        else:
            told = f"{place} cannot be used ({reason}): set {setting}_HOST to an address of this machine"
    raise SettingsError(told)


def _announce(settings: Settings, say: Say, *, open_browser: bool) -> None:
    say(OURS, f"Review app   {settings.review_url}")
    say(OURS, f"Dagster UI   {settings.dagster_local_url}")
    say(OURS, "Everything runs. In another terminal: heaters submit PATH-OR-ADDRESS")
    if open_browser:
        import webbrowser

        webbrowser.open(settings.review_url)


@contextmanager
def _postgres(settings: Settings, say: Say) -> Iterator[Database]:
    """Postgres migrated and running; the embedded one is stopped at the end, unless somebody else is connected to it.

    Whoever typed `heaters status` before has left it running; that is no reason to leave it behind.
    """
    from resources.orchestrator.dagster_resources import shared_database
    from resources.postgres.embedded_postgres import status, stop

    ran_before = settings.database_url is not None or status(settings.postgres_folder).running
    try:
        database = shared_database(settings)  # that of the leases too, so that none of its connections is left
    except BaseException:  # Ctrl-C among them
        if not ran_before:
            stop(settings.postgres_folder)
        raise
    try:
        yield database
    finally:
        others = 0
        if settings.database_url is None:
            with suppress(HeatersError):
                others = _other_connections(database)
        database.dispose()
        if settings.database_url:
            say(OURS, "Postgres keeps running: Heaters did not start it")
        elif others:
            why = counted(others, "other connection uses it", "other connections use it")
            say(OURS, f"Postgres keeps running: {why} (heaters down stops it)")
        else:
            stop(settings.postgres_folder)


def _other_connections(database: Database) -> int:
    """Connections of other programs; those of the parts that have just ended disappear within moments."""
    from sqlalchemy import text

    deadline = time.monotonic() + 2
    while True:
        with database.read() as connection:
            query = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
            others = int(connection.execute(text(query)).scalar_one())
        if not others or time.monotonic() > deadline:
            return others
        time.sleep(0.1)


@contextmanager
def signals_stop(supervisor: Supervisor) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.stop()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _accepts(path: Path) -> bool:
    """Whether a server accepts connections on the Unix socket; the code server does once the definitions are loaded."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        return connection.connect_ex(str(path)) == 0


def _answers(url: str, *, token: str | None = None) -> bool:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError, http.client.HTTPException):
        return False
