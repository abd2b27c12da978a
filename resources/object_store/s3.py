"""The object store as an S3 bucket, or any server that speaks S3."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.bucket_rules import INCOMPLETE_DAYS
from heaters_dagster.domain.errors import ObjectNotFoundError, SourceNotFoundError, StoreUnavailableError
from heaters_dagster.domain.file_kinds import KIND_BYTES
from heaters_dagster.domain.keys import CHECKS_PREFIX, PIECES_PREFIX, PREFIXES, UPLOADS_PREFIX, checked_key
from heaters_dagster.domain.object_headers import cache_control, content_type
from resources.object_store.arriving_object import ArrivingObject
from resources.object_store.cdn import Cdn
from resources.object_store.conditions import Conditions
from resources.object_store.fetched_checksum import check_fetched
from resources.object_store.interface import CHECKED, ObjectInfo
from resources.object_store.object_parts import fetch_in_parts
from resources.object_store.s3_client import s3_client
from resources.object_store.s3_errors import error_code, store_errors
from resources.object_store.sent_object import PART_BYTES, send_in_parts, send_whole, uploads_below
from resources.object_store.work_folder import check_room, disk_full_named

_COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class S3ObjectStore:
    """Objects of one bucket. Safe to use from several threads.

    Credentials and region come from the usual places of AWS programs. endpoint_url: another server than AWS; it is then addressed by
    path. browser_url: the same server under the address that browsers reach; presigned links name it. cdn: in front of the bucket; `url`
    then gives its links, because a signature for the bucket's host is not valid for another host.
    max_attempts: tries per request, with growing pauses, before StoreUnavailableError. kms_key: of AWS KMS, with which the bucket encrypts
    what is stored; None: as the bucket is set. tags: of every object that is stored.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        browser_url: str | None = None,
        cdn: Cdn | None = None,
        max_attempts: int = 5,
        kms_key: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.bucket = bucket
        self.endpoint_url = endpoint_url
        self._kms_key = kms_key
        self._tags = tags or {}
        self._cdn = cdn
        self._client = s3_client(bucket, endpoint_url, max_attempts)
        # A presigned link holds for the host that it names only. This client sends nothing.
        self._signing_client = self._client if browser_url is None else s3_client(bucket, browser_url, max_attempts)
        self._impatient_client: Any = None
        self.conditions = Conditions(self._client, bucket)

    def check(self) -> None:
        key = f"{CHECKS_PREFIX}/check-{secrets.token_hex(6)}"
        self._impatient_client = self._impatient_client or s3_client(self.bucket, self.endpoint_url, 2, timeout_seconds=4)
        with self._errors(""):
            self._impatient_client.put_object(Bucket=self.bucket, Key=key, Body=CHECKED, **self._arguments(key))
            found = _body(self._impatient_client.get_object(Bucket=self.bucket, Key=key))
            self._impatient_client.delete_object(Bucket=self.bucket, Key=key)
        if found != CHECKED:
            raise StoreUnavailableError(f"s3://{self.bucket}: the bytes that were read back differ from those that were written")

    def put_file(
        self, key: str, path: Path, *, storage_class: str = "STANDARD", progress: Callable[[int], None] | None = None
    ) -> ObjectInfo:
        checked_key(key)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise SourceNotFoundError(f"{path} cannot be stored as {key}: there is no such file") from None
        with file, self._errors(key):
            byte_size = os.fstat(file.fileno()).st_size
            if byte_size > PART_BYTES:
                send_in_parts(self.conditions, key, file, byte_size, self._arguments(key, storage_class), progress)
            else:
                send_whole(self.conditions, key, file.read(), self._arguments(key, storage_class))
                if progress is not None:
                    progress(byte_size)
        return ObjectInfo(key, byte_size, storage_class, needs_restore=storage_class in _COLD_CLASSES)

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo:
        checked_key(key)
        with self._errors(key):
            send_whole(self.conditions, key, data, self._arguments(key, storage_class))
        return ObjectInfo(key, len(data), storage_class, needs_restore=storage_class in _COLD_CLASSES)

    def get_file(self, key: str, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        _download(self._client, self.bucket, checked_key(key), path, progress)

    def get_bytes(self, key: str) -> bytes:
        checked_key(key)
        with self._errors(key):
            return _body(self._client.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED"))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if not 0 <= start <= end:
            raise ValueError(f"byte range [{start}, {end}) of {key}: 0 <= start <= end")
        if start == end:
            self._existing(key)
            return b""
        checked_key(key)
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                return _body(self._client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-{end - 1}"))
            except ClientError as error:
                if error_code(error) in {"InvalidRange", "416"}:
                    return b""
                raise

    def local_path(self, key: str) -> Path | None:
        checked_key(key)
        return None

    def info(self, key: str) -> ObjectInfo | None:
        checked_key(key)
        try:
            with self._errors(key):
                head = self._client.head_object(Bucket=self.bucket, Key=key)
        except ObjectNotFoundError:
            return None
        storage_class = head.get("StorageClass", "STANDARD")
        cold = storage_class in _COLD_CLASSES or "ArchiveStatus" in head
        return ObjectInfo(key, head["ContentLength"], storage_class, needs_restore=cold and not _is_restored(head))

    def delete(self, key: str) -> bool:
        checked_key(key)
        with self._errors(key):
            return self.conditions.delete(key)

    def url(self, key: str, *, expires_seconds: int) -> str | None:
        checked_key(key)
        if self._cdn is not None:
            return self._cdn.url(key, expires_seconds=expires_seconds)
        with self._errors(key):
            address: str = self._signing_client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_seconds
            )
            return address

    def restore(self, key: str, *, days: int, tier: str) -> None:
        if not self._existing(key).needs_restore:
            return
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                self._client.restore_object(
                    Bucket=self.bucket, Key=key, RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": tier}}
                )
            except ClientError as error:
                if error_code(error) != "RestoreAlreadyInProgress":
                    raise

    def sweep(self, *, older_than: timedelta = timedelta(days=INCOMPLETE_DAYS)) -> tuple[str, ...]:
        """Abort multipart uploads that began longer than `older_than` ago, and return their keys: their process is assumed to be dead.

        A bucket cannot say which process is alive, hence the long wait; S3 charges for the parts until then. Other programs may use the
        bucket: uploads under other keys than those of Heaters stay.
        """
        limit = datetime.now(UTC) - older_than
        with self._errors(""):
            prefixes = (*PREFIXES, f"{UPLOADS_PREFIX}/", f"{PIECES_PREFIX}/")
            found = (upload for prefix in prefixes for upload in uploads_below(self._client, self.bucket, prefix))
            dead = [upload for upload in found if upload["Initiated"] < limit]
            for upload in dead:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return tuple(upload["Key"] for upload in dead)

    def arriving(self, key: str, byte_size: int | None) -> ArrivingObject:
        """An object whose bytes come little by little, begun now or by an earlier process. byte_size: of all of it; None: not known."""
        return ArrivingObject(self._client, self.bucket, key, byte_size, self._arguments(key))

    def arriving_keys(self, prefix: str) -> list[str]:
        """Keys of objects of which parts have come, those begun last first."""
        with self._errors(prefix):
            found = sorted(uploads_below(self._client, self.bucket, prefix), key=lambda upload: upload["Initiated"], reverse=True)
        return [upload["Key"] for upload in found]

    def drop_arriving(self, key: str) -> None:
        """Remove the parts of an object that is not there whole."""
        with self._errors(key):
            for upload in uploads_below(self._client, self.bucket, checked_key(key)):
                if upload["Key"] == key:
                    self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload["UploadId"])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        if folder:
            checked_key(folder)
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    storage_class = found.get("StorageClass", "STANDARD")
                    restored = "RestoreExpiryDate" in found.get("RestoreStatus", {})
                    cold = storage_class in _COLD_CLASSES and not restored
                    yield ObjectInfo(found["Key"], found["Size"], storage_class, needs_restore=cold, tag=found.get("ETag", ""))

    def _arguments(self, key: str, storage_class: str = "STANDARD") -> dict[str, Any]:
        """What an object is stored with beside its bytes."""
        arguments: dict[str, Any] = {"StorageClass": storage_class, "ContentType": content_type(key), "CacheControl": cache_control(key)}
        if self._kms_key:
            arguments |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._kms_key, "BucketKeyEnabled": True}
        return arguments | ({"Tagging": urlencode(self._tags)} if self._tags else {})

    def _existing(self, key: str) -> ObjectInfo:
        found = self.info(key)
        if found is None:
            raise ObjectNotFoundError(f"no object {key} in s3://{self.bucket}{remedy(key)}")
        return found

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        with store_errors(self.bucket, key):
            yield


def fetch_object(
    bucket: str,
    key: str,
    path: Path,
    *,
    endpoint_url: str | None = None,
    max_attempts: int = 5,
    progress: Callable[[int, int], None] | None = None,
    look: Callable[[bytes, bool], None] | None = None,
) -> str:
    """Write an object of any bucket to `path`, complete or not at all: for sources that are submitted as s3:// addresses.

    Returns the hex SHA-256 of its bytes. What an earlier try has left beside `path` is used when it is of the same bytes.

    key: any S3 key. progress: gets (bytes so far, bytes in all). look: gets the first bytes, and whether they are all, before anything else
    is fetched; what it raises ends the fetch. Raises what an ObjectStore raises.
    """
    client = s3_client(bucket, endpoint_url, max_attempts)
    if look is not None:
        look(*_first_bytes(client, bucket, key))
    with store_errors(bucket, key):
        return fetch_in_parts(client, bucket, key, path, progress)


def list_keys(bucket: str, prefix: str, *, endpoint_url: str | None = None, max_attempts: int = 5) -> Iterator[str]:
    """The keys of any bucket that begin with `prefix`. Raises what an ObjectStore raises."""
    return (found.key for found in listed_objects(bucket, prefix, endpoint_url=endpoint_url, max_attempts=max_attempts))


@dataclass(frozen=True, slots=True)
class ListedObject:
    """tag: changes when the bytes do. changed_at: when the object was put there, by the clock of the server."""

    key: str
    byte_size: int
    tag: str
    changed_at: datetime


def listed_objects(bucket: str, prefix: str, *, endpoint_url: str | None = None, max_attempts: int = 5) -> Iterator[ListedObject]:
    """The complete objects of any bucket below a prefix, by key, read a page at a time. Raises what an ObjectStore raises."""
    client = s3_client(bucket, endpoint_url, max_attempts)
    with store_errors(bucket, prefix):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield ListedObject(found["Key"], found["Size"], found["ETag"].strip('"'), found["LastModified"])


def small_object(
    bucket: str, key: str, *, check_size: Callable[[int], object], endpoint_url: str | None = None, max_attempts: int = 5
) -> bytes:
    """All bytes of an object of any bucket. check_size: gets their number first; what it raises ends it.

    Raises what an ObjectStore raises.
    """
    client = s3_client(bucket, endpoint_url, max_attempts)
    with store_errors(bucket, key):
        found = client.get_object(Bucket=bucket, Key=key)
        check_size(found["ContentLength"])
        data: bytes = found["Body"].read()
    return data


def moved_object(bucket: str, key: str, new_key: str, *, endpoint_url: str | None = None, max_attempts: int = 5) -> None:
    """Give an object of any bucket another key. Done again after it was cut off, it comes to the same."""
    client = s3_client(bucket, endpoint_url, max_attempts)
    with suppress(ObjectNotFoundError), store_errors(bucket, key):
        client.copy({"Bucket": bucket, "Key": key}, bucket, new_key, Config=_transfer())
        client.delete_object(Bucket=bucket, Key=key)


def _first_bytes(client: Any, bucket: str, key: str) -> tuple[bytes, bool]:
    """(KIND_BYTES of an object or all of a smaller one, whether they are all)."""
    with store_errors(bucket, key):
        try:
            found = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{KIND_BYTES - 1}")
        except client.exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416:  # of an empty object there is no range
                return b"", True
            raise
        head: bytes = found["Body"].read()
        byte_size = int(found["ContentRange"].rpartition("/")[2])
    return head, byte_size <= KIND_BYTES


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)


def _download(client: Any, bucket: str, key: str, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    with store_errors(bucket, key):
        byte_size: int = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        check_room(path.parent, byte_size)
        done, lock = 0, threading.Lock()

        def more(byte_count: int) -> None:  # boto3 calls it from several threads, also when a part is fetched again
            nonlocal done
            with lock:
                done += byte_count
                if progress is not None:
                    progress(done, byte_size)

        try:
            with disk_full_named(path, bytes_needed=byte_size):
                with partial.open("xb") as file:
                    client.download_fileobj(bucket, key, file, Config=_transfer(), Callback=more)
                check_fetched(client, bucket, key, partial)
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _body(response: Mapping[str, Any]) -> bytes:
    data: bytes = response["Body"].read()
    return data


def _is_restored(head: Mapping[str, Any]) -> bool:
    return 'ongoing-request="false"' in head.get("Restore", "")
