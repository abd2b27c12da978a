"""Downloads with what is stored for a site: it reaches that site, and nothing and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from yt_dlp.extractor.youtube.pot.provider import PoTokenContext, PoTokenRequest
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.networking.impersonate import ImpersonateTarget

from heaters_dagster.domain.errors import DownloadError, ForbiddenSourceError, SettingsError, SourceNotFoundError
from heaters_dagster.domain.site_access import SitePart
from resources.sources import ytdlp_plugins
from resources.sources.address_guard import AddressGuard
from resources.sources.guarded_ytdlp import GuardedYoutubeDL, QuietLog
from resources.sources.site_access import SiteAccess, Sites
from resources.sources.web_list import read_list
from tests.media_files import barcode_video
from tests.web_server import Answer, Handler, WebServer, downloader, file, redirect, status

COOKIE, HEADER, PASSWORD = "M4rkedCookie", "M4rkedHeader", "M4rkedPassword"
HERE = Sites(
    cookies={"127.0.0.1": f"127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{COOKIE}\n"},
    headers={"127.0.0.1": {"X-Api-Key": HEADER, "User-Agent": "Ours"}}
)  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=12).read_bytes()


@pytest.fixture
def web(tmp_path) -> Iterator[WebServer]:
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").running() as server:
        yield server


def watched(answer: Answer, seen: list[dict[str, str]]) -> Answer:
    def watch(handler: Handler) -> None:
        seen.append(dict(handler.headers))
        answer(handler)

    return watch


def only_signed_in(data: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        is_in = f"session={COOKIE}" in (handler.headers["Cookie"] or "") and handler.headers["X-Api-Key"] == HEADER
        (file(data, "video/mp4") if is_in else status(403))(handler)

    return answer


def test_a_site_that_asks_for_a_sign_in_gets_it_and_its_redirect_to_another_site_does_not(web, folder, clip):
    seen: list[dict[str, str]] = []
    elsewhere = f"http://localhost:{web.url.rpartition(':')[2]}"
    web.answers["/film.mp4"] = only_signed_in(clip)
    web.answers["/away.mp4"] = watched(redirect(f"{elsewhere}/public.mp4"), seen)
    web.answers["/public.mp4"] = watched(file(clip, "video/mp4"), seen)
    fetched = downloader(sites=lambda: HERE).fetch(f"{web.url}/film.mp4", folder)
    assert fetched.path.read_bytes() == clip
    (folder / "second").mkdir()
    assert downloader(sites=lambda: HERE).fetch(f"{web.url}/away.mp4", folder / "second").path.read_bytes() == clip
    ours = [headers for headers in seen if headers["Host"].startswith("127.")]
    others = [headers for headers in seen if headers["Host"].startswith("localhost")]
    assert ours
    assert others
    assert all((COOKIE in one["Cookie"], one["X-Api-Key"], one["User-Agent"]) == (True, HEADER, "Ours") for one in ours)
    assert not [one for one in others if {COOKIE, HEADER, "Ours"} & set(" ".join(one.values()).replace("=", " ").split())]


def test_a_refusal_tells_whether_somebody_is_signed_in_and_no_value(web, folder):
    web.answers["/film.mp4"] = status(403)
    with pytest.raises(SourceNotFoundError, match=r"the server answers 403; it may need a sign-in \(heaters sites sign-in\)"):
        downloader().fetch(f"{web.url}/film.mp4", folder)
    (folder / "second").mkdir()
    with pytest.raises(SourceNotFoundError, match=r"403; the sign-in that is stored for it may have ended \(heaters sites sign-in\)"):
        downloader(sites=lambda: HERE).fetch(f"{web.url}/film.mp4", folder / "second")
    broken = Sites(unreadable={"127.0.0.1": "it was stored with another secret key"})
    with pytest.raises(SettingsError, match=r"^what is stored for 127\.0\.0\.1 cannot be read here"):
        downloader(sites=lambda: broken).fetch(f"{web.url}/film.mp4", folder)


def test_a_proxy_fetches_for_its_site_only_and_internal_addresses_stay_refused(web, folder, clip):
    """The server stands for a proxy: those are asked for whole addresses."""
    web.answers["http://films.test/a.mp4"] = file(clip, "video/mp4")
    sites = Sites(proxies={"films.test": web.url.replace("://", f"://ada:{PASSWORD}@"), "10.0.0.7": web.url})
    guarded = {"guard": AddressGuard(), "sites": lambda: sites}
    assert downloader(**guarded).fetch("http://films.test/a.mp4", folder).path.read_bytes() == clip
    assert set(web.requests) == {"http://films.test/a.mp4"}
    web.requests.clear()
    for address in ("http://10.0.0.7/a.mp4", f"{web.url}/a.mp4"):
        (folder / address[-20:-6].replace("/", "_")).mkdir()
        with pytest.raises(ForbiddenSourceError, match=r"may not be fetched: it leads to (10\.0\.0\.7|127\.0\.0\.1)"):
            downloader(**guarded).fetch(address, folder / address[-20:-6].replace("/", "_"))
    assert web.requests == []


def test_a_proxy_that_is_not_there_is_told_without_its_password(folder):
    sites = Sites(proxies={"films.test": f"http://ada:{PASSWORD}@127.0.0.1:9"})
    with pytest.raises(DownloadError) as told:
        downloader(sites=lambda: sites, retries=0).fetch("http://films.test/a.mp4", folder)
    chain, error = "", told.value
    while error is not None:
        chain, error = chain + str(error), error.__cause__ or error.__context__
    assert PASSWORD not in chain


PROVIDER = """
from pathlib import Path
from yt_dlp.extractor.youtube.pot.provider import PoTokenProvider, PoTokenResponse, register_provider
from yt_dlp.networking import Request

@register_provider
class HeatersTestPTP(PoTokenProvider):
    _SUPPORTED_CONTEXTS = _SUPPORTED_CLIENTS = None
    _SUPPORTED_EXTERNAL_REQUEST_FEATURES = None

    def is_available(self):
        return True

    def _real_request_pot(self, request):
        server = Path(__file__).with_name("server.txt").read_text()
        return PoTokenResponse(self._request_webpage(Request(server + "/token"), request).read().decode())
"""
EXTRACTOR = """
from yt_dlp.extractor.common import InfoExtractor

class HeatersTestIE(InfoExtractor):
    _VALID_URL = r"(?P<server>http://127[.]0[.]0[.]1:[0-9]+)/watch/(?P<id>[a-z]+)"

    def _real_extract(self, url):
        server, name = self._match_valid_url(url).group("server", "id")
        if name == "members":
            self.raise_login_required()
        if name == "browsers":
            self._download_webpage(server + "/forbidden", name, impersonate=True)
        self.report_warning("Some web client https formats have been skipped as they are missing a URL. It is forcing SABR streaming")
        return {"id": name, "title": name, "url": server + "/a.mp4", "ext": "mp4", "height": 120}
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Path:
    """A folder of plug-ins, laid out as for yt-dlp's --plugin-dirs; one of them is broken. A process loads it once."""
    folder = tmp_path_factory.mktemp("plugins")
    place = folder / "ours" / "yt_dlp_plugins" / "extractor"
    place.mkdir(parents=True)
    (place / "getpot_test.py").write_text(PROVIDER)
    (place / "heaters_test.py").write_text(EXTRACTOR)
    (place / "broken.py").write_text("import no_such_module")
    return folder


def session(**options) -> GuardedYoutubeDL:
    return GuardedYoutubeDL({"quiet": True, "cachedir": False, "logger": QuietLog()}, AddressGuard(), **options)


def token(one: GuardedYoutubeDL) -> str | None:
    youtube = one.get_info_extractor("Youtube")
    youtube.initialize()
    asked = PoTokenRequest(PoTokenContext.GVS, innertube_context={"client": {"clientName": "WEB"}}, visitor_data="v", bypass_cache=True)
    answer: str | None = youtube._pot_director.get_po_token(asked)
    return answer


def test_plugins_are_those_of_one_folder_and_its_provider_may_ask_its_own_server(web, plugins, tmp_path, monkeypatch):
    """The guard is on: what a person submits may not lead to this machine, but the provider's requests do."""
    web.answers["/token"] = file(b"dG9rZW4=", "text/plain")
    (plugins / "ours" / "yt_dlp_plugins" / "extractor" / "server.txt").write_text(web.url)
    lured = tmp_path / "on the path" / "yt_dlp_plugins" / "extractor"
    lured.mkdir(parents=True)
    (lured / "lure.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path / "on the path"))
    with session() as without:
        assert token(without) is None
    with session(plugins=plugins) as one:
        assert token(one) == "dG9rZW4="
        with pytest.raises(Exception, match="it leads to 127"):
            one.urlopen(f"{web.url}/token")
    assert web.requests == ["/token"]
    assert not (tmp_path / "ran").exists()
    assert ytdlp_plugins.loaded(plugins) == ["getpot_test", "heaters_test"]
    (problem,) = ytdlp_plugins.problems(plugins)
    assert "broken" in problem
    assert problem.endswith("No module named 'no_such_module'")
    with pytest.raises(SettingsError, match=r"HEATERS_YTDLP_PLUGINS=\S+ is not a folder"), session(plugins=tmp_path / "none"):
        pass


def test_what_a_site_says_is_told_with_what_to_do(web, plugins, folder, clip):
    is_there = find_spec("curl_cffi") is not None
    web.answers["/a.mp4"], web.answers["/forbidden"] = file(clip, "video/mp4"), status(403)
    fetched = downloader(plugins=plugins).fetch(f"{web.url}/watch/low", folder)
    low = [one for one in fetched.warnings if one.startswith("the site may have better pictures than it offered (at most 120p): ")]
    assert "A provider of PO tokens may help (HEATERS_YTDLP_PLUGINS)" in low[0]

    for number, (page, sites, words) in enumerate((
        ("members", Sites(), r"the site asks for a sign-in\. Store the cookies of somebody who may see it \(heaters sites sign-in\)"),
        ("members", HERE, "the site asks for a sign-in, although one is stored for it: it may have ended"),
        ("browsers", Sites(), "the server answers 403" if is_there else "lets in browsers only.*curl-cffi.* is not installed here"),
    )):  # fmt: skip
        (folder / str(number)).mkdir()
        with pytest.raises(SourceNotFoundError, match=words):
            downloader(plugins=plugins, sites=lambda sites=sites: sites).fetch(f"{web.url}/watch/{page}", folder / str(number))
    with pytest.raises(SourceNotFoundError, match="the site asks for a sign-in, although one is stored for it"):
        read_list(f"{web.url}/watch/members", guard=AddressGuard(allow_private=True), sites=HERE, plugins=plugins)


def only_browsers(data: bytes) -> Answer:
    """As a site behind Cloudflare: who does not connect as a browser gets a challenge."""

    def answer(handler: Handler) -> None:
        (file(data, "video/mp4") if handler.headers["Sec-Ch-Ua"] else status(403, {"cf-mitigated": "challenge"}))(handler)

    return answer


def as_browser(address: str) -> Request:
    return Request(address, extensions={"impersonate": ImpersonateTarget("chrome")})


class OnlyByNumber(AddressGuard):
    """Here the server may be reached by its number, and by no name."""

    def check_address(self, address: str, *, host: str) -> None:
        if host != "127.0.0.1":
            super().check_address(address, host=host)


def test_a_site_for_browsers_only_is_asked_as_a_browser_asks_or_says_what_is_missing(web, folder, clip):
    web.answers["/a.mp4"] = only_browsers(clip)
    if find_spec("curl_cffi") is None:
        with pytest.raises(
            SourceNotFoundError, match=r"the site lets in browsers only.*curl-cffi.* is not installed here: type make install"
        ):
            downloader().fetch(f"{web.url}/a.mp4", folder)
        return
    assert downloader().fetch(f"{web.url}/a.mp4", folder).path.read_bytes() == clip


def test_a_connection_like_a_browsers_passes_the_same_guard(web, monkeypatch):
    port = web.url.rpartition(":")[2]
    seen: list[dict[str, str]] = []
    web.answers["/away"] = watched(redirect(f"http://localhost:{port}/public"), seen)
    web.answers["/file"] = redirect("file:///etc/passwd")
    web.answers["/public"] = watched(file(b"public", "text/plain"), seen)
    web.answers["http://films.test/a"] = file(b"by the proxy", "text/plain")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost,pinned.test,10.0.0.7")
    sites = Sites(cookies=HERE.cookies, headers=HERE.headers, proxies={"films.test": web.url, "10.0.0.7": web.url})
    parameters = {"quiet": True, "cachedir": False, "logger": QuietLog(), "socket_timeout": 5}
    if find_spec("curl_cffi") is None:
        with GuardedYoutubeDL(parameters, AddressGuard(allow_private=True)) as without, pytest.raises(RequestError, match="impersonat"):
            without.urlopen(as_browser(f"{web.url}/public"))
        assert web.requests == []
        return
    with GuardedYoutubeDL(parameters, AddressGuard(), sites=sites) as one:
        for address in (f"{web.url}/public", f"http://localhost:{port}/public", "http://10.0.0.7/a", "http://[::1]/"):
            with pytest.raises(RequestError, match="may not be fetched: it leads to"):
                one.urlopen(as_browser(address))
        assert web.requests == []
        assert one.urlopen(as_browser("http://films.test/a")).read() == b"by the proxy"
    with GuardedYoutubeDL(parameters, OnlyByNumber(), sites=sites) as one:
        with pytest.raises(RequestError, match="localhost may not be fetched: it leads to"):
            one.urlopen(as_browser(f"{web.url}/away"))
        with pytest.raises(RequestError, match="which is no web address"):
            one.urlopen(as_browser(f"{web.url}/file"))
    assert "/public" not in web.requests
    kept: list[str] = []
    keeping = replace(sites, keep=lambda site, lines: kept.extend(lines))
    with GuardedYoutubeDL(parameters, AddressGuard(allow_private=True), sites=keeping) as one:
        assert one.urlopen(as_browser(f"{web.url}/away")).read() == b"public"
        ours, others = seen[-2:]
        assert (COOKIE in ours["Cookie"], ours["X-Api-Key"]) == (True, HEADER)
        assert not {COOKIE, HEADER} & set(" ".join(others.values()).replace("=", " ").split())
        # curl looks no name up: it connects to the addresses that were found and checked here.
        plain = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *more, **by: plain("127.0.0.1" if host == "pinned.test" else host, *more, **by)
        )
        assert one.urlopen(as_browser(f"http://pinned.test:{port}/public")).read() == b"public"
        web.answers["/renewed"] = status(200, {"Set-Cookie": "session=Renewed; Path=/"})
        one.urlopen(as_browser(f"{web.url}/renewed"))
    assert [line.rpartition("\t")[2] for line in kept] == ["Renewed"]


def test_cookies_that_a_site_renews_are_stored_in_place_of_the_old_ones(web, folder, clip, database, settings):
    access = SiteAccess(database, replace(settings, secret_key="that of every machine"))
    access.sign_in("127.0.0.1", f"{HERE.cookies['127.0.0.1']}127.0.0.1\tFALSE\t/\tFALSE\t0\tlang\ten\n", by="Ada")
    seen: list[tuple[str, str]] = []

    def stored() -> dict[str, str]:
        lines = access.load().cookies["127.0.0.1"].splitlines()
        return {name: value for *_, name, value in (one.split("\t") for one in lines)}

    def film(handler: Handler) -> None:
        seen.append((handler.headers["Cookie"], stored()["session"]))
        file(clip, "video/mp4", {"Set-Cookie": f"session=Renewed{len(seen)}; Path=/; Max-Age=86400"})(handler)

    web.answers["/film.mp4"] = film
    fetch = downloader(sites=access.load).fetch
    assert fetch(f"{web.url}/film.mp4", folder).path.read_bytes() == clip
    assert [("session=" + one[1] in one[0]) for one in seen] == [True] * len(seen), "also while it is fetched, which may be killed"
    assert stored() == {"session": f"Renewed{len(seen)}", "lang": "en"}
    (one,) = access.listed()
    assert (one.changed_by, one.parts[SitePart.COOKIES], one.ends_at is not None) == ("Ada", "2 cookies", True)

    web.answers["/gone.mp4"] = status(404, {"Set-Cookie": "session=Late; Path=/"})
    web.answers["/list.html"] = file(b"<video src=1.mp4></video><video src=2.mp4></video>", "text/html", {"Set-Cookie": "lang=de; Path=/"})
    web.answers["/out.mp4"] = status(403, {"Set-Cookie": "session=; Path=/; Max-Age=0"})
    for number, (name, session) in enumerate((("gone", "Late"), ("out", "Late"))):
        (folder / str(number)).mkdir()
        with pytest.raises(SourceNotFoundError):
            fetch(f"{web.url}/{name}.mp4", folder / str(number))
        assert stored()["session"] == session, "a cookie that a site deletes stays: a person has to know"
    assert read_list(f"{web.url}/list.html", guard=AddressGuard(allow_private=True), sites=access.load()) is not None
    assert stored() == {"session": "Late", "lang": "de"}


def test_over_plain_http_no_secure_cookie_is_set_or_replaced(web):
    """Else somebody on the way could put their own sign-in in the place of what is stored."""
    kept: list[str] = []
    lines = HERE.cookies["127.0.0.1"].replace("/\tFALSE", "/\tTRUE") + "127.0.0.1\tFALSE\t/\tFALSE\t0\tlang\ten\n"
    sites = Sites(cookies={"127.0.0.1": lines}, keep=lambda site, lines: kept.extend(lines))
    for number, cookie in enumerate(("session=Theirs; Path=/", "session=Theirs; Path=/deep", "new=Theirs; Secure", "lang=de; Path=/")):
        web.answers[f"/deep/{number}"] = status(200, {"Set-Cookie": cookie})
    with GuardedYoutubeDL({"quiet": True, "logger": QuietLog()}, AddressGuard(allow_private=True), sites=sites) as one:
        for number in range(4):
            one.urlopen(f"{web.url}/deep/{number}")
    assert [line.split("\t")[5:] for line in kept] == [["lang", "de"]]
