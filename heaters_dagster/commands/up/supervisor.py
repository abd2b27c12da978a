"""Runs several programs together and ends them together.

Every part leads a process group of its own, so that Ctrl-C reaches only this process, which then ends the groups. When this process is
killed and cannot end them, a guard process does. (`dagster dev` did not end on SIGTERM for minutes, and left run workers behind.)
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from heaters_dagster.commands.up.part_lines import OURS, Say, readable
from heaters_dagster.commands.up.process_groups import Guard, end_groups
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.restarts import RestartRule

_MEANWHILE_SECONDS = 3.0
#: How often it looks whether a part that starts is ready. Otherwise it sleeps until a part ends.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """A program to keep running.

    ready: whether it is ready for work. after: names of parts that must be ready before it is started. address: shown to the user.
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
    """Starts parts in order, shows their lines, restarts parts that end by themselves, and ends everything together.

    folder: where the parts work; None: the current folder. start_seconds: a part that is not ready after this time is ended. If it never
    was ready, all parts end; otherwise it counts as a part that ended by itself. restart_rule: when such a part is started again, while
    the others go on, and when all parts end.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        environment: dict[str, str],
        say: Say,
        folder: Path | None = None,
        start_seconds: float = 180.0,
        patience_seconds: float = 2.0,
        restart_rule: RestartRule = RestartRule(),
    ) -> None:
        self._parts = list(parts)
        self._environment = environment
        self._folder = folder
        self._say = say
        self._start_seconds = start_seconds
        self._patience_seconds = patience_seconds
        self._restart_rule = restart_rule
        self._ended_at: dict[str, list[float]] = {part.name: [] for part in parts}
        self._start_at: dict[str, float] = {}
        self._were_ready: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._stop, self._wake = threading.Event(), threading.Event()
        self._hurry = False

    def stop(self) -> None:
        """End all parts; when called a second time, kill them at once."""
        self._hurry = self._stop.is_set()
        self._stop.set()
        self._wake.set()

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
                    is_calm = len(self._running) == len(self._parts) and all(each.ready for each in self._running.values())
                    if is_calm and not announced:
                        announced = True
                        when_ready()
                    if time.monotonic() - called_at > _MEANWHILE_SECONDS:
                        called_at = time.monotonic()
                        with suppress(HeatersError):
                            meanwhile()
                    self._wake.wait(_MEANWHILE_SECONDS if is_calm else _LOOK_SECONDS)
                    self._wake.clear()
                with suppress(Exception):
                    before_end()
                return 0
            finally:
                self._end(guard)

    def _start_those_that_can(self, guard: Guard) -> None:
        for part in self._parts:
            paused = time.monotonic() < self._start_at.get(part.name, 0.0)
            needed_are_ready = all(name in self._running and self._running[name].ready for name in part.after)
            if part.name not in self._running and needed_are_ready and not paused:
                self._start(part, guard)

    def _start(self, part: Part, guard: Guard) -> None:
        process = subprocess.Popen(
            part.command,
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
        guard.watch(process.pid)
        self._running[part.name] = _Running(part, process)
        threading.Thread(target=self._show_lines, args=(part.name, process), daemon=True).start()
        threading.Thread(target=self._wake_when_ended, args=(process,), daemon=True).start()

    def _wake_when_ended(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._wake.set()

    def _look_after(self, guard: Guard) -> None:
        for running in list(self._running.values()):
            part, code = running.part, running.process.poll()
            if code is not None:
                self._take_back(running, guard)
                how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                self._plan_restart(part.name, how)
            elif not running.ready:
                running.ready = part.ready()
                if running.ready:
                    self._were_ready.add(part.name)
                elif time.monotonic() - running.started > self._start_seconds:
                    how = f"was not ready after {self._start_seconds:.0f} s"
                    if part.name not in self._were_ready:
                        raise _NotStarted(f"{part.name} {how}; its last lines are above")
                    self._take_back(running, guard)
                    self._plan_restart(part.name, how)

    def _take_back(self, running: _Running, guard: Guard) -> None:
        """End the part if it runs, and processes that it left behind."""
        end_groups([running.process.pid], patience_seconds=self._patience_seconds)
        running.process.wait()
        guard.forget(running.process.pid)
        del self._running[running.part.name]

    def _plan_restart(self, name: str, how: str) -> None:
        now, ended_at = time.monotonic(), self._ended_at[name]
        ended_at.append(now)
        pause = self._restart_rule.pause(ended_at, now)
        if pause is None:
            raise _NotStarted(f"{name} {how} again and again; everything is ended. Its last lines are above")
        self._start_at[name] = now + pause
        self._say(OURS, f"{name} {how}; starting it again" + (f" in {pause:.0f} s" if pause else ""))

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
                # While parts are being ended, errors of the others are no use.
                if not self._stop.is_set():
                    self._say(name, text)


class _NotStarted(HeatersError):
    """A part cannot be kept running."""
