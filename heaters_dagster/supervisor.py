"""`heaters up`: Postgres, Dagster and the review app as one program in one terminal, which ends as one.

Every part leads a process group of its own, so that Ctrl-C reaches only this process, which then ends the groups. A guard process ends
them when this one is killed without a chance to. (`dagster dev` did not end on SIGTERM for minutes, and left run workers behind.)
"""

from __future__ import annotations

import errno
import http.client
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from heaters_dagster.domain.errors import BusyError, HeatersError, SettingsError
from heaters_dagster.process_groups import Guard, end_groups
from heaters_dagster.settings import Settings, child_environment

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from resources.database import Database

Say = Callable[[str, str], None]
"""Prints a line: name of the part, text."""

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow")
_OURS = "heaters"
_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
_DAGSTER_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - dagster\S* - ")
_RUN_EVENT = re.compile(
    _DAGSTER_LINE.pattern + r"(?P<level>[A-Z]+) - (?P<job>\S+) - [0-9a-f]{8}-[0-9a-f-]{27} - (?:\d+ - )?(?P<message>.*)"
)
_COPY = re.compile(r"(WARNING|ERROR):(root|dagster[\w.]*):")
_NO_DATABASE = "Retrying failed database connection"
_UNREACHABLE = "DagsterUserCodeUnreachableError: "
_DAGSTER_HOST = "127.0.0.1"
_MEANWHILE_SECONDS = 3.0
_HELD_FOLDER = "up"
_LONGEST_SOCKET_FOLDER = 90


@dataclass(frozen=True, slots=True)
class Part:
    """A program to keep running.

    ready: whether it does its work by now. after: names of parts that must be ready before it is started. address: shown to the person.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    after: tuple[str, ...] = ()
    address: str | None = None


@dataclass(slots=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    ready: bool = False
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Starts parts in order, shows their lines, starts again what ends by itself, and ends everything at once.

    start_seconds: after that long a part that is not ready is given up, and with it everything. max_restarts: per part.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        environment: dict[str, str],
        say: Say,
        start_seconds: float = 180.0,
        patience_seconds: float = 2.0,
        max_restarts: int = 3,
    ) -> None:
        self._parts = list(parts)
        self._environment = environment
        self._say = say
        self._start_seconds = start_seconds
        self._patience_seconds = patience_seconds
        self._restarts = dict.fromkeys((part.name for part in parts), max_restarts)
        self._running: dict[str, _Running] = {}
        self._stop = threading.Event()
        self._hurry = False

    def stop(self) -> None:
        """Ask for the end; a second time: kill at once."""
        self._hurry = self._stop.is_set()
        self._stop.set()

    def run(
        self,
        *,
        when_ready: Callable[[], None],
        meanwhile: Callable[[], object] = lambda: None,
        before_end: Callable[[], object] = lambda: None,
    ) -> int:
        """Run until `stop` is called; returns the exit code: 0, or 1 when a part could not be kept running.

        meanwhile: called every few seconds. before_end: called once, while the parts still run, before they are ended.
        """
        announced, called_at = False, time.monotonic()
        with Guard() as guard:
            try:
                while not self._stop.is_set():
                    try:
                        self._start_those_that_can(guard)
                        self._look_after(guard)
                    except HeatersError as error:
                        self._say(_OURS, str(error))
                        return 1
                    if not announced and len(self._running) == len(self._parts) and all(each.ready for each in self._running.values()):
                        announced = True
                        when_ready()
                    if time.monotonic() - called_at > _MEANWHILE_SECONDS:
                        called_at = time.monotonic()
                        with suppress(HeatersError):
                            meanwhile()
                    self._stop.wait(0.1)
                with suppress(Exception):
                    before_end()
                return 0
            finally:
                self._end(guard)

    def _start_those_that_can(self, guard: Guard) -> None:
        for part in self._parts:
            if part.name not in self._running and all(name in self._running and self._running[name].ready for name in part.after):
                self._start(part, guard)

    def _start(self, part: Part, guard: Guard) -> None:
        process = subprocess.Popen(
            part.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        guard.watch(process.pid)
        self._running[part.name] = _Running(part, process)
        threading.Thread(target=self._show_lines, args=(part.name, process), daemon=True).start()

    def _look_after(self, guard: Guard) -> None:
        for running in list(self._running.values()):
            part, code = running.part, running.process.poll()
            if code is not None:
                end_groups([running.process.pid], patience_seconds=self._patience_seconds)
                guard.forget(running.process.pid)
                self._restart(part, code, guard)
            elif not running.ready:
                running.ready = part.ready()
                if not running.ready and time.monotonic() - running.started > self._start_seconds:
                    raise _NotStarted(f"{part.name} was not ready after {self._start_seconds:.0f} s; its last lines are above")

    def _restart(self, part: Part, code: int, guard: Guard) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if not self._restarts[part.name]:
            raise _NotStarted(f"{part.name} {how} again and again; everything is ended. Its last lines are above")
        self._restarts[part.name] -= 1
        self._say(_OURS, f"{part.name} {how}; starting it again")
        self._start(part, guard)

    def _end(self, guard: Guard) -> None:
        groups = [running.process.pid for running in self._running.values()]
        end_groups(groups, patience_seconds=0 if self._hurry else self._patience_seconds)
        for running in self._running.values():
            running.process.wait()
            guard.forget(running.process.pid)
        self._running.clear()

    def _show_lines(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for text in readable(line.decode(errors="replace").rstrip() for line in process.stdout):
                # What parts complain about while others are being ended helps nobody.
                if not self._stop.is_set():
                    self._say(name, text)


def readable(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a part as a person wants them.

    Of Dagster's events of a run only those that warn are kept, as `job: what happened` and the reason below it, without the stack trace:
    the run's page in the UI has it all. That a code server or the database is away for a moment is told without stack traces, too. Other
    lines, tracebacks of a program that breaks among them, stay as they are.
    """
    within_event = reason_follows = False
    for line in _without_outages(_COLOUR_CODES.sub("", coloured) for coloured in lines):
        event = _RUN_EVENT.match(line)
        if event is not None:
            within_event, reason_follows = True, event["level"] in {"WARNING", "ERROR", "CRITICAL"}
            if reason_follows:
                yield f"{event['job']}: {event['message']}"
        elif _DAGSTER_LINE.match(line):
            within_event = False
            yield line
        elif not line or (within_event and not reason_follows):
            continue
        else:
            reason_follows = False
            yield line.removeprefix("dagster._core.definitions.events.Failure: ")


def _without_outages(lines: Iterable[str]) -> Iterator[str]:
    """Without the daemon's second copy of each of its errors, and without the stacks of its calls to a code server that is away.

    A code server that was killed made nine hundred lines; the reasons are kept, and each of them says that the daemon goes on by itself.
    """
    dropped = unreachable = False
    held, told = None, ""
    for line in lines:
        if _DAGSTER_LINE.match(line):
            dropped = unreachable = False
            yield line
        elif _COPY.match(line):
            dropped, unreachable = True, False
            if _NO_DATABASE in line and line != told:
                told = line
                yield line
        elif dropped:
            if unreachable and _UNREACHABLE in line:
                yield line.partition(_UNREACHABLE)[2]
        elif line.startswith("Traceback "):
            held = line
        elif held is not None and "/dagster/_grpc/client.py" in line:
            dropped, unreachable, held = True, True, None
        else:
            if held is not None:
                yield held
            held = None
            yield line


class _NotStarted(HeatersError):
    """A part does not keep running."""


def run_everything(settings: Settings, *, open_browser: bool = False) -> int:
    """Run all of Heaters until Ctrl-C, SIGTERM or SIGHUP; returns the exit code.

    Raises BusyError when it runs already in this HEATERS_HOME (two daemons on one database hinder each other), SettingsError when a port
    cannot be had, naming the setting, and what starting the embedded Postgres raises.
    """
    if is_running(settings):
        raise BusyError(f"heaters up runs already in {settings.home}: use that one, or end it with Ctrl-C and start again")
    if settings.dagster_port == settings.review_port:
        raise SettingsError(
            f"HEATERS_DAGSTER_PORT and HEATERS_REVIEW_PORT are both {settings.review_port}: set one of them to another port"
        )
    check_port(_DAGSTER_HOST, settings.dagster_port, setting="HEATERS_DAGSTER_PORT", what="the Dagster UI")
    check_port(settings.review_host, settings.review_port, setting="HEATERS_REVIEW_PORT", what="the review app")
    say = terminal_lines()
    say(_OURS, "starting; Ctrl-C ends everything")
    with _postgres(settings, say) as database, _socket_folder(settings) as folder:
        from heaters_dagster.instance import open_instance, prepare_dagster_home
        from heaters_dagster.runs import cancel_running, end_dead_runs
        from resources.database import database_url

        home = prepare_dagster_home(settings)
        with open_instance(settings) as instance:
            end_dead_runs(instance, settings, is_busy=database.stage_is_busy)
            environment = child_environment(settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1")
            supervisor = Supervisor(heaters_parts(settings, folder, instance), environment=environment, say=say)
            with _signals_stop(supervisor):
                code = supervisor.run(
                    when_ready=lambda: _announce(settings, say, open_browser=open_browser),
                    # Our own connections bring a killed Postgres back, Dagster's do not.
                    meanwhile=lambda: database_url(settings),
                    before_end=lambda: cancel_running(instance, "heaters up was ended"),
                )
    say(_OURS, "everything has ended")
    return code


def is_running(settings: Settings) -> bool:
    """Whether a `heaters up` of this HEATERS_HOME runs."""
    from resources.work_folder import WorkFolder

    work = WorkFolder(settings.work_folder)
    return any(work.is_held(folder.name) for folder in work.root.glob(f"{_HELD_FOLDER}.*"))


def heaters_parts(settings: Settings, folder: Path, instance: DagsterInstance) -> list[Part]:
    """The programs of `heaters up`. folder: for the socket of the code server; its path must be short.

    One code server, shared and without Dagster's reloading proxy: three processes instead of the five of `dagster dev`.
    """
    code_socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {code_socket}\n      location_name: heaters\n")
    python, target, quiet = sys.executable, ("-w", str(workspace)), ("--log-level", "warning")
    dagster_url = f"http://{_DAGSTER_HOST}:{settings.dagster_port}"
    started = time.time()
    return [
        Part(
            "code",
            (python, "-m", "dagster", "api", "grpc", "-m", "heaters_dagster.definitions", "-s", str(code_socket), *quiet),
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
            (
                python,
                "-m",
                "dagster_webserver",
                *target,
                "-h",
                _DAGSTER_HOST,
                "-p",
                str(settings.dagster_port),
                "--dagster-log-level",
                "warning",
            ),
            ready=lambda: _answers(f"{dagster_url}/server_info"),
            after=("code",),
            address=dagster_url,
        ),
        Part(
            "daemon",
            (python, "-m", "dagster._daemon", "run", *target, *quiet),
            ready=lambda: any(beat.timestamp > started for beat in instance.get_daemon_heartbeats().values()),
            after=("code",),
        ),
    ]


def check_port(host: str, port: int, *, setting: str, what: str) -> None:
    """Raise SettingsError, naming what to set, when nothing can listen there."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        place, reason = f"port {port} of {host}, for {what},", (error.strerror or str(error)).partition(" (")[0]
        if error.errno == errno.EADDRINUSE:
            told = f"{place} is in use by another program: end that program, or set {setting} to another port"
        elif error.errno == errno.EACCES:
            told = f"{place} is for administrators only: set {setting} to a port above 1023"
        else:
            told = f"{place} cannot be listened on ({reason}): set HEATERS_REVIEW_HOST to an address of this machine"
    raise SettingsError(told)


def terminal_lines() -> Say:
    """Lines on standard output, each with the coloured name of its part; whole lines only, though many threads write."""
    from rich.console import Console
    from rich.text import Text

    console, lock = Console(highlight=False, soft_wrap=True), threading.Lock()

    def say(name: str, text: str) -> None:
        style = "bold" if name == _OURS else _COLOURS[sum(name.encode()) % len(_COLOURS)]
        with lock:
            console.print(Text.assemble((f"{name:>8} ", style), text))

    return say


def _announce(settings: Settings, say: Say, *, open_browser: bool) -> None:
    say(_OURS, f"Review app   {settings.review_url}")
    say(_OURS, f"Dagster UI   http://{_DAGSTER_HOST}:{settings.dagster_port}")
    say(_OURS, "Everything runs. In another terminal: heaters submit PATH-OR-ADDRESS")
    if open_browser:
        import webbrowser

        webbrowser.open(settings.review_url)


@contextmanager
def _socket_folder(settings: Settings) -> Iterator[Path]:
    """A private folder for a Unix socket: in the work folder, where one that a kill left behind is swept, unless its path is too long."""
    from resources.leftovers import sweep_leftovers
    from resources.work_folder import WorkFolder

    sweep_leftovers(settings)
    with WorkFolder(settings.work_folder).attempt(_HELD_FOLDER) as folder:
        if len(bytes(folder)) < _LONGEST_SOCKET_FOLDER:
            yield folder
        else:
            with tempfile.TemporaryDirectory(prefix="heaters-") as name:
                yield Path(name)


@contextmanager
def _postgres(settings: Settings, say: Say) -> Iterator[Database]:
    """Postgres migrated and running; the embedded one stops with us when we started it and nobody else is connected."""
    from resources.database import open_database
    from resources.embedded_postgres import status, stop

    ran_before = settings.database_url is not None or status(settings.postgres_folder).running
    try:
        database = open_database(settings)
    except BaseException:  # Ctrl-C among them
        if not ran_before:
            stop(settings.postgres_folder)
        raise
    try:
        yield database
    finally:
        others = 0
        if not ran_before:
            with suppress(HeatersError):
                others = _other_connections(database)
        database.dispose()
        if ran_before or others:
            why = "it is not ours" if settings.database_url else "it ran before" if ran_before else f"{others} other connections use it"
            say(_OURS, f"Postgres keeps running: {why}" + ("" if settings.database_url else " (heaters down stops it)"))
        else:
            stop(settings.postgres_folder)


def _other_connections(database: Database) -> int:
    """Connections of other programs; those of the parts that have just ended go away within moments."""
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
def _signals_stop(supervisor: Supervisor) -> Iterator[None]:
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


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError, http.client.HTTPException):
        return False
