"""A route of the review app: its request is checked before it is answered, and its errors are JSON in words."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heaters_dagster.domain.errors import (
    BadRequestError,
    CutError,
    HeatersError,
    InvalidMediaError,
    NotFoundError,
    ObjectNotFoundError,
    PermanentError,
    SettingsError,
)
from heaters_dagster.doors import is_from_another_site
from review_app.service import incoming
from review_app.service.links import LinkError
from review_app.service.review_desk import ReviewDesk

_SAFE = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "same-origin"}
PRIVATE = {**_SAFE, "Cache-Control": "private, max-age=3600"}
FRESH = {**_SAFE, "Cache-Control": "no-store"}

_RETRY_SECONDS = "2"
#: For how long, and up to how many bytes, a refused body is still read.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 4 * 1024**2


P = ParamSpec("P")
T = TypeVar("T")


async def in_lane(request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of the work, done in a thread of the route's lane."""
    return await to_thread.run_sync(functools.partial(work, *args, **kwargs), limiter=request.state.lane)


class NoSessionError(PermanentError):
    """Nobody is signed in, or the session has ended."""


class _ForeignSiteError(PermanentError):
    pass


class Served(Route):
    """400 for what makes no sense, 401 and 403 for tokens, 404, 408 for what comes too slowly, 409, 415, 422, and 503 with a time to try
    again when something is down.

    lane: the threads for its work (see `in_lane`); None: those of every route. takes_files: a refusal must end a body that is still coming.
    """

    _is_open = False

    def __init__(
        self,
        open_desk: Callable[[], ReviewDesk],
        path: str,
        answer: Callable[[ReviewDesk, Request], Awaitable[Response]],
        *,
        methods: tuple[str, ...] = ("GET",),
        lane: CapacityLimiter | None = None,
        takes_files: bool = False,
    ) -> None:
        async def endpoint(request: Request) -> Response:
            try:
                if request.method not in {"GET", "HEAD"} and is_from_another_site(request.headers):
                    raise _ForeignSiteError("decisions are taken from the review app's own page only")
                request.state.lane = lane
                request.state.query = incoming.checked_address(request.scope)
                # To open the desk takes seconds, once.
                desk = open_desk() if self._is_open else await run_in_threadpool(open_desk)
                self._is_open = True
                return await answer(desk, request)
            except (HeatersError, ClientDisconnect) as error:
                refused = _refused(error)
                return _Closing(refused) if takes_files else refused

        super().__init__(path, endpoint, methods=list(methods))


def _refused(error: HeatersError | ClientDisconnect) -> JSONResponse:
    match error:
        case ClientDisconnect():
            return _error(408, "too_slow", "the message did not arrive completely in time; it is sent again")
        case NoSessionError():
            return _error(401, "signed_out", str(error))
        case LinkError():
            return _error(403, "link_expired" if error.expired else "forbidden", str(error))
        case _ForeignSiteError():
            return _error(403, "forbidden", str(error))
        case NotFoundError() | ObjectNotFoundError():
            return _error(404, "not_found", str(error))
        case BadRequestError():
            return _error(400, "illegal", str(error))
        case InvalidMediaError():
            return _error(415, "illegal", str(error))
        case CutError():
            return _error(422, "illegal", str(error))
        case PermanentError() if not isinstance(error, SettingsError):
            return _error(409, "failed", str(error))
        case _:
            # Wrong settings are the server's fault, and somebody may correct them: the page keeps what it wants to send.
            return _error(503, "unavailable", str(error), {"Retry-After": _RETRY_SECONDS})


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message, "code": code}, status_code=status, headers={**FRESH, **(headers or {})})


class _Closing(Response):
    """An answer given before the request's body has all come: the sender is told to stop.

    A connection that is closed while bytes wait in it is reset, and the reset can overtake the answer. So a little of the body is still
    taken after the answer went out; who sends on after that is cut off.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.body, answer.status_code, {**dict(answer.headers), "Connection": "close"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        taken, more = 0, True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while more and taken < _LINGER_BYTES:
                    message = await receive()
                    taken += len(message.get("body", b""))
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
