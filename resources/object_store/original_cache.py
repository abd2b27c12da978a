"""Originals of a bucket that this machine has had: a bounded folder from which the next stage takes them, in whatever process it runs.

A file is called by the SHA-256 of its bytes, and is one of three things: not there, there complete, or (to whoever has linked it) still
there after it was removed. It comes from the folder of an attempt by a hard link and goes into one by a hard link, so nothing in here is
ever half-written, and a process that is killed leaves nothing behind. What lies here counts as free room: work that needs it gets it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.settings import Settings
from resources.files.private_folder import private_folder

_TURNS = "turns"


@dataclass(frozen=True, slots=True)
class _Entry:
    """used_at: when it was last taken out or put in. is_free: nobody works with it, so that removing it makes room now."""

    path: Path
    byte_size: int
    used_at: float
    is_free: bool


class OriginalCache:
    """Any number of processes and threads may use it at once.

    limit_bytes: of all files together; 0: nothing is kept. longest_seconds: how long a file stays that nobody uses. keep_free_bytes: of
    its disk; with less, the files that were not used for longest go.
    """

    def __init__(self, root: Path, *, limit_bytes: int, longest_seconds: float, keep_free_bytes: int = 0) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._longest_seconds = longest_seconds
        self._keep_free_bytes = keep_free_bytes

    @classmethod
    def of(cls, settings: Settings) -> OriginalCache:
        """That of a machine with these settings. Without a bucket originals are read in place, and nothing is kept."""
        return cls(
            settings.cache_folder,
            limit_bytes=0 if settings.object_bucket is None else settings.cache_bytes,
            longest_seconds=settings.cache_hours * 3600,
            keep_free_bytes=settings.keep_free_bytes,
        )

    def taken(self, sha256: str, path: Path) -> bool:
        """Whether the file was here and is at `path` now, with exactly those bytes. Nobody may change it."""
        kept = self._root / sha256
        try:
            os.link(kept, path)
        except OSError:
            return False
        if file_sha256(path) != sha256:  # a disk that forgot, or somebody who wrote into it
            kept.unlink(missing_ok=True)
            path.unlink()
            return False
        with suppress(OSError):
            os.utime(kept)
        return True

    def put(self, sha256: str, path: Path) -> None:
        """Keep a complete file with these bytes, unless it is larger than all that may be kept. Its disk has to be that of the cache."""
        byte_size = path.stat().st_size
        if byte_size > self._limit_bytes:
            return
        private_folder(self._root)
        with path.open("rb") as file:
            os.fsync(file.fileno())  # a name never appears before its bytes, also when the power fails
        with suppress(OSError):  # it is there, or the file system has no links: then the file is fetched again
            os.link(path, self._root / sha256)
            os.utime(self._root / sha256)
        self.tidy()

    @contextmanager
    def turn(self, sha256: str) -> Iterator[None]:
        """Only one process of this machine at a time fetches a file. A turn ends with its process, also when that is killed."""
        if not self._limit_bytes:
            yield
            return
        folder = private_folder(self._root / _TURNS)
        descriptor = -1
        while descriptor < 0:
            descriptor = os.open(folder / sha256, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_at(descriptor, folder / sha256):  # whoever had it before has ended and removed it
                os.close(descriptor)
                descriptor = -1
        try:
            yield
        finally:
            (folder / sha256).unlink(missing_ok=True)
            os.close(descriptor)

    def spare_bytes(self) -> int:
        """So much room there would be at once if nothing were kept."""
        return sum(entry.byte_size for entry in self._entries() if entry.is_free)

    def give_back(self, byte_size: int) -> int:
        """Remove files until so much room is free at once, those first that were not used for longest. Returns how much became free."""
        freed = 0
        with self._locked():
            for entry in self._entries():
                if freed >= byte_size:
                    break
                if entry.is_free:
                    entry.path.unlink(missing_ok=True)
                    freed += entry.byte_size
        return freed

    def tidy(self) -> list[str]:
        """Remove what is too old or too much, and what killed processes left; returns the names."""
        removed = []
        with self._locked():
            entries = self._entries()
            left = sum(entry.byte_size for entry in entries)
            for entry in entries:
                if left > self._limit_bytes or time.time() - entry.used_at > self._longest_seconds:
                    entry.path.unlink(missing_ok=True)
                    removed.append(entry.path.name)
                    left -= entry.byte_size
        self._forget_turns()
        if self._root.is_dir() and (short := self._keep_free_bytes - shutil.disk_usage(self._root).free) > 0:
            self.give_back(short)
        return removed

    def _entries(self) -> list[_Entry]:
        """The files, the one that was not used for longest first."""
        found = []
        with suppress(OSError), os.scandir(self._root) as entries:
            for one in entries:
                with suppress(OSError):
                    if one.is_file(follow_symlinks=False):
                        stat = one.stat()
                        found.append(_Entry(Path(one.path), stat.st_blocks * 512, stat.st_mtime, stat.st_nlink == 1))
        return sorted(found, key=lambda entry: entry.used_at)

    def _forget_turns(self) -> None:
        turns = self._root / _TURNS
        for path in turns.iterdir() if turns.is_dir() else ():
            with suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file.fileno(), path):
                    path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two that make room at once would remove twice as much."""
        try:
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
