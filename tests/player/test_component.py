"""The player mounted in a real Streamlit page: it survives reruns, its decoder too, and leaves Streamlit's fields alone."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from review_app.player.component import PlayerConfig, served_address
from review_app.served_component import served_component

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]
ROOT = Path(__file__).parents[2]


def test_the_configuration_names_the_reviewer_in_one_place() -> None:
    config = PlayerConfig(queue_url="/q", decisions_url="/d", sync_url="/s", video_url="/v", token="t", reviewer_id=7, reviewer_name="Ada")
    assert config.to_json()["reviewer"] == {"id": 7, "name": "Ada"}
    assert "reviewer_id" not in config.to_json()
    assert config.to_json()["state_words"]["embedded"] == "searchable"
    assert replace(config, token="u").to_json()["token"] == "u"


def test_a_change_in_any_file_of_a_component_changes_its_address(tmp_path: Path) -> None:
    inner = tmp_path / "static" / "page" / "inner.js"
    inner.parent.mkdir(parents=True)
    inner.write_text("export const one = 1;")
    paths = [served_component(tmp_path, "test", js="page/inner.js", css="").path]
    inner.write_text("export const one = 2;")
    paths.append(served_component(tmp_path, "test", js="page/inner.js", css="").path)
    inner.rename(inner.with_name("other.js"))
    paths.append(served_component(tmp_path, "test", js="page/other.js", css="").path)
    assert len(set(paths)) == 3


def test_a_file_that_is_not_there_has_no_address() -> None:
    with pytest.raises(FileNotFoundError, match=r"has no file keys\.js"):
        served_address("keys.js")


@pytest.fixture(scope="module")
def streamlit_url(proxies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    home = tmp_path_factory.mktemp("streamlit")
    (home / ".streamlit").mkdir()
    (home / ".streamlit" / "config.toml").write_text("[browser]\ngatherUsageStats = false\n")  # the environment is not read under uvicorn
    environment = os.environ | {
        "HEATERS_TEST_PROXY": str(proxies["constant"]),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "uvicorn", "tests.player.streamlit_app:app", "--port", str(port), "--log-level", "warning"]
    log = home / "log.txt"
    with log.open("w") as output, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url
        process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/review", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def states(url: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{url}/review", timeout=5) as response:
        found: dict[str, str] = json.load(response)
        return found


@pytest.fixture
def page(chromium: Browser, streamlit_url: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    outside: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((streamlit_url, "data:", "blob:")) else outside.append(request.url))
    page.goto(streamlit_url)
    yield page
    context.close()
    assert errors == []
    assert outside == [], "a headless run must not need the network"


def test_decisions_are_made_in_streamlit_over_reruns_and_the_player_stays_the_same(page: Page, streamlit_url: str) -> None:
    canvas = page.locator(".stage canvas")
    expect(canvas).to_have_attribute("data-frame", "0")
    expect(page.locator(".engine")).to_have_text("WebCodecs player")
    canvas.evaluate("(element) => { element.mine = true; }")
    page.keyboard.press("a")
    expect(canvas).to_have_attribute("data-frame", "40")
    expect(page.locator(".facts")).to_contain_text("clip 2 ")
    for least in (2, 3, 4):  # one after the other: Streamlit makes one run of clicks that come while it runs
        page.get_by_role("button", name="Run again").click()
        expect(page.get_by_text(re.compile(rf"run [{least}-9]"))).to_be_visible()
    page.get_by_label("Filter").fill("as")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_text(re.compile(r"run [5-9]"))).to_be_visible()
    assert canvas.evaluate("(element) => element.mine"), "built once"
    page.locator(".decision.skip").click()
    expect(canvas).to_have_attribute("data-frame", "80")
    expect(page.locator(".saved")).to_have_text("All decisions saved")
    assert states(streamlit_url) | {"3": "pending_review"} == states(streamlit_url)
    assert [states(streamlit_url)[n] for n in ("1", "2")] == ["review_approved", "review_skipped"]
    page.keyboard.press("Control+z")
    expect(canvas).to_have_attribute("data-frame", "40")
