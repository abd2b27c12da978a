"""Opens a file that somebody named. What is no ordinary file is refused at once: a named pipe waits until another program writes to it."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from heaters_dagster.domain.errors import BadRequestError

#: With the second flag opening a named pipe does not wait.
READ_AT_ONCE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe, not an ordinary file"),
    (stat.S_ISSOCK, "a socket, not an ordinary file"),
    (stat.S_ISCHR, "a device, not an ordinary file"),
    (stat.S_ISBLK, "a device, not an ordinary file"),
)


def other_kind(mode: int) -> str | None:
    """What something is that is no ordinary file; None of an ordinary one. mode: of `os.stat`."""
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "not an ordinary file")


def opened_file(path: Path) -> BufferedReader:
    """An ordinary file, opened for reading. Raises BadRequestError for what is none, and OSError."""
    kind = other_kind(os.stat(path).st_mode)  # a socket cannot even be opened
    descriptor = os.open(path, READ_AT_ONCE) if kind is None else None
    if descriptor is not None and (kind := other_kind(os.fstat(descriptor).st_mode)) is not None:  # changed in between
        os.close(descriptor)
    if descriptor is None or kind is not None:
        raise BadRequestError(f"{path} is {kind}; name a file")
    return os.fdopen(descriptor, "rb")
