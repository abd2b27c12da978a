"""Temporary files: every attempt at a stage works in a private folder, which is removed when the attempt ends in any way.

The folder is locked with flock. The lock ends with the process, also by kill -9, so a folder whose lock is free belongs to nobody, and
`sweep` removes it. Process ids are not used for this.

The folder of work that is continued (a long download) is the exception: it outlives its attempt and its process for a while.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heaters_dagster.domain.disk_room import LEAST_FREE_BYTES, RoomWait
from heaters_dagster.domain.errors import DiskFullError, NoRoomError
from heaters_dagster.settings import Settings
from resources.files.private_folder import private_folder
from resources.object_store.original_cache import OriginalCache
from resources.object_store.promised_room import PromisedRoom, bytes_in

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_CONTINUED = ".continued"
_OF = "of"
#: How long what was begun waits to be continued; counted from when something in it last changed.
CONTINUED_SECONDS = 48 * 3600.0


#: Attempts of this process that were promised room -> who promises more.
_promised: dict[Path, PromisedRoom] = {}

#: An attempt that filled the disk is not begun again before there is this many times the room that it had.
_MORE_THAN_IT_HAD = 1.25

#: What work waits for on a disk on which it could not even begin, when it does not know what it needs.
_LEAST_NEEDED_BYTES = 10**6

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: What a person can do where a file cannot be written.
_REMEDIES = {
    errno.ENOENT: "make its folder, or name another",
    errno.ENOTDIR: "name a place in a folder",
    errno.EISDIR: "name a file",
    errno.EACCES: "get the right to write in its folder, or name another",
    errno.EPERM: "get the right to write in its folder, or name another",
    errno.EROFS: "name a place that can be written to",
}


class WorkFolder:
    """The folder of all attempts on this machine; any number of processes may use it at once.

    room: what attempts may be promised of the disk. keep_free_bytes, published_to: as for PromisedRoom. cache: what is kept of the
    originals of a bucket; None: nothing.
    """

    def __init__(
        self,
        root: Path,
        *,
        keep_free_bytes: int = LEAST_FREE_BYTES,
        published_to: Path | None = None,
        cache: OriginalCache | None = None,
    ) -> None:
        self.root = root
        self.cache = cache or OriginalCache(root.with_name("original_cache"), limit_bytes=0, longest_seconds=0)
        self.room = PromisedRoom(root, keep_free_bytes=keep_free_bytes, published_to=published_to, is_held=self.is_held, spare=self.cache)

    @classmethod
    def of(cls, settings: Settings) -> WorkFolder:
        """That of a machine with these settings."""
        published_to = settings.objects_folder if settings.object_bucket is None else None
        cache = OriginalCache.of(settings)
        return cls(settings.work_folder, keep_free_bytes=settings.keep_free_bytes, published_to=published_to, cache=cache)

    @contextmanager
    def attempt(self, name: str, *, bytes_needed: int | None = None) -> Iterator[Path]:
        """A new, empty, private folder (mode 0700) for one attempt, removed afterwards.

        name: what it is for, as `proxy-12`; letters, digits, '-' and '_', at most 64. Two attempts with the same name get two folders.
        bytes_needed: what it will take of the disk, an upper estimate. It is promised to the attempt until the attempt ends, so that all
        attempts together do not need more than there is; `check_room` in its folder asks for more. None: nothing is promised.
        Raises NoRoomError when so much cannot be promised, also when the disk is full in the end all the same; DiskFullError when the disk
        has no room for a write in the body of an attempt that was promised nothing.
        """
        if not _NAME.match(name):
            raise ValueError(f"attempt name {name!r}: up to 64 letters, digits, '-' and '_'")
        with disk_full_named(self.root):
            with self._begun_on_a_full_disk(bytes_needed):
                folder, descriptor = self._locked_folder(name)
            try:
                if bytes_needed is None:
                    yield folder
                else:
                    with self._with_room(folder, bytes_needed):
                        yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)

    @contextmanager
    def _begun_on_a_full_disk(self, bytes_needed: int | None) -> Iterator[None]:
        """Not even a folder, or the note of a promise, can be made: work that asks for room waits for it. None: it does not ask."""
        try:
            yield
        except OSError as error:
            if error.errno not in _DISK_FULL or bytes_needed is None or not self.room.is_scarce():
                raise
            wait = RoomWait("", max(bytes_needed, _LEAST_NEEDED_BYTES), max(0, self.room.free_bytes()))
            told = f"{wait.words}; make room under {self.root.parent}"
            raise NoRoomError(told, bytes_needed=wait.bytes_needed, bytes_free=wait.bytes_free) from error

    @contextmanager
    def _with_room(self, folder: Path, bytes_needed: int) -> Iterator[None]:
        with self._begun_on_a_full_disk(bytes_needed):
            self.room.promise(folder, bytes_needed)
        _promised[folder] = self.room
        try:
            with disk_full_named(self.root):
                yield
        except DiskFullError as error:
            if not self.room.is_scarce():  # another disk, or a quota: nothing to wait for here
                raise
            had = max(self.room.promised_to(folder), bytes_in(folder))
            wait = RoomWait(folder.name, max(round(had * _MORE_THAN_IT_HAD), _LEAST_NEEDED_BYTES), had)
            raise NoRoomError(wait.words, bytes_needed=wait.bytes_needed, bytes_free=wait.bytes_free) from error
        finally:
            del _promised[folder]
            self.room.forget(folder)

    @contextmanager
    def continued(self, name: str, of: str, *, stays: Callable[[BaseException], bool]) -> Iterator[Path]:
        """A private folder for one attempt, with what the attempt before it has left there; removed when the body succeeds.

        name: as for `attempt`. of: exactly what the work is for: what another work has left under this name is removed first. stays:
        whether what there is should stay after this error; it stays when the process is killed, for CONTINUED_SECONDS.
        When another process has the folder, the attempt gets an empty one of its own. Raises DiskFullError, NoRoomError.
        """
        if not _NAME.match(name):
            raise ValueError(f"attempt name {name!r}: up to 64 letters, digits, '-' and '_'")
        with disk_full_named(self.root):
            folder = self.root / f"{name}{_CONTINUED}"
            with self._begun_on_a_full_disk(0):
                descriptor = self._held(folder)
            if descriptor is None:
                with self.attempt(name, bytes_needed=0) as empty:
                    yield empty
                return
            kept = False
            try:
                with self._with_room(folder, 0):  # what it turns out to need is asked for by check_room
                    yield _files_of(folder, of)
            except BaseException as error:
                kept = stays(error)
                raise
            finally:
                if not kept:
                    shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)

    def _held(self, folder: Path) -> int | None:
        """A descriptor that holds the lock of `folder`, which is made when it is missing; None while another process has it."""
        private_folder(self.root)
        for _ in range(3):  # a sweep may remove it before it is locked
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = _try_lock(folder)
            if descriptor is not None:
                return descriptor
        return None

    def sweep(self, *, is_over: Callable[[str], bool] = lambda name: False) -> list[Path]:
        """Remove the folders of attempts whose process is dead; returns them. Folders in use stay, and those that may be continued.

        is_over: whether the work of this name is not continued any more.
        """
        removed: list[Path] = []
        if not self.root.is_dir():
            return removed
        for folder in sorted(self.root.iterdir()):
            descriptor = _try_lock(folder)
            if descriptor is None:
                continue
            try:
                if folder.suffix != _CONTINUED or is_over(folder.stem) or _seconds_unchanged(folder) > CONTINUED_SECONDS:
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


def _files_of(folder: Path, of: str) -> Path:
    """The folder for the files in `folder`; empty unless they are of the same work."""
    named, files = folder / _OF, folder / "files"
    if not (named.is_file() and named.read_text() == of):
        shutil.rmtree(files, ignore_errors=True)
        named.write_text(of)
    files.mkdir(mode=0o700, exist_ok=True)
    return files


def _seconds_unchanged(folder: Path) -> float:
    newest = folder.stat().st_mtime
    for path in folder.rglob("*"):
        with suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return time.time() - newest


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
        if error.errno not in _DISK_FULL:
            raise
        raise _disk_full(path, bytes_needed) from error


@contextmanager
def written_beside(target: Path, *, called: Path | None = None, private: bool = False) -> Iterator[Path]:
    """A path in the folder of `target` to write to. It takes its place when the body ends, so that the file appears whole and what was
    there stays until then. called: the name that people know and that DiskFullError and OSError have, when it is not `target`.
    private: only its owner may use the file.

    It is made before the body begins: where no file can be, that is told with its name, which media libraries leave out, and before hours
    of work.
    """
    part = target.with_name(f".{os.getpid()}.{threading.get_native_id()}.part")
    try:
        with disk_full_named(called or target):
            part.touch(0o600 if private else 0o666)
            if private:  # it may be there: a process with the same number was killed
                part.chmod(0o600)
            yield part
        part.replace(target)
    except OSError as error:
        if error.filename != str(part):
            raise
        told = ": ".join(filter(None, (error.strerror, _REMEDIES.get(error.errno or 0))))
        raise OSError(error.errno, told, str(called or target)) from error
    finally:
        with suppress(OSError):  # of a place where there can be no file
            part.unlink()


def check_room(folder: Path, bytes_needed: int) -> None:
    """Raise, before anything is written, when the file system of `folder` has no room for `bytes_needed` more.

    In the folder of an attempt that was promised room, so much more is promised to it, or NoRoomError raised; elsewhere DiskFullError.
    """
    attempt = next((path for path in (folder, *folder.parents) if path in _promised), None)
    if attempt is not None:
        _promised[attempt].promise(attempt, bytes_in(attempt) + bytes_needed)
    elif _free_bytes(folder) < bytes_needed:
        raise _disk_full(folder, bytes_needed)


def _disk_full(path: Path, bytes_needed: int | None) -> DiskFullError:
    needed = "" if bytes_needed is None else f"{bytes_needed:,} bytes are needed, "
    return DiskFullError(f"no room left on the disk of {path}: {needed}{_free_bytes(path):,} are free; make room and try again")


def _free_bytes(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
