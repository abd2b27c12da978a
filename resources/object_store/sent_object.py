"""Sends an object and proves that the bytes that arrived are those that were sent; goes on with the parts that an earlier try has sent.

S3 counts its own SHA-256 of what arrives, over each part and over the whole, and refuses bytes that differ from the one that is sent along;
what it answers is compared with ours. Servers that know no such checksums refuse by Content-MD5.

A large file goes in parts. Parts stay at the server when a process is killed or the network breaks off: the next try, on any machine,
lists them and sends only those that are missing, or whose checksum differs. What is never completed is aborted after a week, by the
bucket's lifecycle rules and by `sweep`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

from heaters_dagster.domain.errors import StoreUnavailableError
from resources.object_store.conditions import ABSENT, Conditions
from resources.object_store.s3_errors import error_code, head_of

PART_BYTES = 16 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000
_BYTES_AT_ONCE = 64 << 20
_MIB = 1 << 20


def part_size(byte_size: int) -> int:
    """Bytes of each part but the last: 16 MiB, and more, in whole MiB, where that would be more parts than S3 takes."""
    return max(PART_BYTES, -(-byte_size // (_MOST_PARTS * _MIB)) * _MIB)


def composite(digests: list[bytes]) -> str:
    """S3's checksum of an object that came in parts, from the SHA-256 of each: base64, without the number of parts behind it."""
    return _base64(hashlib.sha256(b"".join(digests)).digest())


def send_whole(to: Conditions, key: str, data: bytes, arguments: Mapping[str, Any]) -> None:
    """Store `data`. Raises boto3's errors, and StoreUnavailableError when other bytes arrived."""
    ours = _base64(hashlib.sha256(data).digest())

    def send(condition: Mapping[str, str]) -> None:
        answer = to.client.put_object(Bucket=to.bucket, Key=key, Body=data, **_sums(data, ours), **arguments, **condition)
        _compare(answer, ours, to.bucket, key)

    def is_ours() -> bool:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return _is_surely_there(to, key, arguments, lambda head: head.get("ChecksumSHA256") == ours or head["ETag"].strip('"') == md5)

    to.write(key, send, is_ours=is_ours)


def send_in_parts(
    to: Conditions,
    key: str,
    file: BinaryIO,
    byte_size: int,
    arguments: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Store a file of more than one part. progress: gets the bytes that are there so far. Raises as `send_whole`."""
    client, bucket = to.client, to.bucket
    begun = begun_uploads(client, bucket, key, arguments.get("StorageClass"))
    if begun:
        upload, there = begun[0], listed_parts(client, bucket, key, begun[0])
    else:
        made = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", **arguments)
        upload, there = str(made["UploadId"]), {}
    size = part_size(byte_size)
    numbers = range(1, -(-byte_size // size) + 1)
    lock = threading.Lock()
    done = 0

    def send(number: int) -> Part:
        nonlocal done
        place = (number - 1) * size
        data = os.pread(file.fileno(), min(size, byte_size - place), place)
        if len(data) != min(size, byte_size - place):
            raise StoreUnavailableError(f"s3://{bucket}/{key}: its file became shorter while it was sent. Try again")
        part = _known(there.get(number), data) or sent_part(client, bucket, key, upload, number, data)
        with lock:
            done += len(data)
            if progress is not None:
                progress(done)
        return part

    with ThreadPoolExecutor(max(1, _BYTES_AT_ONCE // size)) as pool:
        sending = [pool.submit(send, number) for number in numbers]
        try:
            parts = [one.result() for one in sending]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ours = composite([part.digest for part in parts if part.digest is not None])

    def is_ours() -> bool:
        return _is_surely_there(to, key, arguments, lambda head: str(head.get("ChecksumSHA256", "")).partition("-")[0] == ours)

    # To send the parts again because an object is there would take long: it is asked first.
    expected = to.of_now(key) if to.are_wanted else ABSENT
    to.write(key, lambda condition: completed(client, bucket, key, upload, byte_size, parts, condition), is_ours=is_ours, expected=expected)
    for earlier in begun[1:]:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=earlier)


@dataclass(frozen=True, slots=True)
class Part:
    """tag: the server's. digest: SHA-256 of the bytes; None when an earlier process sent them, to a server that names none.

    is_summed: whether the server named the same.
    """

    tag: str
    digest: bytes | None
    is_summed: bool


def uploads_below(client: Any, bucket: str, prefix: str) -> list[Mapping[str, Any]]:
    """What S3 lists of uploads of keys with this prefix that were begun and not completed."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    return [upload for page in pages for upload in page.get("Uploads", ())]


def begun_uploads(client: Any, bucket: str, key: str, storage_class: str | None) -> list[str]:
    """The uploads of this object that were begun and not completed, the newest first; only one process at a time sends it."""
    fitting = [
        upload
        for upload in uploads_below(client, bucket, key)
        if upload["Key"] == key
        and upload.get("StorageClass", storage_class) == storage_class
        and (upload.get("ChecksumAlgorithm") or "SHA256") == "SHA256"
    ]
    return [upload["UploadId"] for upload in sorted(fitting, key=lambda upload: upload["Initiated"], reverse=True)]


def listed_parts(client: Any, bucket: str, key: str, upload: str) -> dict[int, Mapping[str, Any]]:
    """What the server has of an upload, by number."""
    pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
    return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}


def _known(there: Mapping[str, Any] | None, data: bytes) -> Part | None:
    """The part that the server has, when it is certainly of the same bytes."""
    if there is None or there["Size"] != len(data):
        return None
    digest = hashlib.sha256(data).digest()
    if "ChecksumSHA256" in there:
        is_same = there["ChecksumSHA256"] == _base64(digest)
    else:
        is_same = there["ETag"].strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Part(there["ETag"], digest, "ChecksumSHA256" in there) if is_same else None


def sent_part(client: Any, bucket: str, key: str, upload: str, number: int, data: bytes) -> Part:
    """Send one part. Raises as `send_whole`."""
    digest = hashlib.sha256(data).digest()
    ours = _base64(digest)
    answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, **_sums(data, ours))
    _compare(answer, ours, bucket, key)
    return Part(answer["ETag"], digest, "ChecksumSHA256" in answer)


def completed(
    client: Any, bucket: str, key: str, upload: str, byte_size: int, parts: list[Part], condition: Mapping[str, str] = {}
) -> None:
    """Make the object of its parts. condition: headers that say what must be there before. Raises as `send_whole`."""
    from botocore.exceptions import ClientError

    listed = [
        {"PartNumber": number, "ETag": part.tag} | ({"ChecksumSHA256": _base64(part.digest)} if part.is_summed and part.digest else {})
        for number, part in enumerate(parts, 1)
    ]
    digests = [part.digest for part in parts if part.digest is not None]
    ours = composite(digests) if len(digests) == len(parts) else None
    try:
        answer = client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}, **condition)
    except ClientError as error:
        # When the answer was lost on the way, the request that follows finds no upload any more, and the object there.
        if error_code(error) != "NoSuchUpload" or not _is_there(client, bucket, key, byte_size, ours):
            raise
        return
    # Not every server names its checksum in this answer.
    if not (_same(answer, ours) if "ChecksumSHA256" in answer else _is_there(client, bucket, key, byte_size, ours)):
        client.delete_object(Bucket=bucket, Key=key)
        raise _changed(bucket, key)


def _is_there(client: Any, bucket: str, key: str, byte_size: int, ours: str | None) -> bool:
    head = head_of(client, bucket, key, ChecksumMode="ENABLED")
    return head is not None and int(head["ContentLength"]) == byte_size and _same(head, ours)


def _is_surely_there(to: Conditions, key: str, arguments: Mapping[str, Any], is_same: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether the object has these bytes for certain, in the storage class of `arguments`."""
    head = head_of(to.client, to.bucket, key, ChecksumMode="ENABLED")
    return head is not None and head.get("StorageClass", "STANDARD") == arguments.get("StorageClass", "STANDARD") and is_same(head)


def _sums(data: bytes, sha256: str) -> dict[str, str]:
    return {
        "ChecksumAlgorithm": "SHA256",
        "ChecksumSHA256": sha256,
        "ContentMD5": _base64(hashlib.md5(data, usedforsecurity=False).digest()),
    }


def _compare(answer: Mapping[str, Any], ours: str, bucket: str, key: str) -> None:
    if not _same(answer, ours):
        raise _changed(bucket, key)


def _same(answer: Mapping[str, Any], ours: str | None) -> bool:
    """Whether the server's checksum is ours; True where one of the two is not known."""
    theirs: str | None = answer.get("ChecksumSHA256")
    return ours is None or theirs is None or theirs.partition("-")[0] == ours


def _changed(bucket: str, key: str) -> StoreUnavailableError:
    told = f"s3://{bucket}/{key}: other bytes arrived than were sent. Nothing of them is used; it is sent again"
    return StoreUnavailableError(told, bucket=bucket)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
