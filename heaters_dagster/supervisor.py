"""Several programs as one, which ends as one.

Every part leads a process group of its own, so that Ctrl-C reaches only this process, which then ends the groups. A guard process ends
them when this one is killed without a chance to. (`dagster dev` did not end on SIGTERM for minutes, and left run workers behind.)
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.part_lines import OURS, Say, readable
from heaters_dagster.process_groups import Guard, end_groups

_MEANWHILE_SECONDS = 3.0


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
                        self._say(OURS, str(error))
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
        self._say(OURS, f"{part.name} {how}; starting it again")
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


class _NotStarted(HeatersError):
    """A part does not keep running."""
