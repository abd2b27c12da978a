"""The player in a real Chromium: how fast a frame is on the canvas, and whether it is the right one, by its pixels and its hash."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page

from benchmarks.table import Row, at_most
from tests.chromium import started_chromium
from tests.player.conftest import PLAYER_SCRIPT, REVIEW_SCRIPT
from tests.player.player_server import Player, make_proxy, serving
from tests.shown_frames import SHOWN_HASH, exported_hashes

SIZE = (1280, 720)
FRAMES = 600
SEEKS = 500  # for each of constant and variable frame rate
FALLBACK_SEEKS = 150  # likewise
STEPS = 200
CLIP_FRAMES = 20
EDGES = (*range(0, FRAMES, CLIP_FRAMES), FRAMES)

_PROOF = "barcode read off the screen's pixels, hash of the decoded planes against the exported clip's frame"

_SEEKS = """async ({ frames, cold, pause, exported }) => {
  const { media } = player.clip;
  const times = [];
  const wrong = [];
  for (const frame of frames) {
    await new Promise((done) => setTimeout(done, pause));
    if (cold) {
      media.bytes.clear();
      player.library.pictures.clear();
    }
    const from = performance.now();
    await player.show(frame);
    times.push(performance.now() - from);
    const seen = barcode();
    const hash = await shownHash(player.stage);
    if (seen !== frame || player.shown !== frame || hash !== exported[frame]) wrong.push([frame, player.shown, seen, hash]);
  }
  return { times, wrong };
}"""
_STEPS = """async ({ count, pause }) => {
  const times = [];
  for (let n = 0; n < count; n++) {
    await new Promise((done) => setTimeout(done, pause));
    const from = performance.now();
    await player.step(1);
    times.push(performance.now() - from);
  }
  return times;
}"""
_DECISIONS = """async (starts) => {
  const times = [];
  for (const start of starts) {
    await new Promise((done) => setTimeout(done, 900));
    const from = performance.now();
    window.dispatchEvent(new KeyboardEvent("keydown", { key: "a" }));
    while (player.shown !== start) await new Promise(requestAnimationFrame);
    times.push(performance.now() - from);
    if (barcode() !== start) throw new Error(`frame ${barcode()} instead of ${start}`);
  }
  return times;
}"""


def run() -> list[Row]:
    note = f"{SIZE[0]}x{SIZE[1]}, server in the same machine"
    seek_times: list[float] = []
    fallback_times: list[float] = []
    wrong: list[Any] = []
    fallback_wrong: list[Any] = []
    with tempfile.TemporaryDirectory() as name, started_chromium() as browser:
        for rate in ("constant", "variable"):
            proxy = make_proxy(Path(name) / f"{rate}.mp4", frames=FRAMES, vfr=rate == "variable", size=SIZE)
            exported = exported_hashes(proxy, EDGES, Path(name))
            with _page(browser, proxy, "player") as page:
                page.evaluate(f"player.open(clip, 0, {FRAMES})")
                found = page.evaluate(_SEEKS, {"frames": _asked(SEEKS, rate), "cold": True, "pause": 80, "exported": exported})
                seek_times += found["times"]
                wrong += found["wrong"]
                page.evaluate("player.show(100)")
                steps = page.evaluate(_STEPS, {"count": STEPS, "pause": 33})
            with _page(browser, proxy, "player", before="delete window.VideoDecoder;") as page:
                page.evaluate(f"player.open(clip, 0, {FRAMES})")
                asked = {"frames": _asked(FALLBACK_SEEKS, rate), "cold": False, "pause": 20, "exported": exported}
                found = page.evaluate(_SEEKS, asked)
                fallback_times += found["times"]
                fallback_wrong += found["wrong"]
        with _page(browser, Path(name) / "constant.mp4", "review") as page:
            next_clip = page.evaluate(_DECISIONS, list(range(CLIP_FRAMES, FRAMES - CLIP_FRAMES, CLIP_FRAMES))[:25])
    return [
        at_most("random seek to a cold frame, p95", _percentile(seek_times, 95), "ms", 60, note),
        Row("random seek to a cold frame, median", _percentile(seek_times, 50), "ms"),
        at_most("step to the next frame, p95", _percentile(steps, 95), "ms", 33, "30 steps a second"),
        at_most("key press to the next clip's first frame, p95", _percentile(next_clip, 95), "ms", 150, "whole review page, approve"),
        Row("key press to the next clip's first frame, median", _percentile(next_clip, 50), "ms"),
        at_most("wrong frames, WebCodecs", len(wrong), "", 0, f"{2 * SEEKS:,} seeks, constant and variable frame rate; {_PROOF}"),
        at_most("wrong frames, plain video", len(fallback_wrong), "", 0, f"{2 * FALLBACK_SEEKS} seeks, likewise"),
        Row("random seek, plain video, median", _percentile(fallback_times, 50), "ms", note="clip segment loaded"),
        Row("random seek, plain video, p95", _percentile(fallback_times, 95), "ms"),
    ]


def _asked(count: int, seed: str) -> list[int]:
    return random.Random(seed).choices(range(FRAMES), k=count)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.array(values), percent))


@contextmanager
def _page(browser: Browser, proxy: Path, name: str, *, before: str = "") -> Iterator[Page]:
    with serving(Player(proxy, edges=EDGES), {"player": PLAYER_SCRIPT, "review": REVIEW_SCRIPT}) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(SHOWN_HASH + before)
        page.goto(f"{server.url}/page/{name}")
        page.wait_for_function("window.ready")
        if name == "review":
            page.wait_for_function("player.shown === 0")
        yield page
        context.close()
