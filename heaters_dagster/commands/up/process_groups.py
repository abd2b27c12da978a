"""Ends whole trees of processes. Standard library only: it also runs alone, as the guard that outlives a killed supervisor.

Every part of `heaters up` leads a process group of its own; run workers are in the group of the code server that started them, and ffmpeg
dies with its worker. So ending the groups ends everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType


def end_groups(groups: Iterable[int], *, patience_seconds: float) -> None:
    """Send SIGTERM to every group, and SIGKILL to those that still run after the waiting time; returns when none is alive."""
    left = _signalled(groups, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = _alive(left)
    deadline = time.monotonic() + 5
    left = _signalled(left, signal.SIGKILL)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _alive(left)


class Guard:
    """A small process that ends the registered groups when this process is gone, also by kill -9, and has not unregistered them."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()


def _signalled(groups: Iterable[int], sign: signal.Signals) -> list[int]:
    known = _alive(groups)
    for group in known:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, sign)
    return known


def _alive(groups: Iterable[int]) -> list[int]:
    """The groups with a member that runs.

    Zombies do not count: in a container whose first process does not collect them they stay for ever.
    """
    wanted = set(groups)
    if not Path("/proc/self/stat").exists():
        return [group for group in wanted if _answers(group)]
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError, ValueError):
                state, _, group = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:3]
                if state not in "ZX" and int(group) in wanted:
                    found.add(int(group))
    return sorted(found)


def _answers(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _guard() -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    end_groups(groups, patience_seconds=2)


if __name__ == "__main__":
    _guard()
