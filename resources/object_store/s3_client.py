"""Makes boto3's client for S3."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from resources.files.run_fence import check_fence
from resources.object_store.s3_errors import store_errors

#: The requests after which readers see something else than before.
_VISIBLE = ("PutObject", "CompleteMultipartUpload", "CopyObject", "DeleteObject", "DeleteObjects")


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


def s3_client(bucket: str, endpoint_url: str | None, max_attempts: int, *, timeout_seconds: float = 60) -> Any:
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
    with store_errors(bucket, ""):
        session = botocore.session.get_session()
        session.register_component("data_loader", _descriptions())
        client = boto3.session.Session(botocore_session=session).client("s3", endpoint_url=endpoint_url, config=config)
    for operation in _VISIBLE:
        client.meta.events.register(f"before-call.s3.{operation}", _behind_the_fence)
    return client


def _behind_the_fence(**_: object) -> None:
    check_fence()
