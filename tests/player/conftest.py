"""A real Chromium and barcode proxies for the player's browser tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from review_app.service.views import clip_state_words, cut_kind_words
from tests.media_files import noisy_minute
from tests.player.player_server import Player, make_proxy, serving
from tests.shown_frames import SHOWN_HASH

SIZE = (640, 360)
FRAMES = 240

#: Reads the frame number off the pixels that are on screen, whichever player shows them; -1 when there is no barcode.
BARCODE = """
window.barcodeOf = (source) => {
  const canvas = new OffscreenCanvas(640, 360);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, 640, 360);
  const row = context.getImageData(0, 20, 640, 1).data;
  const white = (block) => row[Math.floor((block + 0.5) * 40) * 4] > 125;
  if (white(0) || !white(1) || white(2) || white(15)) return -1;
  let number = 0;
  for (let block = 3; block < 15; block++) number = number * 2 + (white(block) ? 1 : 0);
  return number;
};
window.barcode = () => {
  const { player } = window;
  const canvas = player.kind === "webcodecs" && !player.stage.classList.contains("playing");
  return barcodeOf(canvas ? player.canvas.element : player.video);
};
"""
PLAYER_SCRIPT = (
    BARCODE
    + """
import { Player } from "/modules/picture/player.js";
import { MediaLibrary } from "/modules/picture/video_media.js";
const stage = document.createElement("div");
stage.className = "stage";
stage.style.cssText = "position:relative;width:640px;height:360px";
const root = document.getElementById("app");
root.className = "review";
root.append(stage);
const describe = async () => (await fetch("/api/video")).json();
const library = new MediaLibrary({ enabled: !location.search.includes("plain"), refresh: describe });
window.player = new Player({ stage, library });
window.clip = await describe();
window.told = [];
for (const name of ["engine", "problem", "note", "state"]) player.on(name, (value) => told.push([name, value]));
window.ready = true;
"""
)
REVIEW_SCRIPT = (
    BARCODE
    + f"const STATE_WORDS = {json.dumps(clip_state_words())}, KIND_WORDS = {json.dumps(cut_kind_words())};"
    + """
import { Review } from "/modules/page/review.js";
const query = new URLSearchParams(location.search);
if (query.has("theme")) document.documentElement.dataset.theme = query.get("theme");
const config = {
  queue_url: "/api/queue", decisions_url: "/api/decisions", sync_url: "/api/sync", video_url: "/api/video", token: "t",
  reviewer: { id: 1, name: "Grace Hopper" }, webcodecs_enabled: !query.has("plain"), open_clip_id: Number(query.get("clip")) || null,
  state_words: STATE_WORDS, kind_words: KIND_WORDS,
};
window.review = new Review({ root: document.getElementById("app"), config });
window.player = review.player;
await review.start();
window.ready = true;
"""
)


@pytest.fixture(scope="session")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Proxies with constant and with variable frame rate, FRAMES frames each, and one of a minute whose segment is large."""
    folder = tmp_path_factory.mktemp("proxies")
    made = {name: make_proxy(folder / f"{name}.mp4", frames=FRAMES, vfr=name == "variable", size=SIZE) for name in ("constant", "variable")}
    return made | {"minute": noisy_minute(folder / "minute.mp4")}


@pytest.fixture
def server(proxies: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Player]:
    """The player's server over the proxy that the test's `rate` parameter names (default: constant frame rate)."""
    rate = request.node.callspec.params.get("rate", "constant") if hasattr(request.node, "callspec") else "constant"
    with serving(Player(proxies[rate]), {"player": PLAYER_SCRIPT, "review": REVIEW_SCRIPT}) as server:
        yield server


@pytest.fixture
def open_page(chromium: Browser, server: Player) -> Iterator[Callable[..., Page]]:
    """Open `/page/{name}` in a browser profile of its own; errors that nobody caught fail the test.

    before: script that runs first. route: as for Page.route.
    """
    errors: list[str] = []
    contexts = []

    def opened(
        name: str, *, query: str = "", before: str = "", size: tuple[int, int] = (1280, 800), route: tuple[str, Any] | None = None
    ) -> Page:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(SHOWN_HASH + before)
        if route is not None:
            page.route(*route)
        page.goto(f"{server.url}/page/{name}{query}")
        page.wait_for_function("window.ready")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
