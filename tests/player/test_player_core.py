"""The player in a real Chromium, on a plain page: the frame on screen, read off its pixels, is the frame that was asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.player.conftest import FRAMES
from tests.player.player_server import Player
from tests.shown_frames import exported_hashes

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]

Open = Callable[..., Page]
BEFORE = {"webcodecs": "", "video": "delete window.VideoDecoder;"}
RATES = ["constant", "variable"]

#: A VideoDecoder that fails on purpose: `window.failing` says how many more chunks end in an error.
FAILING_DECODER = """
window.failing = 0;
const Real = window.VideoDecoder;
window.VideoDecoder = class {
  static isConfigSupported(config) { return Real.isConfigSupported(config); }
  constructor(init) { this.init = init; this.real = new Real(init); }
  get state() { return this.real.state; }
  configure(config) { this.real.configure(config); }
  flush() { return this.real.flush(); }
  close() { this.real.close(); }
  decode(chunk) {
    if (window.failing-- <= 0) return this.real.decode(chunk);
    this.real.close();
    queueMicrotask(() => this.init.error(new DOMException("planned", "EncodingError")));
  }
};
"""


#: Whether what is fetched and decoded around frame 0 beforehand is there, so that nothing but the test asks for a frame.
WARMED = """[1, 2, 3].every((frame) => player.library.pictures.has(`1/full/${frame}`))
  && Array.from({ length: 12 }, (_, n) => n + 1).every((frame) => player.clip.media.bytes.has(player.clip.media.index.bytes(frame)))"""


def opened(page: Page, start: int = 0, end: int = FRAMES) -> None:
    assert page.evaluate(f"player.open(clip, {start}, {end})") is True


def seeks(page: Page, frames: list[int]) -> list[list[Any]]:
    """[asked, frame the player says, frame in the pixels] of those that are not all the same."""
    return page.evaluate(
        """async (frames) => {
          const wrong = [];
          for (const frame of frames) {
            const done = await player.show(frame);
            const seen = barcode();
            if (!done || player.shown !== frame || seen !== frame) wrong.push([frame, player.shown, seen]);
          }
          return wrong;
        }""",
        frames,
    )


@pytest.mark.parametrize("player", BEFORE)
def test_a_picture_that_is_long_in_coming_is_said_to_be_on_its_way(open_page: Open, server: Player, player: str) -> None:
    page = open_page("player", before=BEFORE[player])
    server.faults.held |= {"media", "segment"}
    page.evaluate("void player.open(clip, 0, 120, { frame: 7 })")
    page.wait_for_selector(".stage.stalled")
    server.faults.held.clear()
    page.wait_for_function("player.shown === 7 && barcode() === 7")
    assert page.locator(".stage.stalled").count() == 0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("kind", "count"), [("webcodecs", 80), ("video", 40)])
def test_random_seeks_show_exactly_the_frame_that_was_asked_for(open_page: Open, server: Player, rate: str, kind: str, count: int) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page)
    assert page.evaluate("player.kind") == kind
    asked = [0, FRAMES - 1, *random.Random(rate + kind).choices(range(FRAMES), k=count)]
    assert seeks(page, asked) == []


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["webcodecs", "video"])
def test_every_frame_that_is_shown_is_bit_for_bit_that_of_the_exported_clip(
    open_page: Open, server: Player, rate: str, kind: str, tmp_path: Path
) -> None:
    exported = exported_hashes(server.proxy, (60, 100), tmp_path)
    page = open_page("player", before=BEFORE[kind])
    opened(page, 60, 100)
    shown = page.evaluate(
        """async () => {
          const hashes = [];
          for (let frame = 60; frame < 100; frame++) {
            await player.show(frame);
            hashes.push(await shownHash(player.stage));
          }
          return hashes;
        }"""
    )
    assert len(set(exported)) == 40
    assert shown == exported


@pytest.mark.parametrize("kind", ["webcodecs", "video"])
def test_a_clip_in_the_middle_has_its_own_first_and_last_frame(open_page: Open, server: Player, kind: str) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page, 100, 148)
    assert page.evaluate("barcode()") == 100
    assert seeks(page, [147, 100, 121, 146, 101]) == []
    page.evaluate("player.show(500)")
    assert page.evaluate("[player.frame, barcode()]") == [147, 147]
    page.evaluate("player.show(0)")
    assert page.evaluate("[player.frame, barcode()]") == [100, 100]


@pytest.mark.parametrize("kind", ["webcodecs", "video"])
def test_steps_add_up_also_when_they_come_faster_than_pictures(open_page: Open, server: Player, kind: str) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page)
    assert page.evaluate("(async () => { for (const n of [1, 1, 10, -1, 10, -10, 1]) await player.step(n); return barcode(); })()") == 12
    answers = page.evaluate("Promise.all(Array.from({ length: 30 }, () => player.step(1)))")
    assert answers[-1] is True
    assert page.evaluate("[player.frame, player.shown, barcode()]") == [42, 42, 42]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["webcodecs", "video"])
def test_pause_shows_the_frame_it_says(open_page: Open, server: Player, rate: str, kind: str) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page, 40, 200)
    for ahead in (10, 15, 8):
        start = page.evaluate("player.frame")
        page.evaluate("player.play()")
        page.wait_for_function("(frame) => player.stage.classList.contains('playing') && player.shown >= frame", arg=start + ahead)
        assert page.evaluate("player.pause()") is True
        said, shown, seen, playing = page.evaluate("[player.frame, player.shown, barcode(), player.stage.classList.contains('playing')]")
        assert said == shown == seen
        assert not playing
        assert said > start, "it has played"


def test_playing_loops_inside_the_clip_and_stops_at_its_end_without_loop(open_page: Open, server: Player) -> None:
    page = open_page("player")
    opened(page, 60, 75)
    page.evaluate(
        "window.seen = []; player.on('frame', ({ frame, playing }) => playing && seen.push(frame)); player.setRate(2); player.play()"
    )
    page.wait_for_function("seen.some((frame, i) => i && frame < seen[i - 1])")
    assert page.evaluate("seen.every((frame) => frame >= 60 && frame < 75)")
    page.evaluate("player.setLoop(false)")
    page.wait_for_function("!player.playing && player.shown === 74 && barcode() === 74")
    assert page.evaluate("player.video.playbackRate") == 2


def test_the_page_says_which_player_is_in_use_and_why(open_page: Open, server: Player) -> None:
    page = open_page("player", before=BEFORE["video"])
    opened(page)
    assert ["engine", {"kind": "video", "reason": "this browser has no WebCodecs"}] in page.evaluate("told")
    page = open_page("player", query="?plain")
    opened(page)
    assert page.evaluate("player.reason") == "switched off by WEBCODECS_ENABLED"


def test_a_decoder_error_in_the_middle_is_survived(open_page: Open, server: Player) -> None:
    page = open_page("player", before=FAILING_DECODER)
    opened(page, 0, 120)
    page.wait_for_function(WARMED)
    page.evaluate("window.failing = 1")
    assert seeks(page, [100, 101, 7]) == []
    assert page.evaluate("player.kind") == "webcodecs"


def test_a_frame_that_will_not_decode_brings_the_fallback_for_this_clip_only(open_page: Open, server: Player) -> None:
    page = open_page("player", before=FAILING_DECODER)
    opened(page, 0, 120)
    page.wait_for_function(WARMED)
    page.evaluate("window.failing = 2")
    assert page.evaluate("player.show(90)") is True
    assert page.evaluate("[player.kind, player.shown, barcode()]") == ["video", 90, 90]
    assert "Frame 90 cannot be decoded" in page.evaluate("player.reason")
    assert seeks(page, [91, 3]) == []
    page.evaluate("window.failing = 0")
    opened(page, 120, 240)
    assert page.evaluate("[player.kind, barcode()]") == ["webcodecs", 120]


@pytest.mark.parametrize("kind", ["webcodecs", "video"])
def test_an_expired_link_is_renewed_without_anybody_noticing(open_page: Open, server: Player, kind: str) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page, 0, 60)
    server.generation = server.faults.expired_before = 1
    opened(page, 60, 240)
    assert seeks(page, [200, 61]) == []
    assert [told for told in page.evaluate("told") if told[0] == "problem" and told[1]] == []


def test_a_missing_proxy_is_said_in_words_and_comes_back_by_itself(open_page: Open, server: Player) -> None:
    page = open_page("player")
    server.faults.status["media"] = [404]
    assert page.evaluate("player.open(clip, 0, 60)") is False
    problems = [told[1]["message"] for told in page.evaluate("told") if told[0] == "problem" and told[1]]
    assert problems == ["The proxy of this video is missing in the store."]
    page.wait_for_function("player.shown === 0 && barcode() === 0")


def test_a_segment_that_is_not_served_is_said_in_the_servers_words(open_page: Open, server: Player) -> None:
    page = open_page("player", before=BEFORE["video"])
    server.faults.status["segment"] = [503] * 3
    assert page.evaluate("player.open(clip, 0, 60)") is False
    assert page.evaluate("told.find(([name, value]) => name === 'problem' && value)[1].message") == "planned fault 503"
    page.wait_for_function("player.shown === 0 && barcode() === 0")


def test_a_pause_before_the_segment_is_there_is_the_last_word(open_page: Open, server: Player) -> None:
    page = open_page("player")
    server.faults.held.add("segment")
    opened(page, 0, 60)
    assert page.evaluate("player.show(30)") is True
    page.evaluate("(() => { player.play(); })()")
    assert page.evaluate("player.pause()") is True
    server.faults.held.clear()
    page.wait_for_function("player.video.readyState >= 2")
    page.evaluate("(async () => { for (let i = 0; i < 30; i++) await new Promise(requestAnimationFrame); })()")
    assert page.evaluate("[player.video.paused, player.playing, player.frame, barcode()]") == [True, False, 30, 30]


@pytest.mark.parametrize(("kind", "playing"), [("webcodecs", True), ("video", True), ("video", False)])
def test_a_segment_that_fails_after_loading_is_said_and_recovers_with_a_fresh_link(
    open_page: Open, server: Player, kind: str, playing: bool
) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page, 0, 240)
    assert page.evaluate("player.show(100)") is True
    if playing:
        page.evaluate("player.play()")
        page.wait_for_function("player.stage.classList.contains('playing')")
    server.generation = server.faults.expired_before = 1
    # A busy browser may present another frame meanwhile, and an error while that is put right is not one after loading. To ask for the
    # frame that stands loads nothing.
    stands = "Promise.resolve()" if playing else "player.show(100)"
    told = page.evaluate(f"{stands}.then(() => (told.length = 0, player.video.dispatchEvent(new Event('error')), told))")
    (problem,) = [value["message"] for name, value in told if name == "problem"]
    assert "The clip does not load any further" in problem
    if playing:
        page.wait_for_function("player.playing && player.stage.classList.contains('playing') && !player.video.paused")
    else:
        page.wait_for_function("told.some(([name, value]) => name === 'problem' && !value)")
        assert seeks(page, [101, 7]) == []


def test_a_broken_line_is_tried_again(open_page: Open, server: Player) -> None:
    page = open_page("player")
    opened(page, 0, 60)
    page.wait_for_function(WARMED)
    server.faults.status["media"] = [503, 500]
    assert seeks(page, [50]) == []
    assert server.faults.status["media"] == [], "both faults have come"


def test_an_index_of_another_file_is_said_in_words_and_read_again(open_page: Open, server: Player) -> None:
    page = open_page("player")
    server.index.byte_offset[30:] += 7
    opened(page, 0, 60)
    assert page.evaluate("player.show(45)") is False
    assert "does not match the proxy" in page.evaluate("told.filter(([name, value]) => name === 'problem' && value).at(-1)[1].message")
    server.index.byte_offset[30:] -= 7
    page.wait_for_function("player.shown === 45 && barcode() === 45")


@pytest.mark.parametrize("rate", ["minute"])
def test_a_clip_of_a_minute_has_a_waveform(open_page: Open, server: Player, rate: str) -> None:
    page = open_page("player")
    opened(page, 0, 300)
    heard = page.evaluate(
        """async () => {
          const { Waveform } = await import("/modules/picture/waveform.js");
          const peaks = await new Waveform().peaks(player.clip.media, 0, 300);
          return peaks && [peaks.length, Math.min(...peaks.slice(10, -10)) > 0.05];
        }"""
    )
    assert heard == [1200, True]


@pytest.mark.parametrize(("kind", "route"), [("webcodecs", "media"), ("video", "segment")])
def test_the_next_clip_is_ready_before_it_is_asked_for(open_page: Open, server: Player, kind: str, route: str) -> None:
    page = open_page("player", before=BEFORE[kind])
    opened(page, 0, 60)
    page.evaluate("player.warm(clip, 160, 200)")
    server.faults.held.add(route)
    page.evaluate("(async () => { await player.open(clip, 160, 200); })()")
    assert page.evaluate("barcode()") == 160
    server.faults.held.clear()
