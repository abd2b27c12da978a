"""Proves that a file that was fetched holds the bytes that were stored: S3's checksum of the object against one of the file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import StoreUnavailableError
from resources.object_store.sent_object import composite


def check_fetched(client: Any, bucket: str, key: str, path: Path) -> None:
    """Raise StoreUnavailableError when `path` differs from the object `key`; objects without a SHA-256 (of other programs) are not checked.

    The SHA-256 of an object that came in parts is one over those of its parts. Raises boto3's errors.
    """
    head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    theirs = str(head.get("ChecksumSHA256", "")).partition("-")[0]
    if not theirs or int(head["ContentLength"]) != path.stat().st_size:  # of another size: replaced since it was fetched
        return
    count = str(head.get("ETag", "")).strip('"').partition("-")[2]
    with path.open("rb") as file:
        if not count:
            ours = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
        else:
            size = int(client.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"])
            if -(-path.stat().st_size // max(size, 1)) != int(count):
                return  # another program has sent parts of different sizes
            ours = composite([hashlib.sha256(part).digest() for part in iter(lambda: file.read(size), b"")])
    if ours != theirs:
        told = f"s3://{bucket}/{key}: other bytes arrived than are stored. Nothing of them is used; try again"
        raise StoreUnavailableError(told, bucket=bucket)
