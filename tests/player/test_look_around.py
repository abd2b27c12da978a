"""Looking around without deciding: the next and the previous clip, a frame or timecode, full screen; in clips of any length."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.player.player_server import Player
from tests.player.review_steps import Open, all_saved, applied, on_stage, with_constants
from tests.review_in_memory import ReviewInMemory, clips_of

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]


def test_one_key_goes_to_the_next_clip_and_one_back_and_what_was_passed_comes_round_again(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("p")
    expect(page.locator(".toast")).to_contain_text("There is no clip before this one.")
    for key, clip_id in (("n", 2), ("n", 3), ("p", 2), ("p", 1), ("n", 2), ("n", 3), ("n", 4)):
        page.keyboard.press(key)
        on_stage(page, clip_id)
    page.get_by_label("The clip before, without deciding").click()
    on_stage(page, 3)
    for key, clip_id in (("a", 4), ("a", 5), ("a", 6), ("a", 1), ("s", 2)):
        page.keyboard.press(key)
        on_stage(page, clip_id)
    page.keyboard.press("n")
    expect(page.locator(".toast").last).to_contain_text("No other clip waits here.")
    page.keyboard.press("p")
    on_stage(page, 1)
    all_saved(page)
    assert [ids for _, ids in applied(server)] == [(3,), (4,), (5,), (6,), (1,)]


@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_a_frame_a_time_or_a_timecode_leads_to_its_frame(open_page: Open, server: Player, rate: str) -> None:
    page = open_page("review")
    on_stage(page, 1)
    field = page.get_by_label("Frame, time or timecode in the source video")

    def goes(text: str, frame: int) -> None:
        page.keyboard.press("t")
        field.fill(text)
        page.keyboard.press("Enter")
        expect(field).to_be_hidden()
        page.wait_for_function("(frame) => player.shown === frame && barcode() === frame", arg=frame)

    goes("17", 17)
    goes("+5", 22)
    goes("-2", 20)
    goes("130", 130)
    on_stage(page, 4)
    for frame in (0, 75, 200, 239):
        page.keyboard.press("t")
        field.fill(str(frame))
        page.keyboard.press("Enter")
        page.wait_for_function("(frame) => player.shown === frame", arg=frame)
        thousandths = page.evaluate("Math.round(player.clip.media.index.seconds(player.frame) * 1000)")
        shown = page.locator(".source-time").text_content() or ""
        goes("120", 120)
        goes(f"00:00:{thousandths // 1000:02d}.{thousandths % 1000:03d}", frame)
        if rate == "constant":
            goes("120", 120)
            goes(shown.removeprefix("Video "), frame)
    page.locator(".source-time").click()
    for text, words in (("noon", "no frame and no time"), ("240", "it has the frames 0 to 239"), ("01:00:00.000", "the frames 0 to 239")):
        field.fill(text)
        page.keyboard.press("Enter")
        expect(page.locator(".go-to-problem")).to_contain_text(words)
    page.keyboard.type("axs")
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()
    assert page.evaluate("review.state.log.length") == 0
    page.keyboard.press("s")
    page.wait_for_function("review.state.log.length === 1")


def test_the_large_clock_is_the_one_that_the_reviewer_chose_also_after_a_reload(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("ArrowRight")
    large, others = page.locator(".clock"), page.locator(".clock-others")
    expect(large).to_have_text("00:00.033")
    expect(others).to_have_text("frame 1 of 40Video 00:00:00:01")
    assert "No source timecode. Frame 1, " in (others.get_attribute("title") or "")
    page.keyboard.press("v")
    expect(large).to_have_text("frame 1 of 40")
    large.click()
    expect(large).to_have_text("Video 00:00:00:01")
    expect(others).to_have_text("00:00.033frame 1 of 40")
    expect(page.get_by_label("Place in the clip")).to_have_text("Video 00:00:00:01")
    page.keyboard.press("m")  # what else is remembered does not forget it
    page.reload()
    on_stage(page, 1)
    expect(large).to_have_text("Video 00:00:00:00")
    page.keyboard.press("v")
    expect(large).to_have_text("00:00.000")


def test_full_screen_keeps_the_keys_and_what_is_said(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement?.matches('.review.full')")
    expect(page.locator(".side")).to_be_hidden()
    expect(page.locator(".stage-name")).to_have_text("Clip 1 of Barcode")
    page.keyboard.press("s")
    on_stage(page, 2)
    expect(page.locator(".last")).to_contain_text("Skipped clip 1 of Barcode")
    page.keyboard.press("g")
    expect(page.locator(".toast")).to_be_visible()
    page.get_by_label("Full screen").click()
    page.wait_for_function("!document.fullscreenElement")
    expect(page.locator(".side")).to_be_visible()


@pytest.mark.parametrize("rate", ["constant", "variable"])
@pytest.mark.parametrize("before", ["", "delete window.VideoDecoder;"], ids=["webcodecs", "plain"])
def test_a_long_clip_asks_for_the_rows_it_needs_and_every_frame_is_right(open_page: Open, server: Player, before: str, rate: str) -> None:
    """With pages and parts so small that 240 frames are many of them; the modules are the real ones."""
    server.review = ReviewInMemory.of(clips_of(0, 240))
    sizes = {"PAGE_FRAMES = 1024": "PAGE_FRAMES = 16", "PART_FRAMES = 4096": "PART_FRAMES = 64", "LONG_FRAMES = 8192": "LONG_FRAMES = 64"}
    page = open_page("review", before=before, route=with_constants(sizes))
    on_stage(page, 1)
    page.wait_for_function("player.shown === 0")
    assert server.index_ranges[0] == (0, 16)
    assert max(end - start for start, end in server.index_ranges) <= 80, "never the whole index: at most a part that is played, and a frame"
    asked = len(server.index_ranges)
    steps = [("End", 239), ("ArrowLeft", 238), ("Home", 0), *(("Shift+ArrowRight", n) for n in (10, 20, 30)), ("ArrowRight", 31)]
    for key, frame in (*steps, ("ArrowRight", 32), ("ArrowRight", 33), ("ArrowLeft", 32), ("ArrowLeft", 31)):
        page.keyboard.press(key)
        page.wait_for_function("(frame) => player.shown === frame && barcode() === frame", arg=frame)
    page.wait_for_function("document.querySelectorAll('.ruler span').length > 3")
    page.keyboard.press("t")
    page.get_by_label("Frame, time or timecode in the source video").fill("55")
    page.keyboard.press("Enter")
    page.wait_for_function("player.shown === 55 && barcode() === 55")
    page.keyboard.press("5")  # four times as fast
    page.keyboard.press("Space")
    page.wait_for_function("player.playing && player.shown > 130 && player.shown < 200")
    page.keyboard.press("Space")
    page.wait_for_function("!player.playing && barcode() === player.shown && player.shown === player.frame")
    assert len(server.index_ranges) < asked + 40
    page.keyboard.press("s")
    all_saved(page)
    assert applied(server) == [("skip", (1,))]
