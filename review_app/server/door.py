"""The checks before every request: the host name that it uses, and the headers that protect the page from other sites.

A web page of a stranger can make its own host name mean 127.0.0.1 and so ask this server as if it were its own (DNS rebinding); such a
request names the stranger's host. Names that are no IP address, not localhost and not this machine's own must be told in the settings:
in HEATERS_REVIEW_NAMES, or as the host of HEATERS_REVIEW_URL.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.doors import own_names, refusal_of_host
from heaters_dagster.settings import Settings
from resources.object_store.cdn import cdn_address
from review_app.player.component import KEPT_PATH
from review_app.service.incoming import checked_address


class Door:
    """ASGI middleware: refuses malformed addresses with 400 and foreign names with 421, and adds security headers to every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = own_names(settings.review_names, settings.shared_review_url)
        self._media_origins = " ".join(media_origins(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        refusal = refusal_of_host(hosts, self._names, setting="HEATERS_REVIEW_NAMES")
        if refusal is not None:
            await PlainTextResponse(refusal[1], status_code=refusal[0])(scope, receive, send)
            return
        host = hosts[0]
        try:
            checked_address(scope)
        except BadRequestError as error:
            await PlainTextResponse(f"Bad request: {error}.\n", status_code=400)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] == HTTPStatus.OK and scope["path"].startswith(KEPT_PATH):
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                headers.setdefault("Content-Security-Policy", self._policy(host))
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _policy(self, host: str) -> str:
        """The page loads only from this server and from the places of the media; no other site may show it in a frame.

        Streamlit's page has inline scripts and styles and imports components from blob addresses.
        """
        media = self._media_origins
        return "; ".join(
            [
                "default-src 'self'",
                "script-src 'self' 'unsafe-inline' blob:",
                "style-src 'self' 'unsafe-inline'",
                "font-src 'self' data:",
                f"img-src 'self' data: blob: {media}",
                f"media-src 'self' blob: {media}",
                f"connect-src 'self' ws://{host} wss://{host} data: blob: {media}",
                "worker-src 'self' blob:",
                "object-src 'none'",
                "base-uri 'self'",
                "form-action 'self'",
                "frame-ancestors 'self'",
            ]
        )


def media_origins(settings: Settings) -> list[str]:
    """Where signed media links lead besides this server: the CDN and the bucket, none for the local folder."""
    if settings.object_bucket is None:
        return []
    origins = [cdn_address(settings.cdn_domain)] if settings.cdn_domain else []
    if server := settings.s3_browser_url or settings.s3_endpoint_url:
        parts = urlsplit(server)
        return [*origins, f"{parts.scheme}://{parts.netloc}", f"{parts.scheme}://{settings.object_bucket}.{parts.netloc}"]
    return [*origins, "https://*.amazonaws.com", "https://*.amazonaws.com.cn"]
