"""yt-dlp with an AddressGuard for every connection. Import it where it is used, because importing yt-dlp takes long.

All requests of extractors and of the native downloaders, each redirect and each segment of a stream among them, go through one request
handler; those for sites that let in browsers only through a second one (`browser_connections.py`). It checks the name before it connects,
and the address it is connected to before it sends a byte, so a name that resolves differently the second time does not help an attacker.
yt-dlp gets no ffmpeg that could open addresses by itself, and its JavaScript runtime may open none.
"""

from __future__ import annotations

import copy
import functools
import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from yt_dlp import YoutubeDL
from yt_dlp.downloader import get_suitable_downloader
from yt_dlp.networking._requests import RequestsHTTPAdapter, RequestsRH
from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.utils.networking import select_proxy

from heaters_dagster.domain.errors import ForbiddenSourceError, HeatersError
from heaters_dagster.domain.ingest import web_host
from resources.sources import javascript_solver, ytdlp_plugins
from resources.sources.address_guard import AddressGuard
from resources.sources.cookies import lines_of
from resources.sources.fetched import file_sha256
from resources.sources.resumable_streams import resumable
from resources.sources.same_bytes import whole
from resources.sources.site_access import NO_SITES, Sites
from resources.sources.web_traffic import WebTraffic
from resources.sources.written_hash import WrittenHash

#: Downloaders that send all their requests through the request handler.
_ASK_AS_A_BROWSER = "generic:impersonate"  # in the message of yt-dlp's extractor for pages of no known site
_NATIVE_DOWNLOADERS = frozenset({"HttpFD", "HlsFD", "DashSegmentsFD", "IsmFD"})


class GuardedYoutubeDL(YoutubeDL):  # type: ignore[misc]
    """`YoutubeDL` with the guard; downloads by http(s), HLS, DASH and Smooth Streaming only.

    traffic: gets every request. folder: where the JavaScript runtime may work; None: the folder for temporary files. sites: what is stored
    for web sites. plugins: the folder with yt-dlp's plug-ins; None: there are none.
    """

    def __init__(
        self,
        params: dict[str, Any],
        guard: AddressGuard,
        *,
        traffic: WebTraffic | None = None,
        folder: Path | None = None,
        sites: Sites = NO_SITES,
        plugins: Path | None = None,
    ) -> None:
        self._guard = _RememberingGuard(guard)
        self._traffic = traffic or WebTraffic(longest_wait_seconds=0, tries=0)
        self._sites = sites
        self._hashes: dict[Path, WrittenHash] = {}
        javascript_solver.use_only_ours()
        ytdlp_plugins.use_plugins(plugins)
        super().__init__(params | javascript_solver.parameters(folder))
        sites.fill(self.cookiejar)
        self._given = lines_of(self.cookiejar)

    @property
    def refusal(self) -> ForbiddenSourceError | None:
        """The first address that the guard refused. yt-dlp treats a refusal like a bad connection and may not report it."""
        return self._guard.refusal

    def is_signed_in(self, address: str) -> bool:
        return self._sites.is_signed_in(address)

    def build_request_director(self, handlers: object, preferences: Any = None) -> Any:
        return self._director(self._guard, preferences)

    def _director(self, guard: AddressGuard, preferences: Any = None) -> Any:
        kinds = [_GuardedRequestsRH, *filter(None, [_browser_handler()])]
        handlers = [functools.partial(kind, guard=guard, traffic=self._traffic, sites=self._sites) for kind in kinds]
        return super().build_request_director(handlers, preferences)

    def extract_info(self, *arguments: Any, **options: Any) -> Any:
        """As yt-dlp does it; a page that lets in browsers only is asked for once more, as a browser asks."""
        try:
            found = super().extract_info(*arguments, **options)
            self._keep_renewed_cookies()  # before a long download, which may be killed
            return found
        except Exception:
            log = self.params.get("logger")
            errors = log.errors if isinstance(log, QuietLog) else []
            if _browser_handler() is None or not any(_ASK_AS_A_BROWSER in one for one in errors):
                raise
            errors.clear()
        self.params["extractor_args"] = {**self.params.get("extractor_args", {}), "generic": {"impersonate": [""]}}
        return super().extract_info(*arguments, **options)

    @functools.cached_property
    def _provider_director(self) -> Any:
        """For the requests of a provider of PO tokens, an operator's own program. Its connections are never those of other requests."""
        return self._director(AddressGuard(allow_private=True))

    def urlopen(self, req: Any) -> Any:
        return self._provider_director.send(req) if ytdlp_plugins.is_asked_by_provider() else super().urlopen(req)

    def _keep_renewed_cookies(self) -> None:
        self._given = self._sites.take_back(self.cookiejar, self._given)

    def close(self) -> None:
        self._keep_renewed_cookies()
        if "_provider_director" in self.__dict__:
            self._provider_director.close()
        super().close()

    def dl(self, name: str, info: dict[str, Any], subtitle: bool = False, test: bool = False) -> Any:
        if not info.get("url"):
            self.raise_no_formats(info, True)
        if "impersonate" in self.params.get("extractor_args", {}).get("generic", {}):
            info = {"impersonate": "", **info}
        downloader = get_suitable_downloader(info, self.params)
        if downloader is None or downloader.__name__ not in _NATIVE_DOWNLOADERS:
            raise ForbiddenSourceError(f"{info.get('protocol')} downloads are not supported; https, http, HLS and DASH are")
        # HlsFD looks for an ffmpeg without our parameters, and would run one from the PATH.
        token = FFmpegPostProcessor._ffmpeg_location.set(self.params.get("ffmpeg_location"))
        try:
            written = self._hashes.setdefault(Path(name), WrittenHash())
            return resumable(downloader)(self, self.params).start(name, info, written, subtitle)
        finally:
            FFmpegPostProcessor._ffmpeg_location.reset(token)

    def sha256(self, path: Path) -> str:
        """Hex, of the bytes of a file that `dl` has downloaded. It is read only when another process has written it."""
        written = self._hashes.get(path)
        return (written.of(path) if written is not None else None) or file_sha256(path)


class QuietLog:
    """Prints nothing of what yt-dlp says. Its errors and warnings are kept, because the exceptions that it raises later say less."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str, *, once: bool = False, only_once: bool = False) -> None:
        self.warnings.append(message)

    def error(self, message: str) -> None:
        if message.strip():
            self.errors.append(message)


def solver_told() -> str:
    """A sentence that yt-dlp can solve YouTube's challenges here, and with which runtime; nothing is fetched.

    Raises PermanentError when it cannot.
    """
    with GuardedYoutubeDL({"quiet": True, "cachedir": False, "logger": QuietLog()}, AddressGuard()) as session:
        runtime = javascript_solver.check_solver(session)
    return f"the solver of YouTube's challenges works (Deno {runtime.version}, {runtime.path})"


class _RememberingGuard(AddressGuard):
    def __init__(self, guard: AddressGuard) -> None:
        super().__init__(allow_private=guard.allow_private)
        self._guard = guard
        self.refusal: ForbiddenSourceError | None = None

    def check_host(self, host: str) -> None:
        with self._remembered():
            self._guard.check_host(host)

    def check_address(self, address: str, *, host: str) -> None:
        with self._remembered():
            self._guard.check_address(address, host=host)

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except ForbiddenSourceError as error:
            self.refusal = self.refusal or error
            raise


class _Watched:
    """Of a request handler: tells the traffic of each answer, and gives yt-dlp a refusal as an error that it understands."""

    def __init__(self, *, guard: AddressGuard, traffic: WebTraffic, sites: Sites, **options: Any) -> None:
        self._guard = guard
        self._traffic = traffic
        self._sites = sites
        super().__init__(**options)

    def _send(self, request: Any) -> Any:
        same_bytes = self._traffic.same_bytes
        for tried in itertools.count():
            try:
                response = super()._send(same_bytes.conditional(request))  # type: ignore[misc]
                is_usable = same_bytes.accepts(request, response)
            except HeatersError as error:
                raise RequestError(str(error), cause=error) from error
            except HTTPError as error:
                if same_bytes.begins_anew(request, error):
                    error.close()
                    request = whole(request)
                elif not self._traffic.refused(request.url, error, tried=tried):
                    raise
            else:
                if is_usable:
                    self._traffic.answered(request.url, response)
                    return response
                response.close()
                request = whole(request)
        return None


class _GuardedRequestsRH(_Watched, RequestsRH):  # type: ignore[misc]
    def _create_instance(self, *arguments: Any, **options: Any) -> Any:
        session = super()._create_instance(*arguments, **options)
        adapter = _GuardedAdapter(
            guard=self._guard,
            sites=self._sites,
            ssl_context=self._make_sslcontext(legacy_ssl_support=options.get("legacy_ssl_support")),
            max_retries=urllib3.util.retry.Retry(False),
        )
        for prefix in list(session.adapters):
            session.mount(prefix, adapter)
        return session


@functools.cache
def _browser_handler() -> type | None:
    """For requests that look like a browser's. None where curl-cffi is not installed, or not in a version that yt-dlp knows."""
    try:
        from resources.sources.browser_connections import BrowserRH
    except ImportError:
        return None
    return type("_GuardedBrowserRH", (_Watched, BrowserRH), {})


class _GuardedAdapter(RequestsHTTPAdapter):  # type: ignore[misc]
    """Every step of a redirect comes through `send`. When a proxy connects, only the name can be checked here.

    The headers and the proxy of a site are chosen here too, so that a redirect to another site takes none of them along.
    """

    def __init__(self, *, guard: AddressGuard, sites: Sites, **options: Any) -> None:
        self._guard = guard
        self._sites = sites
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool_class(urllib3.HTTPConnectionPool, _GuardedHTTPConnection, self._guard),
            "https": _pool_class(urllib3.HTTPSConnectionPool, _GuardedHTTPSConnection, self._guard),
        }

    def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
        if proxy := self._sites.proxy_for(request.url):
            options["proxies"] = {"all": proxy}
        if headers := self._sites.headers_for(request.url):
            request = copy.copy(request)  # requests makes the next step of a redirect from the one that it holds
            request.headers = CaseInsensitiveDict({**request.headers, **headers})
        if select_proxy(request.url, options.get("proxies") or {}):
            self._guard.check_host(web_host(request.url) or "")
        return super().send(request, *arguments, **options)


def _pool_class(pool: type, connection: type, guard: AddressGuard) -> type:
    return type(f"Guarded{pool.__name__}", (pool,), {"ConnectionCls": type(connection.__name__, (connection,), {"guard": guard})})


class _GuardedHTTPConnection(HTTPConnection):
    guard: AddressGuard

    def _new_conn(self) -> socket.socket:
        self.guard.check_host(self.host)
        connected = super()._new_conn()
        try:
            self.guard.check_address(str(connected.getpeername()[0]), host=self.host)
        except BaseException:
            connected.close()
            raise
        return connected


class _GuardedHTTPSConnection(_GuardedHTTPConnection, HTTPSConnection):
    pass
