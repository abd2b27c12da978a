"""Connections that look like a browser's, for sites that let nobody else in: curl-cffi, under the same address guard.

curl looks names up and follows redirects by itself, so it could be led to an internal address. Here it is given the addresses of the name,
which were checked, and connects to these only; it follows no redirect: each step is checked and asked for as a request of its own. By a
proxy only the name can be checked, as in all other connections. Where curl-cffi is not installed this module cannot be imported.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from curl_cffi.const import CurlECode, CurlOpt
from curl_cffi.requests import Session
from curl_cffi.requests.errors import RequestsError
from yt_dlp.networking._curlcffi import CurlCFFIRH
from yt_dlp.utils.networking import select_proxy

from heaters_dagster.domain.ingest import web_host
from resources.sources.address_guard import AddressGuard
from resources.sources.site_access import Sites

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Of another site these must not be told.
_OF_ONE_SITE = frozenset({"authorization", "cookie"})


class BrowserRH(CurlCFFIRH):  # type: ignore[misc]
    """yt-dlp's handler for requests that ask to be imitated, with guarded sessions. Other requests do not come here."""

    _guard: AddressGuard
    _sites: Sites

    def _create_instance(self, cookiejar: Any = None) -> Any:
        return _GuardedSession(self._guard, self._sites, proxies=self.proxies, cookies=cookiejar)

    def _get_proxies(self, request: Any) -> dict[str, str]:
        return {}  # the session chooses the proxy of each step


class _GuardedSession(Session):  # type: ignore[misc]
    def __init__(self, guard: AddressGuard, sites: Sites, *, proxies: Mapping[str, str], cookies: Any) -> None:
        self._guard = guard
        self._sites = sites
        self._plain_proxies = dict(proxies)
        super().__init__(cookies=cookies, trust_env=False)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], data: Any = None, max_redirects: int = 5, **options: Any
    ) -> Any:
        sent = dict(headers)
        for _ in range(max_redirects + 1):
            proxy = self._sites.proxy_for(url) or select_proxy(url, self._plain_proxies)
            self.curl_options = self._ways(url, proxy)
            extra = self._sites.headers_for(url)
            kept = {name: value for name, value in sent.items() if name.lower() not in {one.lower() for one in extra}}
            answer = super().request(method, url, headers={**kept, **extra}, data=data, allow_redirects=False, **options)
            target = answer.headers.get("Location")
            if answer.status_code not in _REDIRECTS or not target:
                return answer
            answer.close()
            following = urljoin(url, target)
            if urlsplit(following).scheme not in _PORTS:
                raise RequestsError(f"it redirects to {following}, which is no web address", CurlECode.UNSUPPORTED_PROTOCOL, answer)
            if answer.status_code == 303 or (answer.status_code in {301, 302} and method == "POST"):
                method, data = "GET", None
            if web_host(following) != web_host(url):
                sent = {name: value for name, value in sent.items() if name.lower() not in _OF_ONE_SITE}
            url = following
        raise RequestsError("too many redirects", CurlECode.TOO_MANY_REDIRECTS, answer)

    def _ways(self, url: str, proxy: str | None) -> dict[CurlOpt, Any]:
        """Options that leave curl no choice: the checked addresses of the host and nothing of the environment."""
        host = web_host(url) or ""
        options: dict[CurlOpt, Any] = {CurlOpt.PROTOCOLS_STR: b"http,https", CurlOpt.PROXY: (proxy or "").encode(), CurlOpt.NOPROXY: b""}
        if proxy is not None:
            self._guard.check_host(host)
            return options
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RequestsError(f"the name {host} cannot be looked up", CurlECode.COULDNT_RESOLVE_HOST) from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        for address in addresses:
            self._guard.check_address(address, host=host)
        port = urlsplit(url).port or _PORTS[urlsplit(url).scheme]
        pinned = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return {**options, CurlOpt.RESOLVE: [f"{host}:{port}:{pinned}"]}
