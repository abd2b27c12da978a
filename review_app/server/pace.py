"""Ends requests that are sent too slowly or without end: one guard for request bodies, and one for the header lines.

A body must come at a pace, and only an upload may be large. A connection must have sent a whole request's header lines in time.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle, Transport

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: A body that brings less than this in the time is given up. A phone in a train sends more.
SLOWEST_BYTES = 16 * 1024
WINDOW_SECONDS = 30.0
HEADER_SECONDS = 20.0
#: Chromium opens connections before it needs them, and ends those after 60 s by itself.
SILENT_SECONDS = 90.0
#: Limit for every request except uploads. Heaters' own routes have smaller limits; Streamlit has routes that would hold 200 MB in memory.
MAX_BODY_BYTES = 1024 * 1024
UPLOADS_PATH = "/api/uploads"


class Pace:
    """ASGI middleware: ends a body that is too slow or too large, as if its sender had gone away.

    Only the time in which the server waits counts, not that in which it writes to a slow disk.
    """

    def __init__(self, app: ASGIApp, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self._app = app
        self._window_seconds = window_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _Paced(receive, self._window_seconds, scope["path"] != UPLOADS_PATH).receive, send)


class _Paced:
    def __init__(self, receive: Receive, window_seconds: float, is_limited: bool) -> None:
        self._receive = receive
        self._window_seconds = window_seconds
        self._is_limited = is_limited
        self._all_there = False
        self._given_up = False
        self._bytes = 0
        self._waited_seconds = 0.0
        self._window_bytes = 0

    async def receive(self) -> Message:
        if self._all_there:
            return await self._receive()  # waits for the end of the connection, however long that takes
        if self._given_up:
            return {"type": "http.disconnect"}
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._window_seconds - self._waited_seconds):
                message = await self._receive()
        except TimeoutError:
            return self._give_up()
        self._waited_seconds += clock() - began
        size = len(message.get("body", b""))
        self._bytes += size
        self._window_bytes += size
        self._all_there = message["type"] != "http.request" or not message.get("more_body", False)
        if self._is_limited and self._bytes > MAX_BODY_BYTES:
            return self._give_up()
        if self._window_bytes >= SLOWEST_BYTES:
            self._waited_seconds, self._window_bytes = 0.0, 0
        return message

    def _give_up(self) -> Message:
        self._given_up = True
        return {"type": "http.disconnect"}


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a time limit for header lines.

    uvicorn has one between requests only: a connection that sent half of a request's lines, or nothing at all, was kept for ever.
    """

    header_seconds = HEADER_SECONDS
    silent_seconds = SILENT_SECONDS
    _header_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_at_most(self.silent_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._wait_at_most(self.header_seconds)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_at_most(self, seconds: float) -> None:
        self._stop_waiting()
        self._header_timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
