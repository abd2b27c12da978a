"""Folders for the account that runs Heaters and nobody else."""

from __future__ import annotations

import os
from pathlib import Path

_FOR_OTHERS = 0o077


def private_folder(path: Path) -> Path:
    """Make the folder, and those above it, for their owner only, whatever the umask is; one that is there and is ours is closed to others.

    Returns `path`. Folders above that are there already stay as they are.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if folder != path:
                continue
    close_to_others(path)
    return path


def close_to_others(path: Path, *, but: int = 0) -> None:
    """Take every right of group and others to `path` away, but those in `but`, unless it belongs to somebody else."""
    found = path.stat()
    if found.st_uid == os.geteuid() and (found.st_mode & _FOR_OTHERS) != but:
        path.chmod((found.st_mode & 0o7700) | but)
