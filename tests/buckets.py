"""Buckets of an S3 server on this machine, each with one owner."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a client. path: with its query. headers: by names in small letters."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def operation(self) -> str:
        """S3's name for the calls that send and read objects, else the method."""
        query = urlsplit(self.path).query
        if self.method == "PUT":
            return "UploadPart" if "partNumber=" in query else "PutObject"
        if self.method == "POST":
            return "CompleteMultipartUpload" if "uploadId=" in query else "CreateMultipartUpload" if "uploads" in query else "POST"
        return {"GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}.get(self.method, self.method)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def refusal(status: int, code: str, message: str = "because") -> Answer:
    """As S3 says no."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Answer(status, (("Content-Type", "application/xml"),), body)


class Between:
    """Stands between clients and a server. A test sets what it does with requests and answers; `asked` are those that came.

    before: gets a request; returns the request to pass on (perhaps changed), or an answer to give instead, or None to cut the connection.
    after: gets the request and the server's answer; returns the answer to give, or None to cut the connection.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Asked | Answer | None] = lambda asked: asked
        self.after: Callable[[Asked, Answer], Answer | None] = lambda asked, answer: answer

    def operations(self) -> list[str]:
        return [asked.operation for asked in self.asked]


@contextmanager
def standing_between(server: BucketServer) -> Iterator[Between]:
    host = urlsplit(server.url).netloc

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # an older one does not tell clients to go on, for which they wait a second at every PUT

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()})
            between.asked.append(asked)
            given = between.before(asked)
            answer = between.after(given, self.answered(given)) if isinstance(given, Asked) else given
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if self.command != "HEAD" and "content-length" not in {name.lower() for name, _ in answer.headers}:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def answered(self, asked: Asked) -> Answer:
            connection = http.client.HTTPConnection(host)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "content-length"}}
            connection.request(asked.method, asked.path, asked.body, kept)
            answer = connection.getresponse()
            headers = tuple(one for one in answer.getheaders() if one[0].lower() not in {"transfer-encoding", "connection"})
            body = answer.read()
            connection.close()
            return Answer(answer.status, headers, body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_OPTIONS = pass_on

        def log_message(self, *arguments: object) -> None:
            pass

    passing = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    threading.Thread(target=passing.serve_forever, daemon=True).start()
    between = Between(f"http://127.0.0.1:{passing.server_port}")
    yield between
    passing.shutdown()
    passing.server_close()


@contextmanager
def without_cors(server: BucketServer) -> Iterator[str]:
    """The address of a server that passes everything on to `server` and back, but for the headers by which browsers let pages read."""

    def closed(asked: Asked, answer: Answer) -> Answer:
        return replace(answer, headers=tuple(one for one in answer.headers if not one[0].lower().startswith("access-control-")))

    with standing_between(server) as between:
        between.after = closed
        yield between.url
