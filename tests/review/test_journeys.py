"""What reviewers do, in real Chromiums against the served app on real Postgres: decisions count once, in order, and are seen by others."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Download, Page, Route, TimeoutError, expect

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.keys import final_clip_key
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.postgres.clip_store import MadeObject
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideoStore
from review_app.player.component import KEPT_PATH
from review_app.service.links import OLD_COOKIE, Session, open_links
from tests.chromium import WAIT_MS
from tests.media_files import file_frame_hashes
from tests.oidc_provider import secrets_toml, signing_in_as
from tests.review.conftest import App, becomes_true, soon
from tests.served_review_app import ServedReviewApp
from tests.shown_frames import shown_hash

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]

APPROVED, SKIPPED, ARCHIVED, PENDING = (
    ClipState.REVIEW_APPROVED,
    ClipState.REVIEW_SKIPPED,
    ClipState.REVIEW_ARCHIVED,
    ClipState.PENDING_REVIEW,
)
#: The stage shows a picture of the clip that it names: its frame is one of the clip's.
PICTURE_IS_THERE = """() => {
  const root = [...document.querySelectorAll("*")].find((one) => one.shadowRoot?.querySelector(".review"))?.shadowRoot;
  const [start, end] = root?.querySelector(".facts").textContent.match(/\\d+(?=–)|(?<=–)\\d+/g)?.map(Number) ?? [];
  const frame = Number(root?.querySelector(".stage canvas").dataset.frame);
  return !root.querySelector(".stage.loading") && frame >= start && frame <= end;
}"""
LEAVING_IS_ASKED = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))"
PAGES = {"/": "Review", "/clips": "Clips", "/videos": "Source videos", "/history": "History", "/search": "Search"}
FOR_OPERATORS = {"/status": "Status", "/sites": "Web sites", "/partitions": "Dagster partitions"}


def shows(page: Page, frame: int) -> None:
    """Wait until this frame of the video is on the stage."""
    expect(page.locator(".stage canvas")).to_have_attribute("data-frame", str(frame))


def all_saved(page: Page) -> None:
    expect(page.locator(".saved")).to_have_text("All decisions saved")


def downloaded(page: Page) -> Download:
    """What the page's Download link gives. The list is drawn anew every few seconds: a click may fall between two drawings."""
    link = page.get_by_role("link", name="Download", exact=True)
    link.wait_for()
    for _ in range(4):
        with suppress(TimeoutError), page.expect_download(timeout=10_000) as download:
            link.click()
            return download.value
    raise AssertionError("no click led to a download")


# Deciding


def test_ten_clips_are_reviewed_by_keyboard_alone(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(*range(12, 120, 12))
    page = visit(f"/?video={video.id}")
    for place, key in enumerate("asxaagsxas"):
        shows(page, place * 12)
        page.keyboard.press(key)
    expect(page.locator(".done")).to_contain_text("Nothing left to review here")
    all_saved(page)
    assert app.states(video) == [APPROVED, SKIPPED, ARCHIVED, APPROVED, APPROVED, APPROVED, SKIPPED, ARCHIVED, APPROVED, SKIPPED]
    clips = app.live(video)
    assert clips[5].grouped_with_clip_id == clips[4].id
    expect(page.locator(".progress-text")).to_contain_text("10 done · 0 left")
    page.keyboard.press("Control+z")
    shows(page, 108)
    expect(page.locator(".links a")).to_have_text(["Clips", "Source video", "Dagster"])
    all_saved(page)
    assert app.states(video)[-1] == PENDING


def test_a_moved_cut_changes_both_neighbours_and_two_undos_bring_back_both_decisions(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    left, right, _ = app.live(video)
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    page.keyboard.press("a")
    shows(page, 40)
    for _ in range(3):
        page.keyboard.press(".")
    page.keyboard.press("Enter")
    soon(lambda: app.starts(video) == [0, 43, 80])
    moved = app.live(video)
    assert [(clip.id, clip.end_frame) for clip in moved[:2]] == [(left.id, 43), (right.id, 80)]
    assert moved[1].start_time_seconds == pytest.approx(43 / 24, abs=1e-6)
    all_saved(page)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    soon(lambda: app.starts(video) == [0, 40, 80] and app.states(video) == [PENDING] * 3)
    shows(page, 0)
    page.keyboard.press("Control+Shift+z")
    soon(lambda: app.states(video)[0] == APPROVED)
    all_saved(page)


def test_a_reload_in_the_middle_of_a_burst_applies_each_decision_once_and_in_order(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(20, 40, 60, 80, 100)
    ids = [clip.id for clip in app.live(video)]
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    held: list[Route] = []
    page.route("**/api/decisions*", lambda route: held.append(route))  # the requests get no answer until the page is gone
    for place, key in enumerate("asxa"):
        shows(page, place * 20)
        page.keyboard.press(key)
    expect(page.locator(".saved")).to_contain_text("4 decisions")
    page.unroute("**/api/decisions*")
    page.reload()
    shows(page, 80)
    page.keyboard.press("s")
    shows(page, 100)
    page.keyboard.press("a")
    all_saved(page)
    decided = [
        ("Ada", action, (clip_id,))
        for action, clip_id in zip(["approve", "skip", "archive", "approve", "skip", "approve"], ids, strict=True)
    ]
    assert app.applied(video) == decided


def test_undelivered_decisions_arrive_when_postgres_is_back(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    with app.postgres_away():
        page.keyboard.press("a")
        shows(page, 40)
        page.keyboard.press("s")
        shows(page, 80)
        expect(page.locator(".saved")).to_contain_text("2 decisions kept in this browser")
        other = visit("/history")
        expect(other.get_by_text("The page tries again by itself")).to_be_visible()
        unready = page.request.get(f"{app.server.url}/readyz")
        assert (unready.status, unready.json()) == (503, {"ready": False, "unusable": ["database"]})
        assert page.request.get(f"{app.server.url}/healthz").ok, "it need not be started again"
    all_saved(page)
    soon(lambda: page.request.get(f"{app.server.url}/readyz").ok)
    assert app.states(video) == [APPROVED, SKIPPED, PENDING]
    expect(other.get_by_role("button", name="Undo my latest")).to_be_visible()


def test_no_key_is_lost_while_the_server_is_away_and_only_our_page_speaks(app: App, visit: Callable[..., Page]) -> None:
    """Streamlit's own dialog took the focus after three seconds: 16 of 16 keys pressed over it went nowhere."""
    video = app.video(*range(10, 120, 10))
    ids = [clip.id for clip in app.live(video)]
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    page.wait_for_timeout(1500)  # the first pictures of the clips that follow are fetched
    page.evaluate("""() => {
      window.dialogs = [];
      new MutationObserver(() => {
        const dialog = document.querySelector('[data-testid="stDialog"]');
        if (dialog) dialogs.push(dialog.checkVisibility());
      }).observe(document.body, { childList: true, subtree: true });
    }""")
    app.server.kill()
    gone = time.monotonic()
    for place, key in enumerate("xsasx"):
        shows(page, place * 10)
        page.keyboard.press(key)
        page.wait_for_timeout(3000)
    assert time.monotonic() - gone > 10
    expect(page.locator(".saved")).to_contain_text("No connection to the server. 5 decisions kept in this browser")
    expect(page.locator(".heaters-connection")).to_contain_text("No connection to the server.")
    assert page.evaluate("dialogs.length > 0 && !dialogs.includes(true)"), "the dialog came, and was never to be seen"
    assert page.locator("[data-testid=stDialog], [inert]").count() == 0
    app.server.start()
    all_saved(page)
    expect(page.locator(".heaters-connection")).to_be_hidden()
    actions = {"a": "approve", "s": "skip", "x": "archive"}
    assert app.applied(video) == [("Ada", actions[key], (clip_id,)) for key, clip_id in zip("xsasx", ids, strict=False)]
    becomes_true(page, PICTURE_IS_THERE)
    page.keyboard.press("a")
    soon(lambda: app.states(video)[5] == APPROVED)
    all_saved(page)


# Several reviewers


def test_two_browsers_on_one_queue_never_get_the_same_clip_and_see_what_the_other_did(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110)
    ada, bob = visit(f"/?video={video.id}"), visit(f"/?video={video.id}", as_="Bob")
    shows(ada, 0)
    expect(bob.locator(".stage canvas")).to_have_attribute("data-frame", re.compile("[0-9]+"))
    for _ in range(4):
        for page, key in ((ada, "a"), (bob, "s")):
            becomes_true(page, PICTURE_IS_THERE)
            page.keyboard.press(key)
    all_saved(ada)
    all_saved(bob)
    decided = app.applied(video)
    assert len(decided) == 8
    assert len({ids for _, _, ids in decided}) == 8, "each clip by one of them"
    assert {(who, action) for who, action, _ in decided} == {("Ada", "approve"), ("Bob", "skip")}
    for page in (ada, bob):
        expect(page.locator(".progress-text")).to_contain_text("8 done · 4 left")


def test_a_clip_that_somebody_else_archived_while_it_was_shown(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    clip = app.live(video)[0]
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    page.route("**/api/sync*", lambda route: route.abort())  # before the page has heard of it
    app.reviews.archive(clip.id, reviewer="Bob")
    page.keyboard.press("a")
    expect(page.locator(".toast.taken-back")).to_contain_text("Bob")
    assert app.states(video)[0] == ARCHIVED
    page.unroute("**/api/sync*")
    all_saved(page)


def test_a_reviewer_sees_what_others_do_to_the_clip_on_the_stage(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    app.reviews.move_cut_point(video.id, 40, 50, reviewer="Bob")
    expect(page.locator(".facts")).to_contain_text("50 frames")


# Around the player


def test_the_plain_player_takes_over_where_webcodecs_is_switched_off(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    plain = ServedReviewApp(app.settings, WEBCODECS_ENABLED="false")
    plain.start()
    try:
        page = visit(f"/?video={video.id}", url=plain.url)
        expect(page.locator(".engine")).to_have_text("Plain video player")
        expect(page.locator(".frame")).to_contain_text("frame 0 of 40")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".frame")).to_contain_text("frame 1 of 40")
        page.keyboard.press("a")
        expect(page.locator(".facts")).to_contain_text("40–79")
        all_saved(page)
        assert app.states(video) == [APPROVED, PENDING, PENDING]
    finally:
        plain.kill()


def test_every_page_renders_fits_and_stays_on_this_machine(app: App, visit: Callable[..., Page]) -> None:
    title = "<script>document.title='taken'</script><b>bold</b> *x* $y$"
    video = app.video(40, 80, title=title)
    app.reviews.skip(app.live(video)[0].id, reviewer="Ada")
    refused: list[str] = []
    for path, name in {**PAGES, **FOR_OPERATORS}.items():
        page = visit(f"{path}?video={video.id}" if path in {"/", "/clips", "/videos"} else path, refused=refused)
        here = page.locator(".st-key-top").get_by_role("link", name=name, exact=True)
        expect(here).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")  # so Streamlit marks the page that is shown
        if path == "/status":
            expect(page.get_by_role("cell", name="for review").first).to_be_visible()
        elif path == "/sites":
            expect(page.get_by_role("textbox", name="Site", exact=True)).to_be_visible()
        elif path != "/search":
            expect(page.get_by_text("document.title='taken'", exact=False).first).to_be_visible()
        else:
            expect(page.get_by_label("What the clip shows")).to_be_visible()
        expect(page).to_have_title(f"{name} · Heaters")
        assert page.locator(".stException, [data-testid=stException]").count() == 0
        assert len(page.screenshot()) > 10_000
        assert page.locator("b", has_text="bold").count() == 0
        if path == "/":
            shows(page, 40)
            foot = page.locator(".foot").bounding_box()
            assert foot is not None
            assert foot["y"] + foot["height"] <= 720, "the player is in one screen"
    assert refused == [], "no page asks for what is not there"


def test_a_long_title_does_not_hide_the_number_of_a_clip(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80, title="A title that is much longer than a card of the grid is wide, however large the window")
    page = visit(f"/clips?video={video.id}")
    number = page.locator("figure .number").nth(1)
    expect(number).to_have_text("clip 2")
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 740})
        assert number.evaluate("(one) => one.getBoundingClientRect().right <= one.closest('.title').getBoundingClientRect().right + 1")
        assert number.evaluate("(one) => one.getBoundingClientRect().left >= one.previousSibling.getBoundingClientRect().right")
        assert page.locator("figure .name").first.evaluate("(one) => one.scrollWidth > one.clientWidth"), "the title is cut short"


def test_a_browser_fetches_the_players_files_once(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(12)
    page = visit(f"/?video={video.id}")
    shows(page, 0)
    page.reload()
    shows(page, 0)
    sizes = "path => performance.getEntriesByType('resource').filter(({name}) => name.includes(path)).map(({transferSize}) => transferSize)"
    fetched = page.evaluate(sizes, KEPT_PATH)
    assert len(fetched) > 20
    assert set(fetched) == {0}  # from the browser's own store


def test_a_name_is_asked_for_once_and_given_up_on_request(app: App, chromium: Browser) -> None:
    context = chromium.new_context()
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    told: list[str] = []
    page.on("request", lambda request: told.append(request.method) if request.url.endswith("/api/session") else None)
    page.goto(f"{app.server.url}/clips?state=embedded")
    page.get_by_label("Your name").fill("Grace")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Grace").wait_for()
    assert page.url.endswith("/clips?state=embedded"), "where the link led"
    links = open_links(app.settings)

    def kept() -> dict[str, Any]:
        return {cookie["name"]: cookie for cookie in context.cookies()}

    soon(lambda: links.cookie in kept())
    cookie = kept()[links.cookie]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.reload()
    page.get_by_role("button", name="Grace").click()
    page.get_by_role("button", name="Change the name").click()
    page.get_by_label("Your name").wait_for()
    soon(lambda: links.cookie not in kept())
    page.get_by_label("Your name").fill("Barbara")
    page.get_by_role("button", name="Start").click()
    soon(lambda: links.cookie in kept())
    page.wait_for_timeout(500)
    page.reload()
    page.get_by_role("button", name="Barbara").wait_for()
    assert told.count("DELETE") == 1, "the name that was given up is not forgotten once more after the new one"
    page.get_by_role("button", name="Barbara").click()
    page.get_by_role("button", name="Change the name").click()
    page.get_by_label("Your name").wait_for()
    soon(lambda: links.cookie not in kept())
    page.reload()
    expect(page.get_by_label("Your name")).to_be_visible()
    old = links.remembered_token(Session(ReviewerStore(app.database).named("Grace").id, "Grace"))
    context.add_cookies([{"name": OLD_COOKIE, "value": old, "url": app.server.url}])
    page.reload()
    page.get_by_role("button", name="Grace").wait_for()
    soon(lambda: links.cookie in kept() and OLD_COOKIE not in kept())
    context.close()


def test_people_sign_in_by_oidc_where_that_is_configured(app: App, chromium: Browser, tmp_path: Path) -> None:
    video = app.video(40, 80)
    ReviewerStore(app.database).named("Grace Hopper")  # a name that was taken on trust before
    signing = ServedReviewApp(app.settings, HOME=str(tmp_path))
    with signing_in_as("g-17", "Grace Hopper") as issuer:
        (tmp_path / ".streamlit").mkdir()
        (tmp_path / ".streamlit" / "secrets.toml").write_text(secrets_toml(issuer, signing.url))
        signing.start()
        try:
            context = chromium.new_context()
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            page.goto(f"{signing.url}/?video={video.id}")
            expect(page.get_by_label("Your name")).to_have_count(0)
            page.get_by_role("button", name="Sign in").click()
            page.locator(".st-key-top").wait_for()
            page.goto(f"{signing.url}/?video={video.id}")
            shows(page, 0)
            page.keyboard.press("a")
            all_saved(page)
            (done,) = app.reviews.history(source_video_id=video.id)
            signed_in = ReviewerStore(app.database).signed_in(oidc_subject=f"{issuer}|g-17", name="Grace Hopper")
            assert done.reviewer == signed_in.name
            page.get_by_role("button", name="Grace Hopper").click()
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_role("button", name="Sign in")).to_be_visible()
            context.close()
        finally:
            signing.kill()


# The other pages


def test_a_card_opens_in_review_and_back_leads_to_the_same_filters(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    clips = app.live(video)
    address = f"/clips?video={video.id}&state=pending_review"
    page = visit(address)
    expect(page.locator("figure")).to_have_count(3)
    page.locator("figure a.picture").nth(1).hover()
    expect(page.locator("figure video")).to_have_count(1)
    page.locator("figure a.picture").nth(1).click()
    shows(page, 40)
    assert page.url.endswith(f"/?video={video.id}&clip={clips[1].id}")
    page.go_back()
    expect(page.locator("figure")).to_have_count(3)
    assert page.url.endswith(address)
    page.locator(".st-key-top").get_by_role("link", name="Review", exact=True).click()
    shows(page, 0)
    assert page.url.endswith(f"/?video={video.id}"), "the filters come along"


def test_a_selection_is_decided_at_once_and_taken_back_at_once(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(20, 40, 60, 80)
    page = visit(f"/clips?video={video.id}")
    boxes = page.locator("figure input")
    expect(boxes).to_have_count(5)
    boxes.nth(1).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.locator(".count")).to_have_text("3 of 5 selected")
    page.locator(".bar button.skip").click()
    expect(page.locator(".said")).to_have_text("3 clips skipped.")
    assert app.states(video) == [PENDING, SKIPPED, SKIPPED, SKIPPED, PENDING]
    assert len(app.applied(video)) == 1, "one action"
    expect(page.locator("figure .state").nth(1)).to_have_text("skipped")
    page.locator(".bar").get_by_role("button", name="Undo").click()
    expect(page.locator(".said")).to_have_text("Taken back.")
    assert app.states(video) == [PENDING] * 5


def test_a_decision_on_a_selection_survives_lost_answers_a_reload_and_a_refused_token(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(20, 40)
    page = visit(f"/clips?video={video.id}")
    boxes = page.locator("figure input")
    expect(boxes).to_have_count(3)
    boxes.nth(0).click()
    boxes.nth(1).click()

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/api/decisions", lose_the_answer)
    page.locator(".bar button.skip").click()
    expect(page.locator(".said")).to_have_text("No connection to the server. It is kept in this browser; trying again …")
    assert app.states(video) == [SKIPPED, SKIPPED, PENDING]
    page.unroute("**/api/decisions")
    refused = '{"error": "this link has expired: load the page again", "code": "signed_out"}'
    page.route("**/api/decisions", lambda route: route.fulfill(status=401, body=refused), times=2)
    page.reload()
    expect(page.locator(".said")).to_have_text("2 clips skipped.")
    assert app.states(video) == [SKIPPED, SKIPPED, PENDING]
    assert len(app.applied(video)) == 1
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('heaters.grid/')).length") == 0
    page.locator(".bar").get_by_role("button", name="Undo").click()
    expect(page.locator(".said")).to_have_text("Taken back.")
    assert app.states(video) == [PENDING] * 3


def test_history_takes_back_what_is_ones_own(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80, title="Only here")
    first, second, _ = app.live(video)
    app.reviews.approve(first.id, reviewer="Ada")
    app.reviews.skip(second.id, reviewer="Bob")
    page = visit(f"/history?clip={second.id}")
    row = page.locator("tr[data-id]")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("only Bob can take it back")
    assert row.get_by_role("button").count() == 0
    page = visit(f"/history?clip={first.id}")
    page.locator("tr[data-id] button").click()
    soon(lambda: app.states(video) == [PENDING, SKIPPED, PENDING])
    expect(page.locator("tr[data-id]").first).to_contain_text("undid approving")
    assert {action for _, action, _ in app.applied(video)} == {
        str(one) for one in (ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.UNDO)
    }


def test_an_uploaded_file_becomes_clips_that_are_reviewed_and_exported(app: App, visit: Callable[..., Page], tmp_path: Path) -> None:
    videos = SourceVideoStore(app.database)
    holiday = tmp_path / "holiday & sea.mp4"
    holiday.write_bytes(app.source.read_bytes())
    page = visit("/videos")
    page.get_by_text("Submit videos").click()
    page.locator("input[type=file]").set_input_files(str(holiday))
    expect(page.locator("li.ok")).to_contain_text("submitted as source video")
    submitted = videos.load_all(text="holiday & sea")[0]
    app.do_what_is_due(submitted)
    assert app.starts(submitted) == [0]
    app.reviews.add_cut_point(submitted.id, 40, reviewer="Bob")
    page = visit(f"/videos?video={submitted.id}")
    page.locator(f".st-key-video-{submitted.id}").get_by_role("link", name="Review").click()
    shows(page, 0)
    page.keyboard.press("a")
    shows(page, 40)
    page.keyboard.press("s")
    expect(page.locator(".done")).to_contain_text("Nothing left to review here")
    all_saved(page)
    app.do_what_is_due(submitted)
    page = visit(f"/videos?video={submitted.id}")
    page.get_by_text("Exports").click()
    assert list(file_frame_hashes(Path(downloaded(page).path()))) == list(file_frame_hashes(app.proxy))[:40]


def test_every_frame_that_was_seen_is_in_the_exported_file_bit_for_bit(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    clip = app.live(video)[1]
    page = visit(f"/?video={video.id}&clip={clip.id}")
    seen = []
    for frame in range(40, 80):
        shows(page, frame)
        seen.append(shown_hash(page))
        page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    all_saved(page)
    app.do_what_is_due(video)
    [export] = app.clips.artifacts(clip.id, kind="export")
    path = app.objects.local_path(export.key)
    assert path is not None
    assert seen == list(file_frame_hashes(path))
    assert (export.manifest["first_frame_hash"], export.manifest["last_frame_hash"]) == (seen[0], seen[-1])


def test_a_file_dropped_beside_the_box_does_not_take_the_place_of_the_page(app: App, visit: Callable[..., Page]) -> None:
    app.video()
    page = visit("/videos")
    page.get_by_text("Submit videos").click()
    page.locator("input[type=file]").wait_for(state="attached")
    left_to_the_browser = page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["x"], "film.mp4"));
          return document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    assert left_to_the_browser is False


def test_an_uploaded_file_that_is_no_video_is_refused_while_it_is_still_being_sent(
    app: App, visit: Callable[..., Page], tmp_path: Path
) -> None:
    no_video = tmp_path / "disk <i>.mp4"
    with no_video.open("wb") as file:
        file.truncate(300_000_000)
    before = len(SourceVideoStore(app.database).load_all())
    page = visit("/videos")
    page.get_by_text("Submit videos").click()
    page.locator("input[type=file]").set_input_files(str(no_video))
    expect(page.locator("li.failed")).to_contain_text("disk <i>.mp4 is not a video: it begins with 4096 zero bytes")
    assert len(SourceVideoStore(app.database).load_all()) == before


def test_an_uploaded_video_that_cannot_be_read_says_so_and_is_tried_again(app: App, visit: Callable[..., Page], tmp_path: Path) -> None:
    videos = SourceVideoStore(app.database)
    no_video = tmp_path / "letter <i>.y4m"
    no_video.write_bytes(b"YUV4MPEG2 W160 H120 F25:1 C420jpeg\nFRAME\nand no more")
    page = visit("/videos")
    page.get_by_text("Submit videos").click()
    page.locator("input[type=file]").set_input_files(str(no_video))
    expect(page.locator("li.ok")).to_contain_text("submitted as source video")
    submitted = videos.load_all(text="letter")[0]
    card = page.locator(f".st-key-video-{submitted.id}")
    expect(card).to_contain_text("letter <i>")
    app.do_what_is_due(submitted, fails=True)
    expect(card).to_contain_text("letter <i>")
    soon(lambda: videos.load(submitted.id).state is SourceVideoState.DOWNLOAD_FAILED)
    card.get_by_role("button", name="Retry").click()
    soon(lambda: videos.load(submitted.id).state is SourceVideoState.NEW)


def test_an_upload_can_be_cancelled_and_the_next_one_goes_on(app: App, visit: Callable[..., Page], tmp_path: Path) -> None:
    app.video()  # without any the box is open from the beginning
    files = [tmp_path / "first.mp4", tmp_path / "second.mp4"]
    for file in files:
        file.write_bytes(b"x" * 1000)
    held: list[Route] = []
    page = visit("/videos")

    def answer(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
        elif held:
            route.fulfill(status=201, json={"id": 4711})
        else:
            held.append(route)

    page.route("**/api/uploads", answer)
    page.get_by_text("Submit videos").click()
    with page.expect_request(lambda sent: sent.method == "POST" and sent.url.endswith("/api/uploads")):  # cancelled before, it sends none
        page.locator("input[type=file]").set_input_files([str(file) for file in files])
    first, second = page.locator("li").nth(0), page.locator("li").nth(1)
    expect(second).to_contain_text("waits")
    assert page.evaluate(LEAVING_IS_ASKED)
    first.get_by_role("button", name="Cancel").press("Enter")  # a click may miss: the page is still settling
    expect(first).to_contain_text("cancelled")
    expect(second).to_contain_text("submitted as source video 4711")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert not page.evaluate(LEAVING_IS_ASKED)


def test_an_upload_that_broke_off_goes_on_where_it_stopped_also_after_a_reload(
    app: App, visit: Callable[..., Page], tmp_path: Path
) -> None:
    app.video()  # without any the box is open from the beginning
    film = tmp_path / "long way.mp4"
    film.write_bytes(app.source.read_bytes() + (3_000_000).to_bytes(4, "big") + b"free" + bytes(2_999_992))
    begins: list[str] = []
    page = visit("/videos")
    page.on("dialog", lambda dialog: dialog.accept())  # it is asked whether to leave

    def cut_off(route: Route) -> None:
        """The first time only the beginning comes through, and then nothing, until the page is loaded again."""
        begun = route.request.headers.get("x-heaters-offset")
        if begun is None:
            route.abort() if begins else route.fallback()
        else:
            begins.append(begun)
            route.continue_(post_data=film.read_bytes()[:2_000_000])

    page.route("**/api/uploads", cut_off)
    page.get_by_text("Submit videos").click()
    page.locator("input[type=file]").set_input_files(str(film))
    expect(page.locator("li")).to_contain_text("It goes on by itself")
    page.reload()
    page.unroute("**/api/uploads")
    page.on("request", lambda sent: begins.append(sent.headers["x-heaters-offset"]) if "x-heaters-offset" in sent.headers else None)
    page.get_by_text("Submit videos").click()
    expect(page.locator("li.left")).to_contain_text("Not all of it has come. Choose the file again: it goes on where it stopped.")
    page.locator("input[type=file]").set_input_files(str(film))
    expect(page.locator("li.ok")).to_contain_text("submitted as source video")
    assert begins == ["0", "2000000"]
    expect(page.locator("li.left")).to_have_count(0)
    (video,) = SourceVideoStore(app.database).load_all(text="long way")
    assert Path(video.source).read_bytes() == film.read_bytes()
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('heaters.upload/'))") == []


def test_addresses_are_refused_in_words_and_stay_to_be_mended(app: App, visit: Callable[..., Page]) -> None:
    app.video(40)  # the box is open by itself where there is no source video yet
    page = visit("/videos")
    page.get_by_text("Submit videos").click()
    page.locator("textarea").fill("file:///etc/passwd\nhttp://127.0.0.1/x.mp4")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("cannot be a source")).to_be_visible()
    expect(page.get_by_text("a loopback address")).to_be_visible()
    expect(page.locator("textarea")).to_have_value("file:///etc/passwd\nhttp://127.0.0.1/x.mp4")


def test_an_exported_clip_is_fetched(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(40, 80)
    clip = app.live(video)[0]
    app.reviews.approve(clip.id, reviewer="Ada")
    key = final_clip_key(video.id, clip.sequence)
    claimed = app.clips.claim(clip.id, EXPORTS, [key])
    assert claimed is not None
    stored = app.objects.put_bytes(key, app.proxy.read_bytes())
    app.clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, stored.byte_size, {})])
    page = visit(f"/videos?video={video.id}")
    page.get_by_text("Exports").click()
    download = downloaded(page)
    assert download.suggested_filename == key.rpartition("/")[2]
    assert Path(download.path()).read_bytes() == app.proxy.read_bytes()


def test_a_title_is_edited_in_a_box_that_is_filled_when_it_is_opened(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(60)
    page = visit(f"/videos?video={video.id}")
    page.get_by_role("button", name="Edit").wait_for()
    assert page.get_by_role("textbox", name="Title").count() == 0
    page.get_by_role("button", name="Edit").click()
    title = page.get_by_role("textbox", name="Title")
    expect(title).to_have_value(SourceVideoStore(app.database).load(video.id).title)
    title.fill("Harbour at night")
    title.press("Enter")
    page.get_by_role("button", name="Save the title").click()
    expect(page.get_by_text(f"{video.id}. Harbour at night")).to_be_visible()


def test_saving_facts_leaves_the_focus_on_its_button(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(60)
    page = visit(f"/videos?video={video.id}")
    page.get_by_text("Facts", exact=True).click()
    page.get_by_text("Change the facts").click()
    page.get_by_role("textbox", name="Licence").fill(" CC0 ")
    save = page.get_by_role("button", name="Save the facts")
    save.focus()
    save.press("Enter")
    expect(page.get_by_role("textbox", name="Licence")).to_have_value("CC0")
    expect(save).to_be_focused()


def test_search_says_what_is_missing(app: App, visit: Callable[..., Page]) -> None:
    video = app.video()
    page = visit(f"/search?like={app.live(video)[0].id}")
    expect(page.get_by_text("has no embedding")).to_be_visible()
    page = visit("/search?words=a+robot")
    expect(page.get_by_text(re.compile("model|No clip", re.IGNORECASE)).first).to_be_visible()


def test_a_filter_that_makes_no_sense_is_said_to_be_so(visit: Callable[..., Page]) -> None:
    page = visit("/clips?state=nonsense")
    expect(page.get_by_text("state='nonsense' is not one of")).to_be_visible()
    page.get_by_role("button", name="Show everything").click()
    expect(page.get_by_label("States")).to_be_visible()


def test_the_server_watches_no_files(app: App, visit: Callable[..., Page]) -> None:
    """To watch them Streamlit looks up the paths of all modules after each run of a page, while every request waits."""
    visit("/clips").get_by_role("link", name="Review", exact=True).click()
    assert app.server.process is not None
    opened = []
    for file in Path(f"/proc/{app.server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.append(os.readlink(file))
    assert opened
    assert not [name for name in opened if "inotify" in name]


def test_a_name_that_is_not_ours_is_not_answered(app: App) -> None:
    with socket.create_connection(("127.0.0.1", app.server.port)) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 421")
    assert b"HEATERS_REVIEW_NAMES" in answer


def test_the_server_stops_when_it_is_asked_to(app: App) -> None:
    other = ServedReviewApp(app.settings)
    other.start()
    assert other.process is not None
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(timeout=30) in {0, -signal.SIGTERM}
