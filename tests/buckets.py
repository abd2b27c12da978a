"""Buckets of an S3 server on this machine, each with one owner."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}

_numbers = count()

logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request of the server


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


@contextmanager
def without_cors(server: BucketServer) -> Iterator[str]:
    """The address of a server that passes everything on to `server` and back, but for the headers by which browsers let pages read."""
    host = urlsplit(server.url).netloc

    class Passing(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(host)
            connection.request(self.command, self.path, body, {name: value for name, value in self.headers.items() if name != "Host"})
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if not name.lower().startswith("access-control-") and name.lower() not in {"transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_OPTIONS = pass_on

        def log_message(self, *arguments: object) -> None:
            pass

    passing = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    threading.Thread(target=passing.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{passing.server_port}"
    passing.shutdown()
    passing.server_close()
