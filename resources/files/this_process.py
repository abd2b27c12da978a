"""This process, as others know it: a random name, and a mark by which its own machine finds out whether it has ended."""

from __future__ import annotations

import os
import secrets
from functools import lru_cache
from pathlib import Path

from resources.files.boot import boot_id

_PROC = Path("/proc")


def worker_name() -> str:
    """A random name of this process. A fork has its own."""
    return _name_of(os.getpid())


@lru_cache(maxsize=1)
def _name_of(process_id: int) -> str:
    return secrets.token_hex(8)


def process_mark() -> str:
    """This process: the machine since it was last started, the space of process ids, the process id, and when the process began."""
    return ":".join([*_place(), str(os.getpid()), _began(os.getpid()) or ""])


def process_is_gone(mark: str) -> bool:
    """Whether the process with that mark, on a machine of this name, has certainly ended; False when that cannot be known here.

    Another process that was given its id later has another mark. After a restart of the machine, all processes from before are gone. In
    another space of process ids (a container) nothing is known.
    """
    parts = mark.split(":")
    if len(parts) != 4 or not parts[2].isdigit():
        return False
    boot, space, process_id, began = parts
    here_boot, here_space = _place()
    if boot != here_boot:
        return bool(boot and here_boot)
    if space != here_space:
        return False
    if not here_boot:  # a system without /proc
        return not _answers(int(process_id))
    return _began(int(process_id)) != began


@lru_cache(maxsize=1)
def _place() -> tuple[str, str]:
    try:
        return boot_id(), os.readlink(_PROC / "self/ns/pid").replace(":", "")
    except OSError:
        return "", ""


def _began(process_id: int) -> str | None:
    """When the process began, in clock ticks after the machine did; None when it has ended, also when nobody has collected it."""
    try:
        state, *fields = (_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _answers(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to another user
    return True
