"""The object store as a local folder: the key is the path below it.

An object is written to a private folder `.incoming` of the same file system, synced, and renamed to its key; the folder is synced after it.
So there is no moment at which a half object is under its key, and after a power cut the object is either the old or the new one.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.disk_room import LEAST_FREE_BYTES
from heaters_dagster.domain.errors import HeatersError, ObjectNotFoundError, SourceNotFoundError, StoreRefusedError, StoreUnavailableError
from heaters_dagster.domain.keys import checked_key
from resources.files.private_folder import close_to_others, private_folder, private_opener
from resources.files.run_fence import check_fence
from resources.object_store.interface import CHECKED, ObjectInfo
from resources.object_store.work_folder import WorkFolder, check_room, disk_full_named

_INCOMING = ".incoming"  # no segment of a key begins with a dot
_CHUNK_BYTES = 1 << 20


class LocalObjectStore:
    """Objects below `folder`. Storage classes mean nothing here: every object is STANDARD and can be read at once.

    work_folder: files below it, on the same file system, are published by a hard link instead of a copy; nobody may write to such a file
    afterwards. least_free_bytes: with less free space than this on its disk, the store counts as one that cannot be used.
    """

    def __init__(self, folder: Path, *, work_folder: Path | None = None, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self.folder = folder
        self._least_free_bytes = least_free_bytes
        self._work_folder = work_folder
        self._incoming = WorkFolder(folder / _INCOMING)

    def check(self) -> None:
        try:
            with self._incoming.attempt("check") as folder:
                (folder / "check").write_bytes(CHECKED)
                found = (folder / "check").read_bytes()
        except OSError as error:
            if isinstance(error, HeatersError):
                raise
            raise StoreRefusedError(
                f"{self.folder} cannot be written to ({error.strerror or error}): "
                "give this user the right, or set HEATERS_HOME to another folder"
            ) from error
        if found != CHECKED:
            raise StoreUnavailableError(f"{self.folder}: the bytes that were read back differ from those that were written; check the disk")
        check_room(self.folder, self._least_free_bytes)

    def put_file(
        self, key: str, path: Path, *, storage_class: str = "STANDARD", progress: Callable[[int], None] | None = None
    ) -> ObjectInfo:
        try:
            byte_size = path.stat().st_size
        except FileNotFoundError:
            raise SourceNotFoundError(f"{path} cannot be stored as {key}: there is no such file") from None

        def fill(target: Path) -> None:
            if self._is_ours(path) and _linked(path, target):
                with target.open("rb") as file:
                    os.fsync(file.fileno())
            else:
                check_room(self.folder, byte_size)
                with path.open("rb") as source, open(target, "xb", opener=private_opener) as file:
                    _copy(source, file, progress)
                    _sync(file)

        self._publish(key, byte_size, fill)
        if progress:
            progress(byte_size)
        return ObjectInfo(key, byte_size, "STANDARD", needs_restore=False)

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo:
        def fill(target: Path) -> None:
            with open(target, "xb", opener=private_opener) as file:
                file.write(data)
                _sync(file)

        self._publish(key, len(data), fill)
        return ObjectInfo(key, len(data), "STANDARD", needs_restore=False)

    def get_file(self, key: str, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        with self._opened(key) as source, disk_full_named(path, bytes_needed=(byte_size := os.fstat(source.fileno()).st_size)):
            try:
                with partial.open("xb") as file:
                    _copy(source, file, None if progress is None else lambda done: progress(done, byte_size))
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)

    def get_bytes(self, key: str) -> bytes:
        with self._store_errors(key), self._opened(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if not 0 <= start <= end:
            raise ValueError(f"byte range [{start}, {end}) of {key}: 0 <= start <= end")
        with self._store_errors(key), self._opened(key) as file:
            file.seek(start)
            return file.read(end - start)

    def local_path(self, key: str) -> Path | None:
        path = self._path(key)
        if not path.is_file():
            raise self._missing(key)
        return path

    def info(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        try:
            return ObjectInfo(key, path.stat().st_size, "STANDARD", needs_restore=False) if path.is_file() else None
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> bool:
        path = self._path(key)
        if not path.is_file():
            return False
        with self._store_errors(key):
            check_fence()
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            _sync_folder(path.parent)
            return True

    def sweep(self) -> tuple[str, ...]:
        return tuple(folder.relative_to(self.folder).as_posix() for folder in self._incoming.sweep())

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        top = self._path(folder) if folder else self.folder
        for path, byte_size, written_ns in _visible_files(str(top)):
            key = path[len(str(self.folder)) + 1 :]
            if key.startswith(prefix):
                yield ObjectInfo(checked_key(key), byte_size, "STANDARD", needs_restore=False, tag=str(written_ns))

    def url(self, key: str, *, expires_seconds: int) -> str | None:
        checked_key(key)
        return None

    def restore(self, key: str, *, days: int, tier: str) -> None:
        if self.info(key) is None:
            raise self._missing(key)

    def _publish(self, key: str, byte_size: int, fill: Callable[[Path], None]) -> None:
        final = self._path(key)
        with self._store_errors(key), self._incoming.attempt("put") as folder, disk_full_named(final, bytes_needed=byte_size):
            target = folder / "object"
            fill(target)
            if not final.parent.is_dir():
                private_folder(final.parent)
                _sync_folder(final.parent.parent)
            check_fence()
            os.replace(target, final)
            _sync_folder(final.parent)

    def _path(self, key: str) -> Path:
        return self.folder / checked_key(key)

    def _is_ours(self, path: Path) -> bool:
        return self._work_folder is not None and path.resolve().is_relative_to(self._work_folder.resolve())

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        with self._store_errors(key):
            try:
                file = path.open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise self._missing(key) from None
        with file:
            yield file

    @contextmanager
    def _store_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except HeatersError:
            raise
        except OSError as error:
            raise StoreUnavailableError(f"{key}: {self.folder} cannot be used: {error.strerror or error}") from error

    def _missing(self, key: str) -> ObjectNotFoundError:
        return ObjectNotFoundError(f"no object {key} in {self.folder}{remedy(key)}")


def _linked(source: Path, target: Path) -> bool:
    with suppress(OSError):
        os.link(source, target)
        close_to_others(target)
        return True
    return False


def _copy(source: BinaryIO, target: BinaryIO, progress: Callable[[int], None] | None) -> None:
    done = 0
    while chunk := source.read(_CHUNK_BYTES):
        target.write(chunk)
        done += len(chunk)
        if progress:
            progress(done)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _visible_files(top: str) -> Iterator[tuple[str, int, int]]:
    """(path, size, when it was written) of all files, in the order of their paths. Only the names of one folder at a time are in memory."""
    try:
        with os.scandir(top) as found:
            # The keys in a folder continue with a slash, so the folder is sorted among its neighbour files by that.
            names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in found if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.endswith("/"):
            yield from _visible_files(f"{top}/{name[:-1]}")
        else:
            with suppress(FileNotFoundError):  # deleted in the meantime
                info = os.stat(f"{top}/{name}")
                if stat.S_ISREG(info.st_mode):
                    yield f"{top}/{name}", info.st_size, info.st_mtime_ns
