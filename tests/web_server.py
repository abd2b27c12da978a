"""An HTTP server on loopback that serves a folder, and misbehaves where it is asked to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader

Answer: TypeAlias = Callable[["Handler"], None]


class Handler(SimpleHTTPRequestHandler):
    """Paths in `answers` are answered by their function; the others are files."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".ts": "video/mp2t", ".m4s": "video/iso.segment",
    }  # fmt: skip
    web: WebServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.web.requests.append(path)
        self.web.ranges.append((path, self.headers.get("Range"), self.headers.get("If-Range")))
        answer = self.web.answers.get(path)
        if answer:
            answer(self)
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:
        """Clients that hang up are part of the tests."""


class WebServer:
    """answers: path -> function that answers it. requests: the paths asked for, in order; ranges: with their Range and If-Range.

    closing: set when the server ends, for answers that wait.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.ranges: list[tuple[str, str | None, str | None]] = []
        self.closing = threading.Event()
        handler = type("BoundHandler", (Handler,), {"web": self})
        self._server = QuietServer(("127.0.0.1", 0), lambda *arguments: handler(*arguments, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[WebServer]:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()


def status(code: int, headers: Mapping[str, str] | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(address: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def file(data: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def first(*answers: Answer, then: Answer) -> Answer:
    """Each of `answers` once, in order; `then` to every later request."""
    left = list(answers)

    def answer(handler: Handler) -> None:
        (left.pop(0) if left else then)(handler)

    return answer


def text(body: str, content_type: str) -> Answer:
    return file(body.encode(), content_type)


def cut_off(data: bytes, *, times: int) -> Answer:
    """The first `times` answers after the first request (in which the kind of file is found out) end in the middle of the body."""
    left = [times]

    def answer(handler: Handler) -> None:
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0] or 0)
        rest = data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("Content-Length", str(len(rest)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        if left[0] > 0:
            left[0] -= 1
            handler.wfile.write(rest[: len(rest) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.close()
        else:
            handler.wfile.write(rest)

    return answer


def ranged(data: bytes, *, etag: str | None = '"1"', heeds_if_range: bool = True, stops: Stop | None = None) -> Answer:
    """A file whose server gives ranges of it. stops: where an answer goes no further."""

    def answer(handler: Handler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if_range = handler.headers.get("If-Range")
        if asked and heeds_if_range and if_range and if_range != etag:
            asked = None
        start, end = (int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)) if asked else (0, len(data) - 1)
        if start > end:
            status(416, {"Content-Range": f"bytes */{len(data)}"})(handler)
            return
        handler.send_response(206 if asked else 200)
        told = {"Content-Type": "video/mp4", "Content-Length": str(end + 1 - start), "Accept-Ranges": "bytes"}
        told |= {"Content-Range": f"bytes {start}-{end}/{len(data)}"} if asked else {}
        for name, value in {**told, **({"ETag": etag} if etag else {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        stop = stops.at if stops is not None and start <= stops.at <= end and stops.is_reached() else None
        handler.wfile.write(data[start : end + 1 if stop is None else stop])
        handler.wfile.flush()
        if stop is not None and stops is not None:
            stops.there.set()
            if stops.hangs:
                handler.web.closing.wait(60)
            handler.close_connection = True
            handler.connection.close()

    return answer


@dataclass
class Stop:
    """The byte where answers go no further, so many times: they hang, or the connection is closed. there: set when one has come so far.

    after: so many answers come whole before that; in the first one the kind of a file is found out.
    """

    at: int
    left: int = 1
    after: int = 1
    hangs: bool = False
    there: threading.Event = field(default_factory=threading.Event)

    def is_reached(self) -> bool:
        if self.after > 0:
            self.after -= 1
            return False
        self.left -= 1
        return self.left >= 0


def hanging(handler: Handler) -> None:
    """No answer, until the server ends."""
    handler.web.closing.wait(60)
    handler.close_connection = True


def slow(data: bytes, *, pieces: int, pause_seconds: float) -> Answer:
    """The body in equal pieces with pauses between them."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            handler.wfile.write(data[start : start + size])
            handler.wfile.flush()
            time.sleep(pause_seconds)

    return answer


def downloader(**options: Any) -> Downloader:
    """One that may fetch from this machine and does not wait for long."""
    return Downloader(**{"guard": AddressGuard(allow_private=True), "timeout_seconds": 2, "retries": 1} | options)
