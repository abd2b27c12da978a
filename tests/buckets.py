"""Buckets of an S3 server on this machine, each with one owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}

_numbers = count()


class BucketServer:
    """url: its address. A test takes a bucket of its own with `new_bucket`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = boto3.client("s3", endpoint_url=url)

    def new_bucket(self) -> str:
        name = f"heaters-{next(_numbers)}"
        self.client.create_bucket(Bucket=name)
        # With versions a second writing of the same bytes can be told from none.
        self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@contextmanager
def bucket_server() -> Iterator[BucketServer]:
    """A server of its own, and credentials in the environment, where this process and its children find them."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield BucketServer(f"http://{host}:{port}")
    server.stop()
