"""A pool in front of Postgres, as PgBouncer is: many connections share a few server processes.

PgBouncer itself does not run as root and is a service of the system; checked by hand, 1.18 behaves as this does.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

_NOT_ENCRYPTED = {80877103, 80877104}


@dataclass(slots=True)
class Pool:
    """url: of the server, over its Unix socket and without a password. of_transactions: a process is lent for one transaction only, else
    for as long as the connection lasts."""

    url: URL
    of_transactions: bool
    _idle: list[socket.socket] = field(default_factory=list)
    _greeting: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> socket.socket:
        """The process that became idle last, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self.url.query['host']}/.s.PGSQL.{self.url.query.get('port', '5432')}")
        named = f"user\0{self.url.username}\0database\0{self.url.database}\0\0".encode()
        server.sendall(struct.pack("!ii", len(named) + 8, 196608) + named)
        self._greeting = _until_ready(server)
        return server

    def give_back(self, server: socket.socket) -> None:
        with self._lock:
            self._idle.append(server)

    def serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with client, suppress(OSError, struct.error):
            while True:
                length, code = struct.unpack("!ii", _read(client, 8))
                if code not in _NOT_ENCRYPTED:
                    break
                client.sendall(b"N")
            _read(client, length - 8)
            self.give_back(self.take())
            client.sendall(self._greeting)
            while (message := _message(client))[:1] != b"X":
                server = server or self.take()
                server.sendall(message)
                if message[:1] in {b"Q", b"S"}:
                    answer = _until_ready(server)
                    if self.of_transactions and answer[-1:] == b"I":
                        self.give_back(server)
                        server = None
                    client.sendall(answer)
        if server is not None:
            server.close()

    def close(self) -> None:
        for server in self._idle:
            server.close()


@contextmanager
def pooled(url: URL, *, of_transactions: bool) -> Iterator[URL]:
    """The address of a pool in front of the database at `url`."""
    pool = Pool(url, of_transactions)
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    threading.Thread(target=pool.serve, args=(client,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield url.set(host="127.0.0.1", port=door.getsockname()[1], query={})
        finally:
            door.shutdown(socket.SHUT_RDWR)
            pool.close()


def _until_ready(server: socket.socket) -> bytes:
    """What the server says until it waits for the next question; the last byte tells whether a transaction is open."""
    said = b""
    while True:
        message = _message(server)
        said += message
        if message[:1] == b"Z":
            return said


def _message(peer: socket.socket) -> bytes:
    head = _read(peer, 5)
    return head + _read(peer, struct.unpack("!i", head[1:])[0] - 4)


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise OSError("the other end has gone")
        data += more
    return data
