"""Who was promised how much of the disk: kept in files, so that all processes of this machine know it, and no database is needed.

A promise is a file with a number of bytes, called as the folder of the attempt that has it. It counts as long as that folder is locked,
so it ends with its process. Who makes a promise holds the lock of the folder of promises.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.errors import NoRoomError
from resources.files.private_folder import private_folder, private_opener


class Spare(Protocol):
    """What lies on the disk and gives way to work."""

    def spare_bytes(self) -> int: ...

    def give_back(self, byte_size: int) -> int: ...


class PromisedRoom:
    """root: the folder of attempts. keep_free_bytes: what stays free of its disk. published_to: where finished files go.

    When that is on another disk, what an attempt is promised must be free there as well. is_held: whether a living process has the folder
    of that name. spare: counts as free, and is taken when a promise needs it.
    """

    def __init__(
        self, root: Path, *, keep_free_bytes: int, published_to: Path | None, is_held: Callable[[str], bool], spare: Spare
    ) -> None:
        self._root = root
        self._promises = root.with_name(f"{root.name}-room")
        self.keep_free_bytes = keep_free_bytes
        self._published_to = published_to
        self._is_held = is_held
        self._spare = spare

    def promise(self, folder: Path, byte_size: int) -> None:
        """Promise `byte_size` in all to the attempt in `folder`; what it had been promised before counts. Raises NoRoomError."""
        if byte_size <= self.promised_to(folder):
            return
        with self._locked():
            used = bytes_in(folder)
            free = self.free_bytes(without=folder.name) + used
            if byte_size > free:
                told = RoomWait(folder.name, byte_size, free).words
                raise NoRoomError(f"{told}; make room under {self._root.parent}", bytes_needed=byte_size, bytes_free=free)
            with open(self._promises / folder.name, "w", opener=private_opener) as file:
                file.write(str(byte_size))
            self.clear(byte_size - used, without=folder.name)

    def clear(self, byte_size: int, *, without: str | None = None) -> None:
        """Take so much of what is spare that `byte_size` bytes are free beside what has been promised. without: as for `free_bytes`."""
        short = byte_size + self._spare.spare_bytes() - self.free_bytes(without=without)
        if short > 0:
            self._spare.give_back(short)

    def promised_to(self, folder: Path) -> int:
        return self._read(self._promises / folder.name)

    def forget(self, folder: Path) -> None:
        (self._promises / folder.name).unlink(missing_ok=True)

    def is_scarce(self) -> bool:
        """Whether less is free on the disk than has to stay free."""
        return _free_on_disk(self._root) < self.keep_free_bytes

    def free_bytes(self, *, without: str | None = None) -> int:
        """What may still be promised; below 0 when more was promised than there is.

        without: what attempts were promised whose folder has a name that begins so does not count.
        """
        to_come = whole = 0
        for promise in self._promises.iterdir() if self._promises.is_dir() else ():
            if without is not None and promise.name.startswith(without):
                continue
            if not self._is_held(promise.name):
                promise.unlink(missing_ok=True)
                continue
            byte_size = self._read(promise)
            whole += byte_size
            to_come += max(0, byte_size - bytes_in(self._root / promise.name))
        free = _free_on_disk(self._root) + self._spare.spare_bytes() - to_come
        if self._published_to is not None and _device(self._published_to) != _device(self._root):
            free = min(free, _free_on_disk(self._published_to) - whole)
        return free - self.keep_free_bytes

    def _read(self, promise: Path) -> int:
        """0 for one that is just being written, or gone."""
        with suppress(OSError, ValueError):
            return int(promise.read_text())
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self._promises)
        descriptor = os.open(self._promises, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def bytes_in(folder: Path) -> int:
    """What the files below a folder take of the disk; files that come and go meanwhile count or not."""
    total = 0
    with suppress(OSError):
        with os.scandir(folder) as found:
            for entry in found:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        total += bytes_in(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _free_on_disk(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free


def _device(path: Path) -> int:
    return _existing(path).stat().st_dev


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
