"""The door: which names are ours, and where the page may load from."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from heaters_dagster.doors import is_own_name
from heaters_dagster.settings import Settings
from review_app.player.component import KEPT_PATH
from review_app.server.door import Door, media_origins

NAMES = {"localhost", "review.example.org"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8501", "127.0.0.1:8501", "[::1]:8501", "192.168.1.7", "review.example.org", "review.example.org.:443"]
)
def test_own_names_and_addresses_are_let_in(host: str) -> None:
    assert is_own_name(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example#localhost",
        "evil.example/@localhost",
        "user@localhost",
        "[::1",
        "a b",
        "[::1]evil",
        "[::1]evil:80",
        "localhost:99999",
        "localhost:0",
        "localhost:x",
        "[localhost]",
        "127.0.0.1:80:80",
        "localhost\x00",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_own_name(host, NAMES)


async def _page(_request: Request) -> Response:
    return PlainTextResponse("the page")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def client(tmp_path: Path, **settings: object) -> TestClient:
    routes = [Route("/", _page), Route(f"{KEPT_PATH}review.js", _page), WebSocketRoute("/stream", _socket)]
    known = Settings(home=tmp_path, **settings)  # type: ignore[arg-type]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Door, settings=known)]))


def test_a_request_under_a_strangers_name_learns_nothing(tmp_path: Path) -> None:
    answer = client(tmp_path).get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "HEATERS_REVIEW_NAMES" in answer.text
    assert client(tmp_path, review_names=("evil.example",)).get("/", headers={"Host": "evil.example"}).text == "the page"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://review.example.org", "review.example.org"),
        ("https://Review.Example.org.:8443/heaters/", "REVIEW.example.org:8443"),
        ("https://b\u00fccher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_of_the_told_address_is_an_own_name(tmp_path: Path, address: str, host: str) -> None:
    told = client(tmp_path, shared_review_url=address)
    assert told.get("/", headers={"Host": host}).text == "the page"
    for other in ("example.org", f"evil.{host}", "evil.example"):
        assert told.get("/", headers={"Host": other}).status_code == 421


def test_a_browser_keeps_the_players_files_and_nothing_else(tmp_path: Path) -> None:
    asked, host = client(tmp_path), {"Host": "localhost"}
    assert asked.get(f"{KEPT_PATH}review.js", headers=host).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for other in ("/", f"{KEPT_PATH}not_there.js"):
        assert "Cache-Control" not in asked.get(other, headers=host).headers


@pytest.mark.parametrize("host", ["[::1]evil", "localhost:99999", "", "a b"])
def test_a_host_that_is_none_is_refused_in_words(tmp_path: Path, host: str) -> None:
    answer = client(tmp_path).get("/", headers={"Host": host})
    assert (answer.status_code, answer.text) == (
        400,
        "Bad request: the Host header must be one name or address, with a port up to 65535.\n",
    )


@pytest.mark.parametrize("path", ["/%00", "/stream/%ED%A0%80", "/?text=%00", "/?text=%ED%A0%80", "/?%FF=1", "/?" + "a&" * 300])
def test_an_address_that_is_no_text_is_refused_in_words(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path).get(path, headers={"Host": "localhost"})
    assert answer.status_code == 400
    assert "address" in answer.text


def test_the_websocket_has_the_same_door(tmp_path: Path) -> None:
    with client(tmp_path).websocket_connect("/stream", headers={"Host": "127.0.0.1"}) as socket:
        assert socket.receive_text() == "hello"
    with pytest.raises(WebSocketDenialResponse) as refused, client(tmp_path).websocket_connect("/stream", headers={"Host": "evil.example"}):
        pass
    assert refused.value.status_code == 421


def test_the_page_loads_from_here_and_cannot_be_framed(tmp_path: Path) -> None:
    policy = client(tmp_path).get("/", headers={"Host": "localhost:8501"}).headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'self'"]
    assert rules["frame-ancestors"] == ["'self'"]
    assert rules["connect-src"] == ["'self'", "ws://localhost:8501", "wss://localhost:8501", "data:", "blob:"]


def test_media_may_come_from_the_store_and_the_cdn(tmp_path: Path) -> None:
    assert media_origins(Settings(home=tmp_path)) == []
    assert media_origins(Settings(home=tmp_path, bucket="b", proxy_cdn_domain="cdn.example")) == [
        "https://cdn.example",
        "https://*.amazonaws.com",
        "https://*.amazonaws.com.cn",
    ]
    own = Settings(home=tmp_path, bucket="b", s3_endpoint_url="http://127.0.0.1:9000/")
    assert media_origins(own) == ["http://127.0.0.1:9000", "http://b.127.0.0.1:9000"]
