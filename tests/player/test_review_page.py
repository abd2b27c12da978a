"""The review page in a real Chromium against the real review rules: what a reviewer does is decided once, in order, and shown at once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.player.player_server import Player
from tests.player.review_steps import (
    APPROVED,
    ARCHIVED,
    PENDING,
    SKIPPED,
    Open,
    all_saved,
    applied,
    edges,
    on_stage,
    states,
    with_constants,
)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]


def test_a_queue_is_reviewed_by_keyboard_alone(open_page: Open, server: Player) -> None:
    server.beside[1] = "to be measured"
    page = open_page("review")
    on_stage(page, 1)
    expect(page.locator(".state")).to_have_text(re.compile(r"\w · to be measured$"))
    for key, next_id in (("a", 2), ("s", 3), ("x", 4), ("a", 5), ("g", 6)):
        page.keyboard.press(key)
        on_stage(page, next_id)
    page.keyboard.press("a")
    expect(page.locator(".done")).to_contain_text("Nothing left to review here")
    all_saved(page)
    assert states(server) == {1: APPROVED, 2: SKIPPED, 3: ARCHIVED, 4: APPROVED, 5: APPROVED, 6: APPROVED}
    assert server.review.clips[5].grouped_with_clip_id == 4
    expect(page.locator(".progress-text")).to_contain_text("6 done · 0 left")


def test_the_next_clip_is_shown_without_waiting_for_the_server(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.held.add("decisions")
    page.evaluate(
        """async () => {
          window.dispatchEvent(new KeyboardEvent("keydown", { key: "a" }));
          while (!(player.shown === 40 && barcode() === 40)) await new Promise(requestAnimationFrame);
        }"""
    )
    expect(page.locator(".saved")).to_have_text("Saving 1 decision …")
    assert applied(server) == []
    server.faults.held.clear()
    all_saved(page)
    assert applied(server) == [("approve", (1,))]
    expect(page.locator(".last")).to_have_text("Approved clip 1 of Barcode")


def test_a_burst_a_reload_and_lost_answers_decide_each_clip_once_and_in_order(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.delay_seconds["decisions"] = 0.25
    server.faults.lost_answers = 2
    page.keyboard.press("a")
    page.wait_for_function("review.pending.length === 0")
    server.faults.lost_answers = 2
    server.faults.held.add("decisions")
    for clip_id, key in enumerate("sax", start=2):
        on_stage(page, clip_id)
        page.keyboard.press(key)
    assert len(page.evaluate("review.pending")) == 3
    page.reload()
    server.faults.held.clear()
    page.wait_for_function("window.ready")
    on_stage(page, 5)
    page.keyboard.press("s")
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("skip", (2,)), ("approve", (3,)), ("archive", (4,)), ("skip", (5,))]
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('heaters.outbox/')).length") == 0


def test_without_a_connection_decisions_are_kept_and_said_to_be(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.wait_for_function("review.library.pictures.has('1/full/40')")
    page.context.set_offline(True)
    page.keyboard.press("a")
    on_stage(page, 2)
    page.keyboard.press("a")
    expect(page.locator(".saved")).to_contain_text("No connection to the server. 2 decisions kept in this browser; trying again.")
    page.context.set_offline(False)
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("approve", (2,))]


def test_what_a_closed_tab_left_is_delivered_by_the_next(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.status["decisions"] = [503] * 9
    page.keyboard.press("s")
    page.wait_for_function("review.pending.length === 1")
    other = page.context.new_page()
    page.close()
    server.faults.status["decisions"] = []
    other.goto(f"{server.url}/page/review")
    other.wait_for_function("window.ready")
    all_saved(other)
    assert applied(server) == [("skip", (1,))]


def page_left_with_three_decisions(open_page: Open, server: Player) -> Page:
    """A document whose review page is gone before the server, which is held, has answered one of its three decisions."""
    page = open_page("review")
    on_stage(page, 1)
    server.faults.held.add("decisions")
    for clip_id, key in enumerate("asx", start=1):
        on_stage(page, clip_id)
        page.keyboard.press(key)
    assert page.evaluate("review.pending.length") == 3
    page.evaluate("review.close()")
    return page


def test_decisions_go_on_their_way_when_the_page_is_left(open_page: Open, server: Player) -> None:
    page = page_left_with_three_decisions(open_page, server)
    server.faults.held.clear()
    page.wait_for_function("!Object.keys(localStorage).some((name) => name.startsWith('heaters.outbox/'))")
    assert applied(server) == [("approve", (1,)), ("skip", (2,)), ("archive", (3,))]


def test_a_page_that_is_left_hands_what_it_has_not_delivered_to_the_next(open_page: Open, server: Player) -> None:
    page = page_left_with_three_decisions(open_page, server)
    page.evaluate(
        """async () => {
          window.review = new review.constructor({ root: document.getElementById("app"), config: review.config });
          window.player = review.player;
          await review.start();
        }"""
    )
    on_stage(page, 4)
    assert page.evaluate("review.pending.length") == 3
    server.faults.held.clear()
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("skip", (2,)), ("archive", (3,))]


def test_without_web_locks_a_reload_and_a_second_tab_lose_and_double_nothing(open_page: Open, server: Player) -> None:
    page = open_page("review", before="Object.defineProperty(navigator, 'locks', { value: undefined });")
    on_stage(page, 1)
    server.faults.status["decisions"] = [503] * 99
    page.keyboard.press("a")
    on_stage(page, 2)
    page.reload()
    page.wait_for_function("window.ready && review.pending.length === 1")
    on_stage(page, 2)
    other = page.context.new_page()
    other.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined });")
    other.goto(f"{server.url}/page/review")
    other.wait_for_function("window.ready")
    assert other.evaluate("review.pending.length") == 0, "the tab that lives keeps what is its own"
    page.keyboard.press("s")
    page.wait_for_function("review.pending.length === 2")
    server.faults.status["decisions"] = []
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("skip", (2,))]


def test_a_new_cut_and_decisions_on_both_halves_without_waiting(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.held.add("decisions")
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("player.shown === 15 && barcode() === 15")
    page.keyboard.press("k")
    page.wait_for_function("player.clip.end === 15 && barcode() === 14")
    page.keyboard.press("a")
    page.wait_for_function("player.clip.start === 15 && barcode() === 15")
    page.keyboard.press("x")
    on_stage(page, 2)
    assert edges(server)[:2] == [0, 40]
    server.faults.held.clear()
    all_saved(page)
    assert edges(server)[:3] == [0, 15, 40]
    made = server.review.live[:2]
    assert [clip.state for clip in made] == [APPROVED, ARCHIVED]
    assert [body["versions"] for body in server.decisions] == [{"1": 1}, {str(made[0].id): 1}, {str(made[1].id): 1}]


def test_nudges_in_a_row_are_one_move_and_the_cut_is_seen_before_it_is_made(open_page: Open, server: Player) -> None:
    page = open_page("review", route=with_constants({"NUDGE_PAUSE_MS = 800": "NUDGE_PAUSE_MS = 3000"}))  # the pictures may be slow
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    halves = "[...document.querySelectorAll('.pair canvas')].map((canvas) => [Number(canvas.dataset.frame), barcodeOf(canvas)])"
    page.wait_for_function(f"JSON.stringify({halves}) === '[[39,39],[40,40]]'")
    for key in (".", ".", "."):
        page.keyboard.press(key)
    page.wait_for_function(f"JSON.stringify({halves}) === '[[42,42],[43,43]]' && barcode() === 43")
    assert edges(server)[1] == 40, "nothing is decided while the cut moves"
    page.wait_for_function("review.state.preview === null")
    all_saved(page)
    assert [(body["action"], body.get("frame"), body.get("new_frame")) for body in server.decisions[1:]] == [("move_cut_point", 40, 43)]
    assert edges(server)[1] == 43
    page.keyboard.press("Shift+Comma")
    page.keyboard.press("s")
    all_saved(page)
    assert edges(server)[1] == 33, "a decision settles the move before it"
    assert states(server)[2] == SKIPPED


def test_a_nudged_cut_is_settled_where_it_is_when_the_other_cut_is_taken_in_hand(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    # At once: a nudged cut is decided after a pause.
    nudged = page.evaluate("""() => {
      for (const key of [".", "o", "."]) dispatchEvent(new KeyboardEvent("keydown", { key }));
      return [player.clip.start, review.state.preview.frame, review.state.preview.new_frame];
    }""")
    assert nudged == [41, 80, 81]
    cut, strip = page.locator(".cut[data-side=start]").bounding_box(), page.locator(".strip").bounding_box()
    assert cut is not None
    assert strip is not None
    pixels = strip["width"] / 88  # the clip's 40 frames and 24 on either side are in view
    page.mouse.move(cut["x"] + 9, cut["y"] + 40)
    page.mouse.down()
    page.mouse.move(cut["x"] + 9 + 10 * pixels, cut["y"] + 40, steps=3)
    page.mouse.up()
    all_saved(page)
    assert [(body.get("frame"), body.get("new_frame")) for body in server.decisions[1:]] == [(40, 41), (80, 81), (41, 51)]


def test_what_a_cut_is_and_which_frames_it_takes_is_said_by_keys_and_menu_and_taken_back(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    all_saved(page)
    ramp, menu = page.locator(".ramp").first, page.get_by_label("What this cut is")
    expect(ramp).to_be_hidden()
    expect(menu).to_have_value("")
    # At once: what is said is decided after a pause.
    shown = page.evaluate("""() => {
      for (const key of "uuujj") dispatchEvent(new KeyboardEvent("keydown", { key }));
      const [ramp, mark, caption] = [".ramp", ".cut[data-side=start] .mark", ".pair figcaption"].map((one) => document.querySelector(one));
      const wide = (one) => one.getBoundingClientRect().width;
      const parts = [wide(ramp) / wide(document.querySelector(".strip")), ramp.dataset.frames];
      return [...parts, mark.textContent, caption.textContent, review.pending.length];
    }""")
    assert shown == [pytest.approx(5 / 88, abs=0.002), "37-41", "dissolve · 62 %", "before · frame 36", 0], "88 frames are in view"
    expect(menu).to_have_value("dissolve")
    expect(ramp).to_be_visible()
    halves = "[...document.querySelectorAll('.pair canvas')].map((canvas) => [Number(canvas.dataset.frame), barcodeOf(canvas)])"
    page.wait_for_function(f"JSON.stringify({halves}) === '[[36,36],[42,42]]'")  # one shot alone on either side
    page.wait_for_function("review.state.preview === null")
    all_saved(page)
    said = [{name: body.get(name) for name in ("action", "frame", "kind", "first_frame", "last_frame")} for body in server.decisions[1:]]
    assert said == [{"action": "edit_cut", "frame": 40, "kind": "dissolve", "first_frame": 37, "last_frame": 41}]
    expect(page.locator(".last")).to_have_text("Set the cut of clip 2 of Barcode at frame 40 to dissolve, 5 frames")

    menu.select_option("fade")
    page.keyboard.press("s")  # settles it, and decides on the clip
    on_stage(page, 3)
    all_saved(page)
    assert [(body["action"], body.get("kind"), body.get("first_frame")) for body in server.decisions[2:]] == [
        ("edit_cut", "fade", 37),
        ("skip", None, None),
    ]
    for _ in range(3):
        page.keyboard.press("Control+z")
    on_stage(page, 2)
    expect(ramp).to_be_hidden()
    expect(menu).to_have_value("")
    all_saved(page)
    assert server.review.clips[2].transition is None

    page.keyboard.press("d")
    expect(menu).to_have_value("hard")
    page.keyboard.press("Escape")
    expect(menu).to_have_value("")
    assert page.evaluate("review.state.preview") is None
    assert server.decisions[-1]["action"] == "undo"


def test_a_cut_cannot_leave_its_neighbours(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("End")
    for _ in range(6):
        page.keyboard.press("Shift+Period")
    page.keyboard.press("Enter")
    page.wait_for_function("review.state.preview === null && review.pending.length === 0")
    assert edges(server)[1] == 79, "the next clip keeps a frame"
    page.keyboard.press("Home")
    page.keyboard.press("k")
    expect(page.locator(".toast").last).to_contain_text("The clip begins here already")


def test_a_cut_is_dragged_with_the_mouse(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    cut = page.locator(".cut[data-side=end]")
    box = cut.bounding_box()
    strip = page.locator(".strip").bounding_box()
    assert box is not None
    assert strip is not None
    pixels = strip["width"] / 64  # the clip's 40 frames and 24 of the next one are in view
    page.mouse.move(box["x"] + 9, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 9 - 3 * pixels, box["y"] + 40)
    page.mouse.move(box["x"] + 9 - 10 * pixels, box["y"] + 40, steps=3)
    page.wait_for_function("player.clip.end === 30 && barcode() === 29")
    page.mouse.up()
    all_saved(page)
    assert edges(server)[1] == 30
    assert len(server.decisions) == 1


def end_cut_in_hand(page: Page) -> tuple[float, float]:
    """Drag the end of clip 1 some frames back, with the button still down. Where the pointer took it, in pixels of the page."""
    box = page.locator(".cut[data-side=end]").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.wait_for_function("player.clip.end < 40")
    return x, y


def test_a_decision_while_a_cut_is_dragged_lets_go_of_it_and_of_the_next_clips_cut(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    x, y = end_cut_in_hand(page)
    moved = page.evaluate("player.clip.end")
    page.keyboard.press("a")
    on_stage(page, 2)
    page.mouse.move(x - 200, y, steps=4)
    page.mouse.up()
    page.wait_for_function("review.state.preview === null")
    all_saved(page)
    assert edges(server) == [0, moved, 80, 120, 160, 200]
    assert states(server)[1] == APPROVED


def test_escape_puts_a_cut_on_the_move_back(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    x, y = end_cut_in_hand(page)
    page.keyboard.press("Escape")
    page.wait_for_function("player.clip.end === 40 && barcode() === 39")
    page.mouse.move(x - 200, y, steps=4)
    page.mouse.up()
    assert page.evaluate("player.clip.end") == 40, "the mouse has let go of it"
    nudged = page.evaluate("""() => {
      const seen = [];
      for (const key of [".", ".", "Escape", "Escape"]) {  // at once: a nudged cut is decided after a pause
        const kept = dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
        seen.push([player.clip.end, kept]);
      }
      return seen;
    }""")
    assert nudged == [[41, False], [42, False], [40, False], [40, True]], "Escape stays the browser's where no cut is on the move"
    page.keyboard.press("s")
    on_stage(page, 2)
    all_saved(page)
    assert [decision["action"] for decision in server.decisions] == ["skip"]
    assert edges(server)[1] == 40


def test_removing_a_cut_joins_the_clips_and_undo_parts_them_again(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("End")
    page.wait_for_function("barcode() === 39")
    page.keyboard.press("Delete")
    page.wait_for_function("player.clip.end === 80 && barcode() === 39")
    page.keyboard.press("Control+z")
    page.wait_for_function("player.clip.end === 40")
    all_saved(page)
    assert edges(server)[:3] == [0, 40, 80]
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function("player.clip.end === 80")
    all_saved(page)
    assert edges(server)[:2] == [0, 80]


def test_a_focused_cut_is_a_slider_that_delete_removes(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    end = page.locator(".cut[data-side=end]")
    for name, value in (("min", "41"), ("max", "119"), ("now", "80")):
        expect(end).to_have_attribute(f"aria-value{name}", value)
    page.locator(".cut[data-side=start]").focus()
    page.keyboard.press("Tab")
    expect(end).to_be_focused()
    page.keyboard.press("o")  # marks the other one
    page.keyboard.press("ArrowLeft")
    expect(end).to_have_attribute("aria-valuenow", "79")
    page.keyboard.press("o")
    page.keyboard.press("Delete")
    page.wait_for_function("player.clip.start === 40 && player.clip.end === 120")
    all_saved(page)
    assert [(body["action"], body["frame"]) for body in server.decisions[1:]] == [("move_cut_point", 80), ("remove_cut_point", 79)]


def test_undo_goes_back_to_any_depth_and_across_a_reload(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    undo, redo = page.locator(".decision.undo"), page.locator(".decision.redo")
    expect(undo).to_be_disabled()
    expect(redo).to_be_disabled()
    for key, next_id in (("a", 2), ("x", 3)):
        page.keyboard.press(key)
        on_stage(page, next_id)
    expect(undo).to_be_enabled()
    expect(redo).to_be_disabled()
    all_saved(page)
    page.keyboard.press("Control+z")
    on_stage(page, 2)
    expect(redo).to_be_enabled()
    all_saved(page)
    assert states(server)[2] == PENDING
    page.reload()
    page.wait_for_function("window.ready")
    page.keyboard.press("Control+z")
    on_stage(page, 1)
    all_saved(page)
    assert states(server)[1] == PENDING
    page.keyboard.press("Control+z")
    expect(page.locator(".toast")).to_contain_text("nothing to undo")
    page.reload()
    page.wait_for_function("window.ready")
    page.locator(".decision.redo").click()
    all_saved(page)
    assert states(server)[1] == APPROVED


def test_nothing_is_decided_before_the_clip_of_an_earlier_pages_undo_is_there(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("s")
    all_saved(page)
    page.reload()
    page.wait_for_function("window.ready")
    on_stage(page, 2)
    server.faults.held.add("decisions")
    page.keyboard.press("Control+z")
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("on its way to the stage")
    server.faults.held.clear()
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    all_saved(page)
    assert states(server)[1] == APPROVED
    assert states(server)[2] == PENDING


def test_an_undo_that_finds_nothing_does_not_say_that_something_was_taken_back(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("Control+z")
    expect(page.locator(".toast")).to_contain_text("Not undone: nothing to undo")
    expect(page.locator(".last")).to_have_text("Not undone")


def test_filmstrip_and_cut_view_fill_once_the_proxy_is_back(open_page: Open, server: Player) -> None:
    server.faults.status["media"] = [404] * 400
    page = open_page("review")
    expect(page.locator(".problem")).to_have_text("The proxy of this video is missing in the store. Trying again by itself.")
    server.faults.status["media"] = []
    on_stage(page, 1)
    page.wait_for_function("barcodeOf(document.querySelector('.pair canvas')) === 39")
    film = """() => {
      const canvas = document.querySelector('.film');
      const { data } = canvas.getContext('2d').getImageData(0, canvas.height / 2, canvas.width, 1);
      return data.every((value, place) => place % 4 !== 3 || value === 255);
    }"""
    page.wait_for_function(film)


def test_pictures_of_the_clip_before_do_not_stay_under_the_next_ones_captions(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.wait_for_function("barcodeOf(document.querySelector('.pair canvas')) === 39")
    shades = """[...document.querySelectorAll('.pair canvas, .film')].map((canvas) => getComputedStyle(canvas).opacity).join()"""
    veiled = page.locator(".loading .film, .pair .loading")
    expect(veiled).to_have_count(0)  # before the shades: fading begins a while after the veil
    page.wait_for_function(f"{shades} === '1,1,1'")
    page.keyboard.press(".")
    assert veiled.count() == 0, "a cut that moves keeps its pictures"
    server.faults.status["media"] = [404] * 400
    page.evaluate("review.library.smallPictures.clear(); player.clip.media.bytes.clear()")  # nothing of the proxy is kept in the page
    page.evaluate("review.update({ ...review.config, open_clip_id: 5 })")
    expect(page.locator(".pair figcaption").first).to_contain_text("frame 159")
    page.wait_for_function(f"{shades} === '0,0,0'")
    server.faults.status["media"] = []
    page.wait_for_function("barcodeOf(document.querySelector('.pair canvas')) === 159")
    page.wait_for_function(f"{shades} === '1,1,1'")


def test_expired_links_are_asked_for_anew_once(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    # Nothing is on its way with the old link.
    page.wait_for_function("player.video.readyState >= 2 && player.clip.media.bytes.has(player.clip.media.index.bytes(200))")
    server.generation = server.faults.expired_before = 1
    page.evaluate("player.clip.media.refresh()")
    page.keyboard.press("ArrowRight")
    on_stage(page, 1)
    page.wait_for_function("player.shown === 1")
    assert page.evaluate("[player.clip.media.video.media_url, player.clip.media.bytes.url]") == ["/api/media?generation=1"] * 2
    page.keyboard.press("a")
    on_stage(page, 2)
    assert server.requests["video"] == 1


def test_a_clip_whose_video_no_queue_has_brought_is_shown_all_the_same(open_page: Open, server: Player) -> None:
    server.faults.without_videos = True
    page = open_page("review")
    on_stage(page, 1)
    assert server.requests["video"] == 1


def test_a_decision_on_a_clip_that_a_colleague_changed_is_taken_back_in_words(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.held.add("sync")
    server.review.add("Ada", 20)
    page.keyboard.press("a")
    on_stage(page, 2)
    expect(page.locator(".toast")).to_contain_text("Taken back: approved clip 1 of Barcode. Clip 1 was changed by Ada since you saw it.")
    expect(page.locator(".last")).to_have_text("Taken back: approved clip 1 of Barcode")
    assert states(server)[2] == PENDING
    page.keyboard.press("[")
    page.wait_for_function("player.clip.start === 20 && player.clip.end === 40")


def test_later_decisions_on_a_refused_one_are_taken_back_with_it(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.held.add("sync")
    server.faults.held.add("decisions")
    server.review.skip("Ada", 1)
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("k")
    page.wait_for_function("player.clip.end === 38 && player.shown === 37")
    page.keyboard.press("a")
    page.wait_for_function("player.clip.start === 38 && player.shown === 38")
    page.keyboard.press("a")
    on_stage(page, 2)
    page.keyboard.press("s")
    server.faults.held.clear()
    all_saved(page)
    expect(page.locator(".toast")).to_contain_text("2 decisions that rested on it were taken back too.")
    assert states(server)[1] == SKIPPED
    assert states(server)[2] == SKIPPED, "a decision on another clip stands"
    assert edges(server)[1] == 40


def test_a_colleagues_changes_and_leases_arrive_by_themselves(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.review.approve("Ada", 2)
    expect(page.locator(".neighbour.after")).to_contain_text("approved")
    server.leased_to_others[1] = "Ada"
    expect(page.locator(".toast")).to_contain_text("Ada is on that clip now")
    on_stage(page, 3)


def held(page: Page) -> list[int]:
    """Clips that the page asks to keep leased the next time."""
    with page.expect_request("**/api/sync") as request:
        pass
    hold: list[int] = request.value.post_data_json["hold"]
    return hold


def test_a_forgotten_tab_gives_its_clips_back_and_takes_them_again(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    assert held(page) == [1, 2, 3, 4, 5, 6]
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 6 * 60_000; }")
    assert held(page) == []
    with page.expect_request(lambda request: "/api/sync" in request.url and request.post_data_json["hold"] == [1, 2, 3, 4, 5, 6]):
        page.mouse.move(200, 200)
    assert held(page) == [1, 2, 3, 4, 5, 6]


def test_a_clip_opened_by_its_link_stays_though_a_colleague_has_it(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.leased_to_others[3] = server.leased_to_others[4] = "Ada"
    page.evaluate("review.update({ ...review.config, open_clip_id: 3 })")
    on_stage(page, 3)
    expect(page.locator(".toast")).to_contain_text("Ada is on this clip too.")
    assert 3 in held(page)
    assert 3 in held(page)
    on_stage(page, 3)
    page.evaluate("review.update({ ...review.config, open_clip_id: 4 })")
    on_stage(page, 4)


def test_clips_that_a_colleague_gives_back_follow_without_the_page_saying_that_nothing_is_left(open_page: Open, server: Player) -> None:
    server.leased_to_others |= dict.fromkeys((2, 3, 4, 5, 6), "Ada")
    page = open_page("review")
    on_stage(page, 1)
    page.wait_for_function("review.state.exhausted")
    server.faults.held.add("sync")
    server.leased_to_others.clear()
    page.evaluate(
        """() => {
          window.said = [];
          new MutationObserver(() => said.push(document.querySelector(".done h2").textContent))
            .observe(document.querySelector(".done"), { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.keyboard.press("a")
    on_stage(page, 2)
    assert page.evaluate("said.filter((words) => words.startsWith('Nothing left'))") == []


def test_letters_in_a_field_a_held_key_and_a_double_click_decide_nothing_more(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.locator("#field").focus()
    page.keyboard.type("axsk")
    assert page.evaluate("review.state.log.length") == 0
    page.locator("#field").blur()
    page.locator(".decision.approve").dblclick()
    on_stage(page, 2)
    page.keyboard.down("s")
    page.keyboard.down("s")
    page.keyboard.up("s")
    on_stage(page, 3)
    page.keyboard.press("r")
    page.keyboard.press("c")
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("skip", (2,))]


def test_a_double_click_on_remove_removes_one_cut(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("a")
    on_stage(page, 2)
    page.locator(".boundary .remove").dblclick()
    page.wait_for_function("player.clip.start === 0")
    all_saved(page)
    assert edges(server)[:2] == [0, 80]
    assert [body["action"] for body in server.decisions] == ["approve", "remove_cut_point"]


def test_a_button_that_the_keyboard_has_reached_is_pressed_and_keeps_the_focus(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    approve = page.locator(".decision.approve")
    while not approve.evaluate("(button) => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    on_stage(page, 2)
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # held
    page.keyboard.up("Enter")
    on_stage(page, 3)
    expect(approve).to_be_focused()
    all_saved(page)
    assert applied(server) == [("approve", (1,)), ("approve", (2,))]
    assert not page.evaluate("player.playing")


def test_space_plays_after_a_click_on_a_button(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.get_by_label("Speed 0.5").click()
    page.keyboard.press("ArrowRight")  # a key makes the focus of a clicked button visible
    page.keyboard.press("Space")
    page.wait_for_function("player.playing")
    page.locator(".foot button").click()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.help")).to_be_hidden()
    page.keyboard.press("Space")
    page.wait_for_function("!player.playing")


def test_the_pages_own_buttons_and_sliders_keep_their_keys(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.evaluate(
        """document.body.insertAdjacentHTML("afterbegin", `<button id="filters" onclick="window.pressed = true">Filters</button>
             <div id="slider" role="slider" tabindex="0" style="height:9px"></div>`)"""
    )
    page.keyboard.press("Tab")
    expect(page.locator("#filters")).to_be_focused()
    page.keyboard.press("Space")
    page.wait_for_function("window.pressed")
    page.keyboard.press("Tab")
    expect(page.locator("#slider")).to_be_focused()
    for key in ("a", "Delete", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate("[review.state.log.length, player.frame, player.playing]") == [0, 0, False]


def test_no_key_decides_while_a_popover_of_the_page_is_open(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<button id=pop aria-haspopup=dialog aria-expanded=true>Filters</button>')"
    )
    page.locator("#pop").focus()
    page.keyboard.press("a")
    assert page.evaluate("review.state.log.length") == 0
    page.locator("#pop").evaluate("(button) => button.setAttribute('aria-expanded', 'false')")
    page.keyboard.press("a")
    on_stage(page, 2)


def test_a_title_with_markup_stays_text_and_a_link_cannot_run(open_page: Open, server: Player) -> None:
    server.title = "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"
    page = open_page("review")
    on_stage(page, 1)
    expect(page.locator(".title")).to_have_text(server.title)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".links a").evaluate_all("links => links.map((link) => link.textContent)") == ["Dagster"]


def test_the_help_shows_every_key_and_stops_the_others(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("?")
    dialog = page.locator("dialog.help")
    expect(dialog).to_be_visible()
    for words in ("Approve", "Ctrl+Shift+Z", "Remove the marked cut", "Shift+."):
        expect(dialog).to_contain_text(words)
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("review.state.log.length") == 0


def test_a_refused_token_keeps_the_decisions_until_there_is_a_fresh_one(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.evaluate("review.api.onSignedOut = () => { window.signedOut = true; }")
    server.faults.status["decisions"] = [401] * 99
    page.keyboard.press("a")
    on_stage(page, 2)
    expect(page.locator(".saved")).to_contain_text("You are signed out.")
    assert page.evaluate("window.signedOut")
    server.faults.status["decisions"] = []
    page.evaluate("review.update({ ...review.config, token: 'fresh' })")
    all_saved(page)
    assert applied(server) == [("approve", (1,))]


def test_speed_loop_and_sound_stay_as_the_reviewer_left_them(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    for key in ("4", "l", "m"):
        page.keyboard.press(key)
    page.reload()
    page.wait_for_function("window.ready")
    assert page.evaluate("[player.rate, player.loop, player.video.muted]") == [2, False, True]
    expect(page.get_by_label("Speed 2")).to_have_attribute("aria-pressed", "true")


def test_everything_works_without_webcodecs(open_page: Open, server: Player) -> None:
    page = open_page("review", before="delete window.VideoDecoder;")
    on_stage(page, 1)
    expect(page.locator(".engine")).to_have_text("Plain video player")
    halves = "[...document.querySelectorAll('.pair canvas')].map((canvas) => barcodeOf(canvas))"
    page.wait_for_function(f"JSON.stringify({halves}) === '[39,40]'")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("player.shown === 1 && barcode() === 1")
    page.keyboard.press("k")
    page.wait_for_function("player.clip.end === 1 && player.shown === 0 && barcode() === 0")
    page.keyboard.press("a")
    page.wait_for_function("player.clip.start === 1 && player.shown === 1 && barcode() === 1")
    page.keyboard.press("a")
    on_stage(page, 2)
    all_saved(page)
    assert edges(server)[:3] == [0, 1, 40]
    assert server.requests["still"] > 2
    assert server.requests["media"] == 0


def test_another_queue_and_a_fresh_token_are_taken_over_without_a_reload(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.review.approve("Ada", 1)
    page.evaluate("review.update({ ...review.config, queue_url: '/api/queue?text=x', token: 'fresh' })")
    on_stage(page, 2)
    page.evaluate("review.update({ ...review.config, open_clip_id: 4 })")
    on_stage(page, 4)


def test_a_clip_opened_by_its_link_comes_though_the_first_answer_fails(open_page: Open, server: Player) -> None:
    server.faults.status["queue"] = [503]
    page = open_page("review", query="?clip=4")
    on_stage(page, 4)


def test_a_queue_that_cannot_be_loaded_leaves_no_clip_of_the_one_before_on_the_stage(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.faults.status["queue"] = [503]
    page.evaluate("review.update({ ...review.config, queue_url: '/api/queue?text=x', open_clip_id: 3 })")
    expect(page.locator(".done")).to_contain_text("The queue cannot be loaded")
    on_stage(page, 3)
