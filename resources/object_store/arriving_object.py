"""An object that is stored while its bytes arrive, part by part; what is there stays when the process ends, and another one goes on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from heaters_dagster.domain.keys import checked_key
from resources.object_store.s3_errors import store_errors
from resources.object_store.sent_object import Part, begun_uploads, completed, listed_parts, sent_part

#: S3 wants at least 5 MiB in every part but the last. Two parts of each object are in memory: one that fills, one that is sent.
PART_BYTES = 8 << 20
_MOST_PART_BYTES = 32 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000
#: The largest object that can arrive so.
MOST_BYTES = _MOST_PARTS * _MOST_PART_BYTES


def arriving_part_bytes(byte_size: int) -> int:
    """Bytes of each part but the last: 8 MiB, and more, in whole MiB, for an object that would have too many of them."""
    return max(PART_BYTES, -(-byte_size // (_MOST_PARTS << 20)) << 20)


class ArrivingObject:
    """One object of `byte_size` bytes, or of an unknown number. Used by one thread at a time; another process must not send the same.

    have_bytes: whole parts that are there, from the first one without a gap. Raises what an ObjectStore raises.
    """

    def __init__(self, client: Any, bucket: str, key: str, byte_size: int | None, arguments: Mapping[str, Any]) -> None:
        self._client, self._bucket, self._key, self._byte_size = client, bucket, checked_key(key), byte_size
        self._part_bytes = arriving_part_bytes(byte_size or 0)
        self._parts: list[Part] = []
        self._buffer = bytearray()
        self._pool = ThreadPoolExecutor(1)
        self._sending: Future[Part] | None = None
        self._arguments = arguments
        self._upload: str | None = None
        if byte_size is not None:
            with store_errors(bucket, key):
                self._upload = next(iter(begun_uploads(client, bucket, key, arguments.get("StorageClass"))), None)
                self._parts = self._there() if self._upload is not None else []
        self.have_bytes = min(len(self._parts) * self._part_bytes, byte_size or 0)

    def add(self, data: bytes) -> None:
        """The bytes that follow. A full part is sent while the next one fills."""
        self._buffer += data
        while len(self._buffer) >= self._part_bytes:
            self._send(bytes(self._buffer[: self._part_bytes]))
            del self._buffer[: self._part_bytes]

    def complete(self) -> int:
        """Make the object of all that has come; returns its bytes."""
        if self._buffer:
            self._send(bytes(self._buffer))
            self._buffer.clear()
        self._wait()
        self._pool.shutdown()
        with store_errors(self._bucket, self._key):
            completed(self._client, self._bucket, self._key, self._begun(), self.have_bytes, self._parts)
        self._upload = None
        return self.have_bytes

    def leave(self) -> None:
        """Send nothing more; what is there stays until somebody goes on, or its time is over."""
        self._pool.shutdown(wait=False)

    def abort(self) -> None:
        """Remove what is there."""
        self._pool.shutdown()
        if self._upload is not None:
            with store_errors(self._bucket, self._key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)

    def _send(self, data: bytes) -> None:
        self._wait()
        with store_errors(self._bucket, self._key):
            upload = self._begun()
        number = len(self._parts) + 1
        self._sending = self._pool.submit(sent_part, self._client, self._bucket, self._key, upload, number, data)
        self.have_bytes += len(data)

    def _begun(self) -> str:
        if self._upload is None:
            made = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key, ChecksumAlgorithm="SHA256", **self._arguments)
            self._upload = str(made["UploadId"])
        return self._upload

    def _wait(self) -> None:
        if self._sending is not None:
            with store_errors(self._bucket, self._key):
                self._parts.append(self._sending.result())
            self._sending = None

    def _there(self) -> list[Part]:
        listed, parts = listed_parts(self._client, self._bucket, self._key, self._begun()), []
        for number in range(1, len(listed) + 1):
            part, left = listed.get(number), (self._byte_size or 0) - (number - 1) * self._part_bytes
            if part is None or part["Size"] != min(self._part_bytes, left):
                break
            summed = part.get("ChecksumSHA256")
            parts.append(Part(part["ETag"], base64.b64decode(summed) if summed else None, summed is not None))
        return parts
