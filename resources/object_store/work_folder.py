"""Temporary files: every attempt at a stage works in a private folder, which is removed when the attempt ends in any way.

The folder is locked with flock. The lock ends with the process, also by kill -9, so a folder whose lock is free belongs to nobody, and
`sweep` removes it. Process ids are not used for this.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heaters_dagster.domain.errors import DiskFullError
from resources.files.private_folder import private_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


class WorkFolder:
    """The folder of all attempts on this machine; any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def attempt(self, name: str) -> Iterator[Path]:
        """A new, empty, private folder (mode 0700) for one attempt, removed afterwards.

        name: what it is for, as `proxy-12`; letters, digits, '-' and '_', at most 64. Two attempts with the same name get two folders.
        Raises DiskFullError, also when the disk has no room for a write in the body.
        """
        if not _NAME.match(name):
            raise ValueError(f"attempt name {name!r}: up to 64 letters, digits, '-' and '_'")
        with disk_full_named(self.root):
            folder, descriptor = self._locked_folder(name)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)

    def sweep(self) -> list[Path]:
        """Remove the folders of attempts whose process is dead; returns them. Folders in use stay."""
        removed: list[Path] = []
        if not self.root.is_dir():
            return removed
        for folder in sorted(self.root.iterdir()):
            descriptor = _try_lock(folder)
            if descriptor is None:
                continue
            try:
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
            finally:
                os.close(descriptor)
        return removed

    def is_held(self, folder_name: str) -> bool:
        """Whether a living process works in the folder of that name (`proxy-12.0123456789ab`)."""
        folder = self.root / Path(folder_name).name
        if not folder.is_dir():
            return False
        descriptor = _try_lock(folder)
        if descriptor is None:
            return folder.is_dir()
        os.close(descriptor)
        return False

    def _locked_folder(self, name: str) -> tuple[Path, int]:
        private_folder(self.root)
        while True:
            folder = self.root / f"{name}.{secrets.token_hex(6)}"
            folder.mkdir(mode=0o700)
            # A sweep may remove the folder between mkdir and the lock: then another one is made.
            descriptor = _try_lock(folder)
            if descriptor is not None:
                return folder, descriptor


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock of `folder`; None when another process holds it, or when there is no such folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


@contextmanager
def disk_full_named(path: Path, *, bytes_needed: int | None = None) -> Iterator[None]:
    """Turns "no space left on device" (or an exhausted quota) in the body into a DiskFullError with `path` and the bytes needed."""
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _disk_full(path, bytes_needed) from error


def check_room(folder: Path, bytes_needed: int) -> None:
    """Raise DiskFullError, before anything is written, when the file system of `folder` has no room for `bytes_needed`."""
    if _free_bytes(folder) < bytes_needed:
        raise _disk_full(folder, bytes_needed)


def _disk_full(path: Path, bytes_needed: int | None) -> DiskFullError:
    needed = "" if bytes_needed is None else f"{bytes_needed:,} bytes are needed, "
    return DiskFullError(f"no room left on the disk of {path}: {needed}{_free_bytes(path):,} are free; make room and try again")


def _free_bytes(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
