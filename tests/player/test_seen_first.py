"""Nothing is decided unseen: not before the clip's picture is there, and not over what a colleague has done meanwhile."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.player.player_server import Player
from tests.player.review_steps import APPROVED, PENDING, SKIPPED, Open, all_saved, applied, on_stage, states

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]


def told(page: Page, words: str) -> None:
    expect(page.locator(".toast").last).to_contain_text(words)


@pytest.mark.parametrize("before", ["", "delete window.VideoDecoder;"], ids=["webcodecs", "plain"])
def test_a_verdict_needs_a_picture_of_the_clip(open_page: Open, server: Player, before: str) -> None:
    held = "segment" if before else "media"
    server.faults.held.add(held)
    page = open_page("review", before=before)
    expect(page.locator(".stage-name")).to_have_text("Clip 1 of Barcode")
    for key in ("a", "s", "x", "k", "Delete", "."):
        page.keyboard.press(key)
    page.locator(".decision.approve").click()
    told(page, "Nothing was decided: the picture of clip 1 of Barcode is not here yet. N goes to the next clip.")
    assert page.evaluate("[review.state.log.length, review.state.preview]") == [0, None]
    page.keyboard.press("n")
    expect(page.locator(".stage-name")).to_have_text("Clip 2 of Barcode")
    page.keyboard.press("a")
    told(page, "the picture of clip 2")
    server.faults.held.discard(held)
    on_stage(page, 2)
    page.wait_for_function("player.shown === 40")
    page.keyboard.press("a")
    on_stage(page, 3)
    all_saved(page)
    assert applied(server) == [("approve", (2,))]


def test_the_cut_of_a_clip_that_was_seen_is_moved_and_decided_without_waiting_for_its_new_first_frame(
    open_page: Open, server: Player
) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("n")
    on_stage(page, 2)
    page.evaluate("player.clip.media.bytes.clear(); review.library.pictures.clear()")
    server.faults.held.add("media")
    page.keyboard.press("Shift+Period")
    page.keyboard.press("s")
    page.wait_for_function("review.state.log.length === 2")
    all_saved(page)
    assert [action for action, _clips in applied(server)] == ["move_cut_point", "skip"]


def test_a_clip_that_a_colleague_decided_meanwhile_is_left_by_the_next_key(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.review.archive("Ada", 1)
    told(page, "Ada has archived clip 1 of Barcode.")
    expect(page.locator(".head .state")).to_have_text("archived")
    page.keyboard.press("a")
    on_stage(page, 2)
    told(page, "Nothing was decided: Ada has archived clip 1 of Barcode. Here is the next clip.")
    page.keyboard.press("s")
    on_stage(page, 3)
    page.get_by_role("button", name="Back to that clip").click()
    on_stage(page, 1)
    page.keyboard.press("a")  # seen by now, and meant
    all_saved(page)
    assert applied(server) == [("archive", (1,)), ("skip", (2,)), ("approve", (1,))]


def test_the_last_clip_that_a_colleague_decided_stays_and_the_next_key_counts(open_page: Open, server: Player) -> None:
    server.review.approve("Ada", 2, 3, 4, 5, 6)
    page = open_page("review")
    on_stage(page, 1)
    server.review.skip("Ada", 1)
    told(page, "Ada has skipped clip 1")
    page.locator(".decision.approve").click()
    told(page, "Look again, then decide.")
    assert states(server)[1] == SKIPPED
    page.locator(".decision.approve").click()
    all_saved(page)
    assert states(server)[1] == APPROVED


def test_a_cut_that_a_colleague_moved_under_the_picture_is_looked_at_again_first(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    server.review.move("Ada", 40, 50)
    told(page, "Ada has moved a cut of clip 1 of Barcode: it has 50 frames now.")
    page.keyboard.press("a")
    told(page, "Look again, then decide.")
    assert states(server)[1] == PENDING
    page.keyboard.press("a")
    on_stage(page, 2)
    all_saved(page)
    assert states(server)[1] == APPROVED


def test_a_group_approves_nothing_that_was_put_aside(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    page.keyboard.press("x")
    on_stage(page, 2)
    page.keyboard.press("g")
    told(page, "Not grouped: clip 1 of Barcode was archived by you, and a group would approve it.")
    server.faults.held.add("sync")  # the page does not hear of it: the server refuses
    server.review.undo("tester")
    server.review.skip("Ada", 1)
    page.evaluate("review.dispatch({ type: 'clips_changed', answer: { clips: [{ ...review.state.clips[1], state: 'pending_review' }] } })")
    page.keyboard.press("g")
    expect(page.locator(".toast.taken-back")).to_contain_text("Taken back: grouped clip 2 of Barcode with the one before.")
    assert [states(server)[n] for n in (1, 2)] == [SKIPPED, PENDING]


def test_undo_and_redo_say_what_and_which_clip(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    last = page.locator(".last")
    page.keyboard.press("s")
    expect(last).to_have_text("Skipped clip 1 of Barcode")
    on_stage(page, 2)
    page.keyboard.press("Control+z")
    expect(last).to_have_text("Undid skipping clip 1 of Barcode")
    page.keyboard.press("Control+Shift+z")
    expect(last).to_have_text("Redid skipping clip 1 of Barcode")
    all_saved(page)
    page.reload()
    page.wait_for_function("window.ready")
    on_stage(page, 2)
    page.keyboard.press("Control+z")  # of an earlier page: the server says what it was
    expect(last).to_have_text("Undid skipping clip 1 of Barcode")
    on_stage(page, 1)
    server.review.approve("Ada", 1)
    server.faults.held.add("sync")
    page.keyboard.press("x")
    expect(page.locator(".toast.taken-back")).to_contain_text("Taken back: archived clip 1 of Barcode.")
    assert states(server)[1] == APPROVED
