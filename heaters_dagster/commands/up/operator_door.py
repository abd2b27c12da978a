"""Checks every request to the Dagster UI, because everybody who reaches that UI can start, end and delete runs.

A stranger's web page that an operator has open can send requests to 127.0.0.1, and Dagster's own server answers any Host and any Origin
and changes things by GET. With these checks a request must use a name of this machine and, if it may change something, come from the UI's
own page.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import re
import secrets
import time
from urllib.parse import parse_qs

from itsdangerous import BadSignature, TimestampSigner
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.doors import has_another_origin, is_from_another_site, own_names, refusal_of_host
from heaters_dagster.settings import Settings, is_loopback
from resources.upkeep.readiness import LIVE_PATH, READY_PATH, Readiness

SIGN_IN_PATH = "/heaters/sign-in"
SIGN_OUT_PATH = "/heaters/sign-out"
COOKIE = "heaters_operator"
SIGNED_IN_SECONDS = 12 * 3600
_WRONG_TOKEN_SECONDS = 1.0
_MAX_FORM_BYTES = 4096
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
#: Added to Dagster's own policy, and to pages of its server that have none.
_NO_FRAMES = "frame-ancestors 'none'"
#: Dagster draws its page inside one element; this form stands beside that element and needs no script.
_SIGN_OUT_BUTTON = (
    f'<form method="post" action="{SIGN_OUT_PATH}" style="position:fixed;right:12px;bottom:12px;z-index:1;margin:0">'
    '<button style="font:12px system-ui;padding:4px 10px;cursor:pointer">Sign out</button></form>'
).encode()
_SIGN_IN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"


def check_reach(settings: Settings) -> None:
    """Raise SettingsError when other machines could reach the Dagster UI and nobody would have to sign in."""
    if settings.dagster_token is None and not is_loopback(settings.dagster_host):
        raise SettingsError(
            f"HEATERS_DAGSTER_HOST={settings.dagster_host} would let other machines reach the Dagster UI, where everybody can start, end "
            "and delete runs: set HEATERS_DAGSTER_TOKEN to a secret of 16 characters or more, or do not set HEATERS_DAGSTER_HOST"
        )


class OperatorDoor:
    """ASGI middleware around Dagster's server. With HEATERS_DAGSTER_TOKEN a person signs in once; a program sends the token as Bearer.

    Signing out removes the cookie and makes copies of it useless: the server remembers it until it would have expired.
    """

    def __init__(self, app: ASGIApp, settings: Settings, readiness: Readiness | None = None) -> None:
        """readiness: answers health checks, which are asked without a token. None: there are no such addresses."""
        self._app = app
        self._readiness = readiness
        self._names = own_names(settings.dagster_names, settings.dagster_url)
        self._token = settings.dagster_token
        self._signer = TimestampSigner(self._token, salt=COOKIE) if self._token else None
        # All ports of a host share their cookies: each Dagster UI there has one of its own.
        # Everybody may learn the name, so it must be slow to guess the token from it.
        self.cookie = f"{COOKIE}_{hashlib.scrypt((self._token or '').encode(), salt=COOKIE.encode(), n=2**14, r=8, p=1, dklen=6).hex()}"
        self._signed_out: dict[str, float] = {}  # cookie -> when, by time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                headers = MutableHeaders(scope=message)
                headers.append("Content-Security-Policy", _NO_FRAMES)
                headers["X-Frame-Options"] = "DENY"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refused(scope, headers)
        if refusal is None and self._readiness is not None and scope["path"] in {LIVE_PATH, READY_PATH} and scope["type"] == "http":
            refusal = await _health(self._readiness, scope["path"])
        elif refusal is None and self._token is not None:
            if _is_post(scope, SIGN_IN_PATH):
                refusal = await self._signed_in(scope, receive)
            elif _is_post(scope, SIGN_OUT_PATH):
                refusal = self._sign_out(headers)
            elif (cookie := self._good_cookie(headers)) is None and not self._is_program(headers):
                refusal = _ask_to_sign_in(scope, headers)
            elif cookie is not None and scope["type"] == "http" and scope["method"] == "GET" and _wants_page(headers):
                await self._app(scope, receive, _with_sign_out(send_with_headers))
                return
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of a request that is never allowed, signed in or not; None when it is allowed."""
        refusal = refusal_of_host(headers.getlist("host"), self._names, setting="HEATERS_DAGSTER_NAMES")
        if refusal is not None:
            return PlainTextResponse(refusal[1], status_code=refusal[0])
        if scope["type"] == "websocket":
            return _from_another_site() if has_another_origin(headers) else None
        method, is_graphql = scope["method"], scope["path"].rstrip("/") == "/graphql"
        if method not in _SAFE_METHODS:
            if is_from_another_site(headers):
                return _from_another_site()
            if is_graphql and not headers.get("content-type", "").startswith(("application/json", "application/graphql")):
                return PlainTextResponse("Send the query as JSON in the body.\n", status_code=415)
            return None
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not _is_link(headers):
            return _from_another_site()
        if is_graphql and not _wants_page(headers):
            return PlainTextResponse(
                "Send the query by POST: GET requests may not change anything.\n", status_code=405, headers={"Allow": "POST"}
            )
        return None

    def _is_program(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._is_token(given.strip())

    def _good_cookie(self, headers: Headers) -> str | None:
        for cookie in headers.get("cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == self.cookie and self._signer is not None and value not in self._signed_out:
                try:
                    self._signer.unsign(value, max_age=SIGNED_IN_SECONDS)
                except BadSignature:  # SignatureExpired is one
                    continue
                return value
        return None

    def _sign_out(self, headers: Headers) -> Response:
        """The answer to the button, also for somebody who is already signed out."""
        now = time.monotonic()
        self._signed_out = {value: since for value, since in self._signed_out.items() if now - since < SIGNED_IN_SECONDS}
        if (cookie := self._good_cookie(headers)) is not None:
            self._signed_out[cookie] = now
        answer = _sign_in_page("/", told="You are signed out.", status_code=200)
        answer.delete_cookie(self.cookie, path="/", httponly=True, samesite="strict")
        return answer

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    async def _signed_in(self, scope: Scope, receive: Receive) -> Response:
        """The answer to the sign-in form."""
        body = b""
        async for piece in Request(scope, receive).stream():
            body += piece
            if len(body) > _MAX_FORM_BYTES:
                return PlainTextResponse("This form is too long.\n", status_code=413)
        form = parse_qs(body.decode("ascii", errors="replace"))
        onward = form.get("next", ["/"])[0]
        onward = onward if _OWN_PATH.fullmatch(onward) else "/"
        if not self._is_token(form.get("token", [""])[0]):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            return _sign_in_page(onward, told="That is not the token.")
        assert self._signer is not None
        answer = RedirectResponse(onward, status_code=303)
        answer.set_cookie(
            self.cookie,
            self._signer.sign(secrets.token_urlsafe(9)).decode(),
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
            path="/",
        )
        return answer


async def _health(readiness: Readiness, path: str) -> Response:
    if path == READY_PATH:
        status, body = await run_in_threadpool(readiness.answer, path)
    else:
        status, body = readiness.answer(path)
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


def _is_link(headers: Headers) -> bool:
    """Whether a person has opened the page itself, for example by a link, and not a frame in another page."""
    return bool(headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document")


def _wants_page(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _is_post(scope: Scope, path: str) -> bool:
    return scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", path)


def _with_sign_out(send: Send) -> Send:
    """`send`, which adds the button to whole pages."""
    held: list[Message] = []

    async def send_page(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                held.append(message)
                return
        if not held:
            await send(message)
            return
        held.append(message)
        if message.get("more_body"):
            return
        start, body = held[0], b"".join(one.get("body", b"") for one in held[1:])
        held.clear()
        body = body.replace(b"</body>", _SIGN_OUT_BUTTON + b"</body>")
        MutableHeaders(scope=start)["content-length"] = str(len(body))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return send_page


def _from_another_site() -> Response:
    return PlainTextResponse("The Dagster UI takes requests from its own page only.\n", status_code=403)


def _ask_to_sign_in(scope: Scope, headers: Headers) -> Response:
    if scope["type"] == "http" and scope["method"] in _SAFE_METHODS and _wants_page(headers):
        query = scope["query_string"].decode("ascii", errors="replace")
        asked = scope["path"] + (f"?{query}" if query else "")
        return _sign_in_page(asked if _OWN_PATH.fullmatch(asked) and scope["path"] not in {SIGN_IN_PATH, SIGN_OUT_PATH} else "/")
    words = "Sign in at the Dagster UI, or send the token as: Authorization: Bearer TOKEN\n"
    return PlainTextResponse(words, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _sign_in_page(onward: str, *, told: str = "", status_code: int = 401) -> Response:
    told = f"<p role=alert>{html.escape(told)}</p>" if told else ""
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Heaters: sign in</title>
<style>body{{font:16px system-ui;max-width:24rem;margin:20vh auto;padding:0 1rem}} input,button{{font:inherit;padding:.5rem;width:100%;
box-sizing:border-box;margin:.5rem 0}}</style></head>
<body><h1>Dagster UI of Heaters</h1>{told}
<form method="post" action="{SIGN_IN_PATH}"><input type="hidden" name="next" value="{html.escape(onward)}">
<label>Token (HEATERS_DAGSTER_TOKEN)<input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Sign in</button></form></body></html>""",
        status_code=status_code,
        headers={"Content-Security-Policy": _SIGN_IN_POLICY, "Cache-Control": "no-store"},
    )
