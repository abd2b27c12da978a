"""The grid of clips in a browser: all that match are decided as one, and every key that the help names works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from heaters_dagster.domain.states import ClipState
from tests.review.conftest import FRAMES, App, becomes_true, soon

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]

PENDING, APPROVED, SKIPPED, ARCHIVED = (
    ClipState.PENDING_REVIEW,
    ClipState.REVIEW_APPROVED,
    ClipState.REVIEW_SKIPPED,
    ClipState.REVIEW_ARCHIVED,
)


def test_all_that_match_are_selected_decided_and_taken_back_with_a_colleague_in_between(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(*range(1, FRAMES), title="Everything")
    clips = app.live(video)
    page = visit(f"/clips?video={video.id}&state=pending_review")
    expect(page.locator("figure")).to_have_count(60)
    expect(page.locator(".count")).to_have_text("120 match. Select all, or tick clips; Shift ticks a range")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or "") if request.url.endswith("/api/decisions") else None)
    page.get_by_role("button", name="Select all 120 that match").click()
    expect(page.locator(".count")).to_have_text("All 120 that match selected")
    expect(page.locator("figure.selected")).to_have_count(60)
    app.reviews.archive(clips[100].id, reviewer="Bob")
    page.locator(".bar button.approve").click()
    expect(page.locator(".said")).to_contain_text(
        "119 clips approved. 1 clip was changed after you selected it, so it stays as it is: clip 101 of Everything"
    )
    expect(page.locator(".said")).to_contain_text("last by Bob: its state is now archived")
    assert app.states(video) == [*[APPROVED] * 100, ARCHIVED, *[APPROVED] * 19]
    assert [(who, what, len(ids)) for who, what, ids in app.applied(video)] == [("Bob", "archive", 1), ("Ada", "approve", 119)]
    assert len(sent) == 1
    assert len(sent[0]) < 1000, "no list of clips travels"
    expect(page.locator("figure")).to_have_count(0)
    page.locator(".bar").get_by_role("button", name="Undo").click()
    expect(page.locator(".said")).to_have_text("Taken back.")
    assert app.states(video) == [*[PENDING] * 100, ARCHIVED, *[PENDING] * 19]
    expect(page.locator(".count")).to_have_text("119 match. Select all, or tick clips; Shift ticks a range")


def test_decisions_survive_an_outage_a_reload_and_a_closed_tab_and_are_made_once(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(20, 40, 60, 80, title="Kept")
    ids = [clip.id for clip in app.live(video)]
    address = f"/clips?video={video.id}"
    page = visit(address)
    kept = "Object.keys(localStorage).filter((name) => name.startsWith('heaters.grid/')).length"
    skips, said = page.locator(".bar button.skip"), page.locator(".said")

    def select(*places: int) -> None:
        for place in places:
            page.locator("figure input").nth(place).click()
        expect(skips).to_be_enabled()

    select(0, 1)
    app.server.kill()
    skips.click()
    expect(said).to_have_text("No connection to the server. It is kept in this browser; trying again …")
    expect(skips).to_be_disabled()
    app.server.start()
    soon(lambda: app.states(video) == [SKIPPED, SKIPPED, PENDING, PENDING, PENDING])
    becomes_true(page, f"{kept} === 0")

    page.reload()
    page.route("**/api/decisions", lambda route: route.abort())
    select(2)
    skips.click()
    expect(said).to_contain_text("It is kept in this browser")
    page.reload()
    expect(said).to_contain_text("It is kept in this browser")
    assert page.evaluate(kept) == 1
    page.unroute("**/api/decisions")
    expect(said).to_have_text("1 clip skipped.")

    page.route("**/api/decisions", lambda route: route.abort())
    select(3, 4)
    skips.click()
    expect(said).to_contain_text("It is kept in this browser")
    page.close()
    other = visit(address)
    expect(other.locator(".said")).to_have_text("2 clips skipped.")
    assert app.applied(video) == [("Ada", "skip", tuple(some)) for some in (ids[:2], ids[2:3], ids[3:])]
    other.locator(".bar").get_by_role("button", name="Undo").click()
    expect(other.locator(".said")).to_have_text("Taken back.")
    assert app.states(video) == [SKIPPED, SKIPPED, SKIPPED, PENDING, PENDING]


def test_whoever_ticks_a_box_means_the_boxes(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(*range(1, 70), title="Boxes")
    page = visit(f"/clips?video={video.id}")
    page.get_by_role("button", name="Select all 70 that match").click()
    expect(page.locator(".count")).to_have_text("All 70 that match selected")
    page.get_by_role("button", name="More").click()
    expect(page.locator("figure")).to_have_count(10)
    expect(page.locator("figure.selected")).to_have_count(10)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0, "the next page begins at its top"
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.locator("figure")).to_have_count(60)
    page.locator("figure input").nth(0).click()
    expect(page.locator(".count")).to_have_text("59 of 70 selected")
    page.locator(".bar button.skip").click()
    expect(page.locator(".said")).to_have_text("59 clips skipped.")
    assert app.states(video) == [PENDING, *[SKIPPED] * 59, *[PENDING] * 10]


def test_the_grid_is_used_by_keyboard_alone(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(*range(10, 100, 10), title="Keyboard")
    clips = app.live(video)
    page = visit(f"/clips?video={video.id}")
    focused = page.locator("figure a.picture:focus")
    count = page.locator(".count")
    expect(page.locator("figure")).to_have_count(10)
    expect(page.get_by_role("button", name="Keys")).to_be_enabled()
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-label", "Open Keyboard clip 1")
    columns = page.evaluate(
        """() => {
            const root = [...document.querySelectorAll('*')].map((one) => one.shadowRoot).find((root) => root?.querySelector('figure'));
            const tops = [...(root ?? document).querySelectorAll('figure')].map((one) => Math.round(one.getBoundingClientRect().top));
            return tops.filter((top) => top === tops[0]).length;
        }"""
    )
    assert 1 < columns < 10
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("aria-label", f"Open Keyboard clip {columns + 1}")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    expect(count).to_have_text("1 of 10 selected")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowRight")
    expect(count).to_have_text("4 of 10 selected")
    page.keyboard.press("Shift+ArrowLeft")
    expect(count).to_have_text("3 of 10 selected")
    page.keyboard.press("s")
    expect(page.locator(".said")).to_have_text("3 clips skipped.")
    assert app.states(video) == [SKIPPED, PENDING, SKIPPED, SKIPPED, *[PENDING] * 6]
    expect(page.locator("figure .state").nth(3)).to_have_text("skipped")
    expect(focused).to_have_attribute("aria-label", "Open Keyboard clip 4")
    page.keyboard.press("a")
    expect(page.locator(".said")).to_have_text("1 clip approved.")
    page.keyboard.press("Control+z")
    expect(page.locator(".said")).to_have_text("Taken back.")
    assert app.states(video) == [SKIPPED, PENDING, SKIPPED, SKIPPED, *[PENDING] * 6]
    page.keyboard.press("Control+a")
    expect(count).to_have_text("10 of 10 selected")
    page.keyboard.press("Escape")
    expect(count).to_have_text("10 match. Select all, or tick clips; Shift ticks a range")
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    expect(help_).to_be_visible()
    for words in ("Select on to the next clip", "Open the clip in Review", "Skip: not these"):
        expect(help_).to_contain_text(words)
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(help_).to_be_hidden()
    page.locator(".st-key-clips-text input").focus()
    page.keyboard.type("ax")
    assert app.states(video) == [SKIPPED, PENDING, SKIPPED, SKIPPED, *[PENDING] * 6], "letters in a field are letters"
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.locator("figure a.picture").nth(1).focus()
    page.keyboard.press("Enter")
    page.locator(".stage canvas[data-frame='10']").wait_for()
    assert page.url.endswith(f"clip={clips[1].id}")
