"""For everybody: axe-core finds nothing on any page, empty and filled, in both themes; buttons say what they do; keyboard; a phone."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from heaters_dagster.domain.keys import final_clip_key
from heaters_dagster.domain.stages import EXPORTS
from resources.postgres.clip_store import MadeObject
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import clips
from resources.sources.site_access import SiteAccess
from tests.accessibility import found_by_axe, undescribed_buttons
from tests.chromium import WAIT_MS
from tests.review.conftest import App, becomes_true, soon

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]

#: Path -> an element that is there once the page has drawn itself.
EMPTY = {
    "/": ".done h2",
    "/clips": ".stAlert",
    "/videos": ".stAlert",
    "/history": ".stAlert",
    "/search": ".stAlert",
    "/partitions": ".stAlert",
    "/sites": ".stAlert",
    "/status": ".heaters-status",
}
FILLED = {
    "/": ".stage canvas[data-frame]",
    "/clips": "figure .state",
    "/videos": ".heaters-exports",
    "/history": "tbody tr",
    "/search": "[data-testid=stTextInput]",
    "/partitions": ".heaters-exports",
    "/sites": "[class*=st-key-forget-] button",
    "/status": ".heaters-status",
}

#: Whether a click in the middle of an element goes to something else.
BELOW = """(one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return !one.contains(document.elementFromPoint(x + width / 2, y + height / 2));
}"""
BESIDE_BUTTONS = """(column) => {
  const boxes = [...column.querySelectorAll("a, button")].map((one) => one.getBoundingClientRect());
  const ends = boxes.filter((box) => box.width).map((box) => box.right);
  return column.getBoundingClientRect().right - Math.max(...ends);
}"""


#: Whether the page is light, and the colours of all that is on it.
COLOURS = """() => {
  const [red, green, blue] = getComputedStyle(document.querySelector(".stApp")).backgroundColor.match(/[0-9.]+/g).map(Number);
  const of = (one) => `${getComputedStyle(one).color} on ${getComputedStyle(one).backgroundColor}`;
  return [red + green + blue > 382 ? "light" : "dark", [...document.querySelectorAll(".stApp *")].map(of).join()];
}"""


def wait_for_theme(page: Page, theme: str) -> None:
    """Until the page has the theme and its colours stand still: on a busy machine they come one after the other."""
    before: list[list[str]] = [[]]

    def stands_still() -> bool:
        now = page.evaluate(COLOURS)
        before.append(now)
        return bool(now[0] == theme and before[-2] == now)

    soon(stands_still)


def in_both_themes(page: Page) -> list[str]:
    found = [f"{page.url.rpartition('/')[2] or 'review'}: {line}" for line in undescribed_buttons(page)]
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        wait_for_theme(page, theme)
        found += [f"{page.url.rpartition('/')[2] or 'review'}, {theme}: {line}" for line in found_by_axe(page)]
    return found


def behind_buttons(page: Page, path: str) -> list[str]:
    """Undescribed buttons in the menus, dialogs and popovers that a page opens."""
    found = []
    if path == "/":
        page.keyboard.press("t")
        found += undescribed_buttons(page)
        page.keyboard.press("Escape")
    openers = {
        "/": [".foot button.quiet", ".st-key-filters button"],
        "/clips": [".bar button.help"],
        "/videos": ["[class*=st-key-edit-] button"],
    }
    for opener in [*openers.get(path, []), ".st-key-who button"]:
        page.locator(opener).first.click()
        page.locator("dialog[open], [data-testid=stPopoverBody]").first.wait_for()
        page.wait_for_timeout(300)
        found += undescribed_buttons(page)
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open], [data-testid=stPopoverBody]")).to_have_count(0)
    page.mouse.move(0, 0)  # a tooltip that is open is no part of the page that axe-core looks at
    page.wait_for_timeout(300)
    return found


def test_axe_finds_nothing_and_every_button_says_what_it_does_on_pages_with_clips(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(20, 40, 60, 80, title="Harbour")
    for clip, decide in zip(app.live(video), (app.reviews.approve, app.reviews.skip, app.reviews.archive), strict=False):
        decide(clip.id, reviewer="Ada")
    clip = app.live(video)[0]
    key = final_clip_key(video.id, clip.sequence)
    claimed = app.clips.claim(clip.id, EXPORTS, [key])
    assert claimed is not None
    stored = app.objects.put_bytes(key, app.proxy.read_bytes())
    app.clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, stored.byte_size, {})])
    cookies = "# Netscape HTTP Cookie File\n.vimeo.com\tTRUE\t/\tTRUE\t1\tsession\tended\n.vimeo.com\tTRUE\t/\tTRUE\t0\tuser\tada\n"
    access = SiteAccess(app.database, app.settings)
    access.sign_in("vimeo.com", cookies, by="Ada")
    access.set_headers("example.org", ["X-Key: 1"], by="Ada")
    drawn = io.BytesIO()
    Image.new("RGB", (32, 18), "red").save(drawn, "PNG")
    SourceVideoStore(app.database).update(video.id, original_filepath=f"originals/video_{video.id}.mp4")
    found = []
    page = visit(f"/?video={video.id}")
    for path, shown in FILLED.items():
        if path != "/":
            page.goto(f"{app.server.url}{path}" + (f"?video={video.id}" if path in {"/", "/clips", "/videos"} else ""))
        if path == "/videos":
            page.get_by_text("Exports").click()
            page.get_by_text("Facts", exact=True).click()
            page.get_by_text("Change the facts").click()
            page.get_by_role("button", name="Save the facts").click()
            told = page.get_by_text("Nothing was changed.")
            told.wait_for()
            assert page.locator(".stMainBlockContainer").evaluate("one => getComputedStyle(one).paddingLeft") == "24px", "the page's style"
            assert page.get_by_test_id("stToast").evaluate(BELOW), "what lies below can be pressed"
            buttons = page.locator(f".st-key-video-{video.id} .stColumn").nth(2)
            assert buttons.evaluate(BESIDE_BUTTONS) < 40, "pixels without anything at the right"
            page.keyboard.press("Tab")
            link = buttons.get_by_role("link", name="Clips")
            link.focus()
            assert link.evaluate("one => getComputedStyle(one).outlineStyle") == "solid", "one sees where the keyboard is"
            page.get_by_test_id("stToast").get_by_role("button").click()  # Streamlit's own box, without a name
            told.wait_for(state="hidden")
            page.get_by_text("Change subtitles and thumbnail").click()
            page.locator(f".st-key-given-picture-{video.id}-0 input[type=file]").set_input_files(
                {"name": "still.png", "mimeType": "image/png", "buffer": drawn.getvalue()}
            )
            page.get_by_role("button", name="Save the thumbnail").click()
            told = page.get_by_text("The thumbnail is saved")
            told.wait_for()
            assert page.get_by_alt_text("Thumbnail").evaluate("async one => { await one.decode(); return one.naturalWidth }") == 32
            page.get_by_test_id("stToast").get_by_role("button").click()
            told.wait_for(state="hidden")
            page.get_by_text("Change subtitles and thumbnail").click()  # closed: Streamlit's own box for files has a role that axe refuses
            expect(page.get_by_role("button", name="Save the thumbnail")).to_have_count(0)
        page.locator(shown).first.wait_for()
        found += behind_buttons(page, path)
        found += in_both_themes(page)
    assert not found, "\n".join(found)


def test_axe_finds_nothing_and_every_button_says_what_it_does_on_empty_pages_and_where_a_name_is_chosen(
    app: App, chromium: Browser, tmp_path: Path
) -> None:
    with app.beside(tmp_path) as url:
        page = chromium.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(url)
        page.get_by_label("Your name").wait_for()
        found = in_both_themes(page)
        page.get_by_label("Your name").fill("Ada")
        page.get_by_role("button", name="Start").click()
        page.locator(".st-key-top").wait_for()
        for path, shown in EMPTY.items():
            if path != "/":
                page.goto(f"{url}{path}")
            page.locator(shown).first.wait_for()
            found += in_both_themes(page)
        page.close()
    assert not found, "\n".join(found)


def test_the_filters_are_used_by_keyboard_alone(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80, title="Filtered")
    page = visit(f"/?video={video.id}")
    expect(page.locator(".stage canvas")).to_have_attribute("data-frame", "0")
    page.keyboard.press("/")
    field = page.locator(".st-key-review-text input")
    expect(field).to_be_focused()
    page.keyboard.type("filtered")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("text=filtered"))
    expect(page.get_by_role("button", name="Filters (2)")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("[data-testid=stPopoverBody]")).to_have_count(0)
    expect(page.locator(".st-key-filters button:visible")).to_be_focused()
    assert app.applied(video) == []
    page.keyboard.press("Enter")
    becomes_true(page, "document.querySelector('[data-testid=stPopoverBody]')?.contains(document.activeElement)")
    page.goto(f"{app.server.url}/clips")
    page.locator("figure").first.wait_for()
    page.keyboard.press("/")
    expect(page.locator(".st-key-clips-text input")).to_be_focused()


def test_on_a_phone_picture_and_timeline_are_on_one_screen_and_buttons_are_big_enough(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 48, title="Pocket")
    with app.database.begin() as connection:
        after_a_cut = (clips.c.source_video_id == video.id) & (clips.c.start_frame > 0)
        connection.execute(update(clips).where(after_a_cut).values(confidence=0.9, cut_kind="dissolve"))
    page = visit(f"/?video={video.id}")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".stage canvas")).to_have_attribute("data-frame", "0")
    boxes = {name: page.locator(name).bounding_box() for name in (".stage", ".timeline .strip", ".decision.skip")}
    stage, strip, skip = (boxes[name] or {} for name in boxes)
    assert stage["y"] >= 0
    assert stage["height"] > 150
    assert stage["y"] + stage["height"] <= strip["y"]
    assert strip["y"] + strip["height"] <= 844
    assert skip["height"] >= 44
    small = page.locator(".review button:visible:not(.neighbour)").evaluate_all(
        "(all) => all.filter((one) => one.offsetHeight < 44 || one.offsetWidth < 44).map((one) => one.outerHTML.slice(0, 90))"
    )
    assert small == []
    in_rows = [page.get_by_role("button", name=name, exact=True).bounding_box() or {} for name in ("Loop", "Sound", "Full screen")]
    assert len({box["y"] for box in in_rows}) == 1, "none of the buttons stands alone in a row"
    expect(page.locator(".review kbd:visible")).to_have_count(0)
    page.set_viewport_size({"width": 360, "height": 740})
    inside = "(all) => all.map((one) => [one.textContent || one.ariaLabel, one.getBoundingClientRect().right])"
    for of_page in (".transport:visible", ".cut .mark:visible"):
        ends = page.locator(of_page).evaluate_all(inside)
        assert ends
        assert max(end for _, end in ends) <= 336, f"all of it is on the page, on a narrow phone too: {ends}"
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Next clip, without deciding").click()
    other = page.locator(".boundary .other")
    expect(other).to_be_visible()
    button, pictures = other.bounding_box() or {}, page.locator(".boundary .pair").bounding_box() or {}
    assert button["y"] + button["height"] <= pictures["y"], "the button for the other cut stands above the pictures, not on them"
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator(".cut.lower")).to_have_count(1)
    marks = [box for mark in page.locator(".cut .mark:visible").all() if (box := mark.bounding_box())]
    first, second = sorted(marks, key=lambda box: box["y"])
    assert first["y"] + first["height"] <= second["y"], (
        "the words of two cuts do not lie on each other, where there is room for one beside them"
    )
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for path in ("", "/videos", "/history"):
        if path:
            page.goto(f"{app.server.url}{path}")
        menu = page.locator(".st-key-who button:visible")
        expect(menu).to_have_accessible_name("Ada")
        end = menu.evaluate("one => one.getBoundingClientRect().right")
        assert end <= 390, f"{path}: the menu is on the screen"
        open_page = page.locator(".st-key-top [data-testid=stPageLink] a").first.bounding_box() or {}
        assert open_page["height"] >= 36, f"{path}: the mark of the open page is as high as its icon"
        bar = page.locator(".st-key-top").bounding_box() or {}
        assert bar["y"] == 0, f"{path}: nothing stands above the bar"
        assert page.locator(".stMain").evaluate("one => one.scrollWidth - one.clientWidth") <= 0, f"{path} is as wide as the screen"


def test_where_a_name_is_chosen_one_can_type_at_once(app: App, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(app.server.url)
    expect(page.get_by_role("heading", name="Heaters")).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_focused()
    page.close()
