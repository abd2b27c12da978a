"""Uploads of reviewers while they arrive. What has come stays when the connection breaks or the process dies, and the next request goes on.

With a bucket the bytes go there part by part, so that another review app can go on. Without one they go into a hidden file beside the
uploads. Only an upload that is there whole gets its name, and only then a row names it. What nobody goes on with is removed after a day
(`sweep_uploads`), in a bucket after a week (`S3ObjectStore.sweep`, the lifecycle rules).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

from heaters_dagster.domain.errors import BusyError, HeatersError
from heaters_dagster.domain.keys import UPLOADS_PREFIX
from heaters_dagster.settings import Settings
from resources.files.private_folder import private_folder, private_opener
from resources.media.first_bytes import HEAD_BYTES
from resources.object_store.interface import ObjectStore
from resources.object_store.s3 import S3ObjectStore
from resources.sources.fetched import file_sha256
from resources.sources.file_identity import FileIdentity, file_identity, sampled_fingerprint

#: Of a name: what says whose upload of which file it is, then chance.
IDENTITY_DIGITS = 16
_NAME = re.compile(r"[0-9a-f]{24}(\.[a-z0-9]{1,8})?\Z")
_BEGUN = ".begun"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


class BegunUpload(Protocol):
    """One upload that was let in. Its methods wait for a disk or the bucket.

    have_bytes: what is there from the beginning on. Raises what an ObjectStore raises, and OSError.
    """

    @property
    def have_bytes(self) -> int: ...

    def add(self, data: bytes) -> None:
        """The bytes that follow."""
        ...

    def finish(self) -> tuple[str, FileIdentity]:
        """All of it is there: (source of its row, what is known of the file). Done again, it comes to the same."""
        ...

    def leave(self) -> None:
        """Let somebody else go on."""
        ...

    def drop(self) -> None:
        """Remove what is there of it."""
        ...


def new_name(identity: str, suffix: str) -> str:
    """identity: IDENTITY_DIGITS hexadecimal digits. Nobody else has the name, so that no two rows ever name one file."""
    return f"{identity}{secrets.token_hex(12 - IDENTITY_DIGITS // 2)}{suffix}"


def suffix_of_name(name: str) -> str:
    """What the name of a file ends with, as the name of an upload has it."""
    found = _SUFFIX.search(name)
    return found.group().lower() if found else ""


def is_name_of(name: str, identity: str) -> bool:
    return _NAME.match(name) is not None and name.startswith(identity)


def opened_upload(
    name: str, byte_size: int | None, settings: Settings, objects: ObjectStore, *, counted_in: Path | None = None
) -> BegunUpload:
    """The upload of this name, begun now or before. byte_size: of the whole file; None: not known, so it was not begun before.

    counted_in: a folder that was promised room for it; what comes counts as taken of that.
    Raises BusyError while another request writes to it.
    """
    if isinstance(objects, S3ObjectStore):
        return _BucketUpload(objects, name, byte_size)
    return _FolderUpload(settings.uploads_folder, name, byte_size, counted_in)


def source_of_upload(name: str, settings: Settings) -> str:
    """What the row of an upload of this name names."""
    bucket = settings.object_bucket
    return str(settings.uploads_folder / name) if bucket is None else f"s3://{bucket}/{UPLOADS_PREFIX}/{name}"


def arrived_bytes(name: str, byte_size: int, settings: Settings, objects: ObjectStore) -> int:
    """How much of an upload is there, from the beginning on."""
    if isinstance(objects, S3ObjectStore):
        return _BucketUpload(objects, name, byte_size).have_bytes
    kept, begun = _paths(settings.uploads_folder, name)
    with suppress(FileNotFoundError):
        return kept.stat().st_size
    with suppress(FileNotFoundError):
        return _usable(begun.stat().st_size, byte_size)
    return 0


def drop_begun(name: str, settings: Settings, objects: ObjectStore) -> None:
    """Remove what has come of an upload that is not there whole."""
    if isinstance(objects, S3ObjectStore):
        objects.drop_arriving(f"{UPLOADS_PREFIX}/{name}")
    else:
        _paths(settings.uploads_folder, name)[1].unlink(missing_ok=True)


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """(of the whole file, of what has come of it)."""
    return folder / name, folder / f".{name}{_BEGUN}"


def _usable(have_bytes: int, byte_size: int | None) -> int:
    """Fewer bytes than those by which a video is known come once more, so that they are looked at."""
    return have_bytes if HEAD_BYTES <= have_bytes <= (byte_size or 0) else 0


def begun_names(identity: str, settings: Settings, objects: ObjectStore) -> list[str]:
    """Names of uploads of this identity that are there in part or whole, the newest first.

    Some servers list parts only for a whole key; there the page must name the upload.
    """
    if isinstance(objects, S3ObjectStore):
        prefix = f"{UPLOADS_PREFIX}/{identity}"
        keys = [*objects.arriving_keys(prefix), *(one.key for one in objects.list(prefix))]
        return [key.rpartition("/")[2] for key in keys]
    found = [*settings.uploads_folder.glob(f".{identity}*{_BEGUN}"), *settings.uploads_folder.glob(f"{identity}*")]
    with suppress(FileNotFoundError):
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.name.removeprefix(".").removesuffix(_BEGUN) for path in found]


class _FolderUpload:
    def __init__(self, folder: Path, name: str, byte_size: int | None, counted_in: Path | None) -> None:
        private_folder(folder)
        self._kept, self._begun = _paths(folder, name)
        self._file: IO[bytes] | None = None
        if self._kept.exists():
            self.have_bytes = self._kept.stat().st_size
        else:
            self._file = self._locked()
            self.have_bytes = _usable(os.fstat(self._file.fileno()).st_size, byte_size)
            if self.have_bytes == 0:
                self._file.truncate(0)
            if counted_in is not None:
                with suppress(OSError):  # of a disk without links
                    os.link(self._begun, counted_in / name)
        # What another request has brought is hashed at the end.
        self._digest = hashlib.sha256() if self.have_bytes == 0 else None

    def add(self, data: bytes) -> None:
        assert self._file is not None
        if self._digest is not None:
            self._digest.update(data)
        self._file.write(data)
        self.have_bytes += len(data)

    def finish(self) -> tuple[str, FileIdentity]:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._begun.rename(self._kept)
            self._file.close()
        sha256 = file_sha256(self._kept) if self._digest is None else self._digest.hexdigest()
        return str(self._kept), replace(file_identity(self._kept), sha256=sha256)

    def leave(self) -> None:
        if self._file is not None:
            self._file.close()

    def drop(self) -> None:
        for path in (self._begun, self._kept):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # of a full disk
            self.leave()

    def _locked(self) -> IO[bytes]:
        """The hidden file, locked as long as it is open; the lock ends with its process."""
        file = open(self._begun, "ab", opener=private_opener)  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == self._begun.stat().st_ino:
                return file
        except OSError:
            pass
        file.close()
        raise BusyError("this file is being sent by another page, or its end is still being stored")


class _BucketUpload:
    def __init__(self, objects: S3ObjectStore, name: str, byte_size: int | None) -> None:
        self._objects, self._key = objects, f"{UPLOADS_PREFIX}/{name}"
        there = objects.info(self._key) if byte_size is not None else None
        self._arriving = objects.arriving(self._key, byte_size) if there is None else None
        self._before = there.byte_size if there is not None else 0
        self._digest = hashlib.sha256() if self.have_bytes == 0 else None

    @property
    def have_bytes(self) -> int:
        return self._arriving.have_bytes if self._arriving is not None else self._before

    def add(self, data: bytes) -> None:
        assert self._arriving is not None
        if self._digest is not None:
            self._digest.update(data)
        self._arriving.add(data)

    def finish(self) -> tuple[str, FileIdentity]:
        byte_size = self._arriving.complete() if self._arriving is not None else self._before
        samples = sampled_fingerprint(byte_size, lambda start, end: self._objects.get_range(self._key, start, end))
        sha256 = None if self._digest is None else self._digest.hexdigest()
        return f"s3://{self._objects.bucket}/{self._key}", FileIdentity(byte_size, time.time_ns(), samples, sha256)

    def leave(self) -> None:
        if self._arriving is not None:
            self._arriving.leave()

    def drop(self) -> None:
        """When that fails, a lifecycle rule does it."""
        with suppress(HeatersError):
            if self._arriving is not None:
                self._arriving.abort()
            self._objects.delete(self._key)
