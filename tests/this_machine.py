"""What tests of real processes need: a free port, and patience."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


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
