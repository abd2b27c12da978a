"""Fetches an object in parts, several at once, and goes on with those that an earlier try has fetched, when it was killed or broke off.

Beside the file: `NAME.part` with the parts at their places, `NAME.parts` with the number of each complete one, `NAME.about` with the tag of
the bytes that they are of. Another tag means that the object was replaced: then all begins anew. The parts are hashed in their order as
they come, so that the file need not be read again for that.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import StoreUnavailableError
from resources.files.boot import boot_id
from resources.object_store.work_folder import check_room, disk_full_named

PART_BYTES = 16 << 20
#: What a server answers when the object has another tag than the one that was asked for.
REPLACED = frozenset({"412", "PreconditionFailed"})
#: So many parts at once are in memory, and the one that is hashed.
_AT_ONCE = 4
_TRIES = 5
_CHUNK_BYTES = 1 << 20


def fetch_in_parts(client: Any, bucket: str, key: str, path: Path, progress: Callable[[int, int], None] | None = None) -> str:
    """Write an object to `path`, complete or not at all; returns the hex SHA-256 of its bytes. client: boto3's.

    progress: gets (bytes so far, bytes in all). What an earlier try has left is read once. Raises boto3's errors, and DiskFullError.
    """
    head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    byte_size, tag = int(head["ContentLength"]), str(head["ETag"])
    partial, journal, about = (path.with_name(f"{path.name}.{suffix}") for suffix in ("part", "parts", "about"))
    said = json.dumps({"tag": tag, "bytes": byte_size, "part": PART_BYTES, "boot": boot_id()})
    if not (about.is_file() and about.read_text() == said):
        for earlier in (path, partial, journal):
            earlier.unlink(missing_ok=True)
        about.write_text(said)
    if path.is_file() and path.stat().st_size == byte_size:
        with path.open("rb") as whole:
            return hashlib.file_digest(whole, "sha256").hexdigest()
    there = _complete(journal) if partial.is_file() else set()
    numbers = range(-(-byte_size // PART_BYTES))
    missing = [number for number in numbers if number not in there]
    done = byte_size - sum(_size(number, byte_size) for number in missing)
    check_room(path.parent, byte_size - done)
    lock = threading.Lock()

    def fetch(number: int, file: int) -> list[bytes]:
        nonlocal done
        first = number * PART_BYTES
        span = f"bytes={first}-{first + _size(number, byte_size) - 1}"
        chunks: list[bytes] = []
        for chunk, place in _chunks(client, {"Bucket": bucket, "Key": key, "IfMatch": tag, "Range": span}):
            if place == 0:
                chunks.clear()
            _write(file, chunk, first + place)
            chunks.append(chunk)
        with lock:
            with journal.open("a", encoding="ascii") as noted:
                noted.write(f"{number}\n")
            done += _size(number, byte_size)
            if progress is not None:
                progress(done, byte_size)
        return chunks

    digest = hashlib.sha256()
    with disk_full_named(path, bytes_needed=byte_size), _removed_when_replaced(path, partial, journal, about):
        file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                later = iter(missing)
                coming = {number: pool.submit(fetch, number, file) for number in islice(later, _AT_ONCE)}
                try:
                    for number in numbers:
                        chunks: Iterable[bytes]
                        if number in there:
                            chunks = _read(file, number * PART_BYTES, _size(number, byte_size))
                        else:
                            chunks = coming.pop(number).result()
                            coming |= {following: pool.submit(fetch, following, file) for following in islice(later, 1)}
                        for chunk in chunks:
                            digest.update(chunk)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            os.close(file)
        # Of an object that came in parts it is a checksum over theirs, and its tag says so.
        theirs = head.get("ChecksumSHA256") if "-" not in tag else None
        if theirs is not None and theirs != base64.b64encode(digest.digest()).decode():
            for file_name in (partial, journal):
                file_name.unlink(missing_ok=True)
            told = f"s3://{bucket}/{key}: other bytes arrived than are stored. Nothing of them is used; try again"
            raise StoreUnavailableError(told, bucket=bucket)
        os.replace(partial, path)
        journal.unlink(missing_ok=True)
    return digest.hexdigest()


@contextmanager
def _removed_when_replaced(*files: Path) -> Iterator[None]:
    from botocore.exceptions import ClientError
    from s3transfer.exceptions import S3DownloadFailedError

    try:
        yield
    except (ClientError, S3DownloadFailedError) as error:
        if not isinstance(error, ClientError) or error.response.get("Error", {}).get("Code") in REPLACED:
            for file in files:
                file.unlink(missing_ok=True)
        raise


def _chunks(client: Any, asked: dict[str, str]) -> Iterator[tuple[bytes, int]]:
    """(bytes, their place in the part), from the beginning of the part again after a connection broke.

    Not every server heeds the tag in a request, so that of the answer counts too. Raises S3DownloadFailedError when it is another one.
    """
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
    from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS

    for tried in range(_TRIES):
        place = 0
        try:
            answer = client.get_object(**asked)
            if answer.get("ETag", asked["IfMatch"]) != asked["IfMatch"]:
                raise S3DownloadFailedError("the object has another tag now")
            body = answer["Body"]
            while chunk := body.read(_CHUNK_BYTES):
                yield chunk, place
                place += len(chunk)
            return
        except S3_RETRYABLE_DOWNLOAD_ERRORS as error:
            if tried == _TRIES - 1:
                raise RetriesExceededError(error) from error


def _read(file: int, place: int, byte_size: int) -> Iterator[bytes]:
    for start in range(place, place + byte_size, _CHUNK_BYTES):
        yield os.pread(file, min(_CHUNK_BYTES, place + byte_size - start), start)


def _write(file: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _size(number: int, byte_size: int) -> int:
    return min(PART_BYTES, byte_size - number * PART_BYTES)


def _complete(journal: Path) -> set[int]:
    """Numbers of the complete parts; a line that was cut off does not count."""
    with suppress(OSError, ValueError):
        return {int(line) for line in journal.read_text("ascii").splitlines(keepends=True) if line.endswith("\n")}
    return set()
