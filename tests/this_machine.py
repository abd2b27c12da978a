"""What tests of real processes need: a free port, patience, and the processes that they have started."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(what: Callable[[], bool], *, seconds: float = 60.0, pause: float = 0.05) -> bool:
    """Whether `what()` becomes true within that time. pause: between two looks, for those that cost something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(pause)
    return False


def child_processes() -> list[int]:
    """Of this process, whichever thread has started them."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += [int(one) for one in (task / "children").read_text().split()]
        except OSError:
            continue  # a thread that has ended
    return found


def command_line(pid: int) -> list[str]:
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []
