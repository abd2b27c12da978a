"""The door of the Dagster UI, before Dagster's own web server: who is let in, from where, and what nobody may do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from playwright.sync_api import Browser, expect
from starlette.testclient import TestClient, WebSocketDenialResponse

from heaters_dagster.commands.up.dagster_ui import behind_the_door
from heaters_dagster.commands.up.operator_door import SIGN_IN_PATH, SIGN_OUT_PATH, OperatorDoor, check_reach
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import Settings

TOKEN = "a-token-of-16-or-more"
OWN = "http://localhost:3000"
HOST = {"Host": "localhost:3000"}  # the test client connects WebSockets under a name of its own
CHANGE = "mutation { setNuxSeen }"
STRANGER = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        with WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget()) as context:
            yield context


def client(dagster: WorkspaceProcessContext, tmp_path: Path, **settings: Any) -> TestClient:
    return TestClient(behind_the_door(dagster, Settings(home=tmp_path, **settings)), base_url=OWN, follow_redirects=False)


def asked(client: TestClient, query: str, **headers: str) -> Any:
    return client.post("/graphql", json={"query": query}, headers=headers)


def test_its_own_page_and_a_script_of_this_machine_may_ask_and_change(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    ui = client(dagster, tmp_path)
    assert ui.get("/runs", headers={"Accept": "text/html"}).status_code == 200
    assert "version" in asked(ui, "{ version }").json()["data"]
    own = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
    assert asked(ui, CHANGE, **own).json() == asked(ui, CHANGE).json() == {"data": {"setNuxSeen": True}}
    with ui.websocket_connect("/graphql", subprotocols=["graphql-ws"], headers={"Origin": OWN, **HOST}) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:3000", "dagster.example.org"])
def test_under_a_strangers_name_it_tells_nothing(dagster: WorkspaceProcessContext, tmp_path: Path, host: str) -> None:
    ui = client(dagster, tmp_path)
    for answer in (ui.get("/server_info", headers={"Host": host}), asked(ui, "{ version }", Host=host)):
        assert answer.status_code == 421
        assert "HEATERS_DAGSTER_NAMES" in answer.text
    with pytest.raises(WebSocketDenialResponse), ui.websocket_connect("/graphql", headers={"Host": host}):
        pass


def test_names_that_were_told_are_its_own(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    told = client(dagster, tmp_path, dagster_names=("Operators.Example",), dagster_url="https://Dagster.Example.org.:8443/")
    for host in ("operators.example", "dagster.example.org", "127.0.0.1:3000", "[::1]:3000"):
        assert told.get("/server_info", headers={"Host": host}).status_code == 200
    assert told.get("/server_info", headers={"Host": "[::1]evil"}).status_code == 400


def test_nothing_changes_by_get(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    ui = client(dagster, tmp_path)
    for path in ("/graphql", "/graphql/"):
        for method in ("GET", "HEAD"):
            answer = ui.request(method, path, params={"query": CHANGE})
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    page = ui.get("/graphql", params={"query": CHANGE}, headers={"Accept": "text/html"})
    assert "GraphiQL" in page.text
    assert "setNuxSeen" not in page.text
    # A form of any page can post these kinds without asking first; Dagster took the query from the address then.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ui.post("/graphql", params={"query": CHANGE}, headers={"Content-Type": kind}).status_code == 415


@pytest.mark.parametrize(
    "headers",
    [
        STRANGER,
        {"Origin": "null"},
        {"Origin": "http://localhost:8501"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:3000.evil.example"},
        {"Origin": "http://[evil"},
    ],
)
def test_no_other_site_may_post(dagster: WorkspaceProcessContext, tmp_path: Path, headers: dict[str, str]) -> None:
    ui = client(dagster, tmp_path, dagster_token=TOKEN)
    signed_in = {"Authorization": f"Bearer {TOKEN}", **headers}
    assert asked(ui, CHANGE, **signed_in).status_code == 403
    assert ui.post("/report_asset_materialization/proxy", json={}, headers=signed_in).status_code == 403
    if "Origin" in headers:
        with pytest.raises(WebSocketDenialResponse) as refused, ui.websocket_connect("/graphql", headers={**signed_in, **HOST}):
            pass
        assert refused.value.status_code == 403


def test_no_other_site_may_frame_it_or_load_from_it_but_a_link_to_it_works(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    ui = client(dagster, tmp_path)
    page = ui.get("/runs", headers={"Accept": "text/html"})
    assert page.headers["X-Frame-Options"] == "DENY"
    policies = page.headers.get_list("content-security-policy")
    assert any("nonce-" in policy for policy in policies)  # Dagster's own
    assert "frame-ancestors 'none'" in policies
    follow = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    assert ui.get("/runs", headers={**follow, "Sec-Fetch-Dest": "document"}).status_code == 200
    assert ui.get("/runs", headers={**follow, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert ui.get("/server_info", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_with_a_token_nobody_gets_past_the_sign_in(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    ui = client(dagster, tmp_path, dagster_token=TOKEN)
    for path in ("/", "/server_info", "/graphql", "/logs/x/y/z.err", "/download_debug/1"):
        page = ui.get(path, headers={"Accept": "text/html"})
        assert (page.status_code, SIGN_IN_PATH in page.text) == (401, True)
        assert ui.get(path, headers={"Accept": "*/*"}).status_code in {401, 405}
    assert asked(ui, "{ version }").status_code == 401
    assert asked(ui, "{ version }", Authorization="Bearer wrong").status_code == 401
    name = OperatorDoor(ui.app, Settings(home=tmp_path, dagster_token=TOKEN)).cookie
    assert asked(ui, "{ version }", Cookie=f"{name}={TOKEN}").status_code == 401
    assert asked(ui, "{ version }", Authorization=f"Bearer {TOKEN}").status_code == 200
    with pytest.raises(WebSocketDenialResponse) as refused, ui.websocket_connect("/graphql", headers=HOST):
        pass
    assert refused.value.status_code == 401


def test_signing_in_gives_a_cookie_that_no_script_and_no_other_site_gets(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    ui = client(dagster, tmp_path, dagster_token=TOKEN)
    wrong = ui.post(SIGN_IN_PATH, data={"token": "wrong"})
    assert (wrong.status_code, "not the token" in wrong.text, dict(wrong.cookies)) == (401, True, {})
    assert ui.post(SIGN_IN_PATH, data={"token": TOKEN}, headers=STRANGER).status_code == 403
    assert ui.post(SIGN_IN_PATH, data={"token": "x" * 5000}).status_code == 413
    for onward, goes_to in (
        ("/runs?view=1", "/runs?view=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
    ):
        right = ui.post(SIGN_IN_PATH, data={"token": TOKEN, "next": onward})
        assert (right.status_code, right.headers["Location"]) == (303, goes_to)
    cookie = right.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    assert asked(ui, "{ version }").status_code == 200  # the client keeps the cookie
    beside = client(dagster, tmp_path, dagster_token=TOKEN + "2")  # another one on this host: a browser sends it the same cookies
    beside.cookies = ui.cookies
    assert asked(beside, "{ version }").status_code == 401
    beside.post(SIGN_IN_PATH, data={"token": TOKEN + "2"})
    assert asked(beside, "{ version }").status_code == asked(ui, "{ version }").status_code == 200
    ui.cookies.clear()
    page = ui.get('/a?x="><script>', headers={"Accept": "text/html"})
    assert (page.status_code, "<script>" in page.text) == (401, False)
    assert asked(client(dagster, tmp_path, dagster_token=TOKEN + "2"), "{ version }", Cookie=cookie.split(";")[0]).status_code == 401


def test_who_signs_out_is_out_with_every_copy_of_the_cookie_and_nobody_else_is(dagster: WorkspaceProcessContext, tmp_path: Path) -> None:
    door = behind_the_door(dagster, Settings(home=tmp_path, dagster_token=TOKEN))
    ui, other = TestClient(door, base_url=OWN), TestClient(door, base_url=OWN)
    for one in (ui, other):
        page = one.post(SIGN_IN_PATH, data={"token": TOKEN, "next": "/runs"}, headers={"Accept": "text/html"})
        assert (page.status_code, f'action="{SIGN_OUT_PATH}"' in page.text) == (200, True)
        assert int(page.headers["Content-Length"]) == len(page.content)
    assert SIGN_OUT_PATH not in other.get("/server_info", headers={"Accept": "text/html"}).text
    copy = {"Cookie": f"{door.cookie}={ui.cookies[door.cookie]}"}
    assert ui.get(SIGN_OUT_PATH, headers={"Accept": "text/html"}).status_code == 200, "nothing changes by GET"
    assert ui.post(SIGN_OUT_PATH, headers=STRANGER).status_code == 403
    assert asked(ui, "{ version }").status_code == 200
    out = ui.post(SIGN_OUT_PATH)
    assert (out.status_code, "You are signed out" in out.text, door.cookie in ui.cookies) == (200, True, False)
    assert asked(ui, "{ version }").status_code == asked(ui, "{ version }", **copy).status_code == 401
    assert asked(other, "{ version }").status_code == 200
    assert ui.post(SIGN_OUT_PATH).status_code == 200
    without = client(dagster, tmp_path)
    assert SIGN_OUT_PATH not in without.get("/runs", headers={"Accept": "text/html"}).text


def test_beyond_this_machine_only_with_a_token(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_reach(Settings(home=tmp_path, dagster_host=host))
    for host in ("0.0.0.0", "::", "", "192.0.2.7", "operators.example"):
        with pytest.raises(SettingsError, match="set HEATERS_DAGSTER_TOKEN"):
            check_reach(Settings(home=tmp_path, dagster_host=host))
        check_reach(Settings(home=tmp_path, dagster_host=host, dagster_token=TOKEN))
    for weak in ("short", "has a blank in the middle", "not-ascii-\u00e4-\u00e4-\u00e4"):
        with pytest.raises(SettingsError, match="write 16 or more") as refused:
            Settings.from_environment({"HEATERS_DAGSTER_TOKEN": weak})
        assert weak not in str(refused.value)


@contextmanager
def served(app: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="auto"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.browser
def test_a_person_signs_in_and_the_ui_works(dagster: WorkspaceProcessContext, tmp_path: Path, chromium: Browser) -> None:
    with served(behind_the_door(dagster, Settings(home=tmp_path, dagster_token=TOKEN))) as url:
        context = chromium.new_context()
        page = context.new_page()
        refused: list[str] = []
        page.on(
            "response", lambda answer: refused.append(f"{answer.status} {answer.url}") if answer.status in {403, 405, 415, 421} else None
        )
        page.goto(f"{url}/runs")
        page.get_by_label("Token").fill(TOKEN)
        with page.expect_websocket(lambda socket: "/graphql" in socket.url):
            page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("No runs found")).to_be_visible(timeout=60_000)
        assert page.url.startswith(f"{url}/runs")
        assert refused == []
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        page.goto(f"{url}/runs")
        expect(page.get_by_label("Token")).to_be_visible()
        context.close()
