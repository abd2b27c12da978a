"""Opens a file that must lie in a certain folder, safely even when somebody changes the folders in between at that moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from heaters_dagster.domain.errors import ForbiddenSourceError

#: Opens a folder on the way to the file; this needs no right to list it.
_ON_THE_WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Without O_NONBLOCK, opening a named pipe would wait here until another program writes to it.
_AT_THE_END = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_confined(path: Path, folder: Path) -> int:
    """A descriptor of `path`, opened step by step from `folder` down; no link on the way is followed.

    It would not be safe to check the path first and to open it afterwards: a folder may be replaced by a link in between.
    Raises ForbiddenSourceError for a link or a path outside, else OSError as `os.open` does.
    """
    try:
        steps = path.relative_to(folder).parts
    except ValueError:
        steps = ()
    if not steps or ".." in steps:
        raise ForbiddenSourceError(f"{path} does not lie in {folder}, from which it was submitted")
    here = os.open(folder, _ON_THE_WAY & ~os.O_NOFOLLOW)
    try:
        for place, step in enumerate(steps, 1):
            flags = _AT_THE_END if place == len(steps) else _ON_THE_WAY
            try:
                following = os.open(step, flags, dir_fd=here)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK} and _is_link(step, here):
                    raise ForbiddenSourceError(
                        f"{path} is now reached through a link, but was not when it was submitted: submit it again"
                    ) from None
                raise
            os.close(here)
            here = following
    except BaseException:
        os.close(here)
        raise
    return here


def _is_link(name: str, folder: int) -> bool:
    try:
        os.readlink(name, dir_fd=folder)
    except OSError:
        return False
    return True
