"""The object store as an S3 bucket, or any server that speaks S3."""

from __future__ import annotations

import mimetypes
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import (
    ColdStorageError,
    DownloadError,
    ObjectNotFoundError,
    PermanentError,
    SourceNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from heaters_dagster.domain.file_kinds import KIND_BYTES
from heaters_dagster.domain.keys import PREFIXES, checked_key
from heaters_dagster.domain.reasons import without_objects
from resources.object_store.interface import CHECKED, ObjectInfo
from resources.object_store.object_parts import REPLACED, fetch_in_parts
from resources.object_store.work_folder import check_room, disk_full_named

_PART_BYTES = 16 << 20
_COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_UNAVAILABLE = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestTimeTooSkewed", "Throttling", "ThrottlingException",
     "TooManyRequestsException", "OperationAborted"}
)  # fmt: skip
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
_SIGN_IN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_CONTENT_TYPES = {".mkv": "video/x-matroska", ".mp4": "video/mp4", ".json": "application/json"}


class S3ObjectStore:
    """Objects of one bucket. Safe to use from several threads.

    Credentials and region come from the usual places of AWS programs. endpoint_url: another server than AWS; it is then addressed by
    path. cdn_domain: a CDN in front of the bucket. `url` then gives addresses of the CDN, unsigned and without an end: the CDN must
    decide who may read, because a signature for the bucket's host is not valid for another host.
    max_attempts: tries per request, with growing pauses, before StoreUnavailableError.
    """

    def __init__(self, bucket: str, *, endpoint_url: str | None = None, cdn_domain: str | None = None, max_attempts: int = 5) -> None:
        self.bucket = bucket
        self.endpoint_url = endpoint_url
        self._cdn_domain = cdn_domain
        self._client = _client(bucket, endpoint_url, max_attempts)
        self._impatient_client: Any = None
        self._transfer = _transfer()

    def check(self) -> None:
        key = f"heaters/check-{secrets.token_hex(6)}"
        self._impatient_client = self._impatient_client or _client(self.bucket, self.endpoint_url, 2, timeout_seconds=4)
        with self._errors(""):
            self._impatient_client.put_object(Bucket=self.bucket, Key=key, Body=CHECKED)
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
            # Above one part this is a multipart upload. It is aborted when a part fails, so that no parts stay behind.
            self._client.upload_fileobj(
                file, self.bucket, key, ExtraArgs=_put_arguments(key, storage_class), Callback=_summed(progress), Config=self._transfer
            )
        return ObjectInfo(key, byte_size, storage_class, needs_restore=storage_class in _COLD_CLASSES)

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo:
        checked_key(key)
        with self._errors(key):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data, **_put_arguments(key, storage_class))
        return ObjectInfo(key, len(data), storage_class, needs_restore=storage_class in _COLD_CLASSES)

    def get_file(self, key: str, path: Path) -> None:
        _download(self._client, self.bucket, checked_key(key), path)

    def get_bytes(self, key: str) -> bytes:
        checked_key(key)
        with self._errors(key):
            return _body(self._client.get_object(Bucket=self.bucket, Key=key))

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
                if _code(error) in {"InvalidRange", "416"}:
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
        if self.info(key) is None:
            return False
        with self._errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)
        return True

    def url(self, key: str, *, expires_seconds: int) -> str | None:
        checked_key(key)
        if self._cdn_domain:
            return f"https://{self._cdn_domain}/{key}"
        with self._errors(key):
            address: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_seconds
            )
            return address

    def restore(self, key: str, *, days: int = 7) -> None:
        if not self._existing(key).needs_restore:
            return
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                self._client.restore_object(
                    Bucket=self.bucket, Key=key, RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": "Standard"}}
                )
            except ClientError as error:
                if _code(error) != "RestoreAlreadyInProgress":
                    raise

    def sweep(self, *, older_than: timedelta = timedelta(days=7)) -> tuple[str, ...]:
        """Abort multipart uploads that began longer than `older_than` ago, and return their keys: their process is assumed to be dead.

        A bucket cannot say which process is alive, hence the long wait; S3 charges for the parts until then. Other programs may use the
        bucket: uploads under other keys than those of Heaters stay.
        """
        limit = datetime.now(UTC) - older_than
        with self._errors(""):
            lister = self._client.get_paginator("list_multipart_uploads")
            found = (page.get("Uploads", ()) for prefix in PREFIXES for page in lister.paginate(Bucket=self.bucket, Prefix=prefix))
            dead = [upload for uploads in found for upload in uploads if upload["Initiated"] < limit]
            for upload in dead:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return tuple(upload["Key"] for upload in dead)

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
                    yield ObjectInfo(
                        found["Key"], found["Size"], storage_class, needs_restore=storage_class in _COLD_CLASSES and not restored
                    )

    def _existing(self, key: str) -> ObjectInfo:
        found = self.info(key)
        if found is None:
            raise ObjectNotFoundError(f"no object {key} in s3://{self.bucket}")
        return found

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        with _store_errors(self.bucket, key):
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
    client = _client(bucket, endpoint_url, max_attempts)
    if look is not None:
        look(*_first_bytes(client, bucket, key))
    with _store_errors(bucket, key):
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
    client = _client(bucket, endpoint_url, max_attempts)
    with _store_errors(bucket, prefix):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield ListedObject(found["Key"], found["Size"], found["ETag"].strip('"'), found["LastModified"])


def small_object(
    bucket: str, key: str, *, check_size: Callable[[int], object], endpoint_url: str | None = None, max_attempts: int = 5
) -> bytes:
    """All bytes of an object of any bucket. check_size: gets their number first; what it raises ends it.

    Raises what an ObjectStore raises.
    """
    client = _client(bucket, endpoint_url, max_attempts)
    with _store_errors(bucket, key):
        found = client.get_object(Bucket=bucket, Key=key)
        check_size(found["ContentLength"])
        data: bytes = found["Body"].read()
    return data


def moved_object(bucket: str, key: str, new_key: str, *, endpoint_url: str | None = None, max_attempts: int = 5) -> None:
    """Give an object of any bucket another key. Done again after it was cut off, it comes to the same."""
    client = _client(bucket, endpoint_url, max_attempts)
    with suppress(ObjectNotFoundError), _store_errors(bucket, key):
        client.copy({"Bucket": bucket, "Key": key}, bucket, new_key, Config=_transfer())
        client.delete_object(Bucket=bucket, Key=key)


def _first_bytes(client: Any, bucket: str, key: str) -> tuple[bytes, bool]:
    """(KIND_BYTES of an object or all of a smaller one, whether they are all)."""
    with _store_errors(bucket, key):
        byte_size: int = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        if byte_size == 0:
            return b"", True
        body = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{min(KIND_BYTES, byte_size) - 1}")["Body"]
        head: bytes = body.read()
    return head, byte_size <= KIND_BYTES


@cache
def _descriptions() -> Any:
    """What botocore knows about S3, read once in a process: to read it takes several times as long as to make a client with it."""
    import boto3
    from botocore.loaders import Loader

    class Shared(Loader):  # type: ignore[misc]
        @property
        def search_paths(self) -> list[str]:
            return list(super().search_paths)  # a copy, as each session of boto3 adds its folder

    return Shared(extra_search_paths=[str(Path(boto3.__file__).with_name("data"))])


def _client(bucket: str, endpoint_url: str | None, max_attempts: int, *, timeout_seconds: float = 60) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": max_attempts, "mode": "standard"},
        connect_timeout=min(10, timeout_seconds),
        read_timeout=timeout_seconds,
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    if endpoint_url:
        # Not every server knows the checksums that newer clients send and request by default.
        config = config.merge(Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"))
    with _store_errors(bucket, ""):
        session = botocore.session.get_session()
        session.register_component("data_loader", _descriptions())
        return boto3.session.Session(botocore_session=session).client("s3", endpoint_url=endpoint_url, config=config)


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


def _download(client: Any, bucket: str, key: str, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    with _store_errors(bucket, key):
        byte_size: int = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        check_room(path.parent, byte_size)
        try:
            with disk_full_named(path, bytes_needed=byte_size):
                with partial.open("xb") as file:
                    client.download_fileobj(bucket, key, file, Config=_transfer())
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _put_arguments(key: str, storage_class: str) -> dict[str, str]:
    suffix = Path(key).suffix
    content_type = _CONTENT_TYPES.get(suffix) or mimetypes.guess_type(key)[0] or "application/octet-stream"
    return {"StorageClass": storage_class, "ContentType": content_type}


def _summed(progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """boto3 reports the bytes since the last call, from several threads; `progress` needs the sum."""
    if progress is None:
        return None
    lock = threading.Lock()
    done = 0

    def add(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            progress(done)

    return add


def _body(response: Mapping[str, Any]) -> bytes:
    data: bytes = response["Body"].read()
    return data


def _is_restored(head: Mapping[str, Any]) -> bool:
    return 'ongoing-request="false"' in head.get("Restore", "")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _was_replaced(name: str) -> DownloadError:
    return DownloadError(f"{name} was replaced while it was read; nothing of it was kept. Try again when it is complete")


@contextmanager
def _store_errors(bucket: str, key: str) -> Iterator[None]:
    """Turns boto3's errors into ours, with the name of the object."""
    from botocore import exceptions as boto
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    name = f"s3://{bucket}/{key}"
    try:
        yield
    except boto.ClientError as error:
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = error.response.get("Error", {}).get("Message") or code
        if code in _MISSING:
            raise ObjectNotFoundError(f"no object {key} in s3://{bucket}") from error
        if code in REPLACED:
            raise _was_replaced(name) from error
        if code == "InvalidObjectState":
            raise ColdStorageError(
                f"{name} is in cold storage: request it back with"
                f" `aws s3api restore-object --bucket {bucket} --key {key} --restore-request Days=7`, wait some hours, and try again"
            ) from error
        if code == "NoSuchBucket":
            raise StoreRefusedError(f"there is no bucket {bucket}: correct S3_BUCKET_NAME or make the bucket") from error
        if code in _DENIED:
            raise StoreRefusedError(
                f"{name}: access denied. Give these credentials the right to read, write and delete in this bucket"
            ) from error
        if code in _SIGN_IN:
            raise StoreRefusedError(f"{name}: the server does not accept the credentials ({code}). Renew them") from error
        if code in _UNAVAILABLE or status >= 500:
            raise StoreUnavailableError(f"{name}: the store has a problem at the moment: {message}") from error
        raise PermanentError(f"{name}: the store refuses: {message} ({code})") from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound, boto.CredentialRetrievalError) as error:
        raise StoreRefusedError(
            f"s3://{bucket}: there are no usable credentials ({error}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, RetriesExceededError) as error:
        raise StoreUnavailableError(f"{name}: the store cannot be reached: {without_objects(str(error))}") from error
    except S3DownloadFailedError as error:  # its parts are requested by the tag of its bytes
        raise _was_replaced(name) from error
    except (boto.BotoCoreError, ValueError) as error:
        if isinstance(error, boto.BotoCoreError) or "endpoint" in str(error).lower():
            raise StoreRefusedError(f"s3://{bucket} cannot be used: {without_objects(str(error))}") from error
        raise
