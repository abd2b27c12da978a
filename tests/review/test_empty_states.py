"""Where the empty Review page leads: from each of its states the link onward is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from heaters_dagster.domain.states import SourceVideoState
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.source_video_removal import delete_source_video
from tests.review.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]

ON_THE_WAY = (
    SourceVideoState.DOWNLOADING,
    SourceVideoState.DOWNLOADED,
    SourceVideoState.PREPROCESSING,
    SourceVideoState.PREPROCESSED,
    SourceVideoState.DETECTING_SCENES,
)


def ways(page: Page) -> dict[str, str]:
    """Label -> address of the links onward."""
    page.locator(".done p.ways a").first.wait_for()
    links = page.locator(".done p.ways a").all()
    return {link.inner_text(): link.get_attribute("href") or "" for link in links}


def follow(page: Page, label: str) -> None:
    page.locator(".done p.ways").get_by_role("link", name=label, exact=True).click()


def test_without_any_clip_the_way_leads_to_where_videos_are_submitted(app: App, visit: Callable[..., Page], tmp_path: Path) -> None:
    with app.beside(tmp_path) as url:
        page = visit("/", url=url)
        expect(page.locator(".done h2")).to_have_text("There are no clips yet")
        assert ways(page) == {"Source videos": "/videos"}
        expect(page.locator("progress[aria-label='Clips decided']")).to_be_hidden()
        follow(page, "Source videos")
        expect(page.get_by_role("button", name="Submit", exact=True)).to_be_visible()


def test_where_no_clip_matches_the_way_clears_the_filters(app: App, visit: Callable[..., Page]) -> None:
    app.video(60, title="There is something")
    page = visit("/?text=nobodycallsitthis")
    expect(page.locator(".done h2")).to_have_text("No clip matches these filters")
    assert ways(page) == {"Clear filters": "/"}
    follow(page, "Clear filters")
    page.locator(".stage canvas[data-frame]").wait_for()
    assert page.url == f"{app.server.url}/"


def test_where_all_are_reviewed_the_ways_lead_to_those_clips_and_to_what_waits(app: App, visit: Callable[..., Page]) -> None:
    video = app.video(60, title="All of it reviewed")
    app.reviews.approve([clip.id for clip in app.live(video)], reviewer="Ada")
    app.video(60, title="Something waits")
    page = visit(f"/?video={video.id}")
    expect(page.locator(".done h2")).to_have_text("Nothing left to review here")
    expect(page.locator(".done p").first).to_contain_text("2 clips: 2 approved.")
    assert ways(page) == {"Clips": f"/clips?video={video.id}", "Clear filters: show all waiting clips": "/"}
    follow(page, "Clips")
    expect(page.locator("figure .state")).to_have_text(["approved", "approved"])
    page.goto(f"{app.server.url}/?video={video.id}")
    follow(page, "Clear filters: show all waiting clips")
    page.locator(".stage canvas[data-frame]").wait_for()


def test_while_a_video_is_being_cut_the_way_leads_to_it(app: App, visit: Callable[..., Page]) -> None:
    videos = SourceVideoStore(app.database)
    video = videos.add("/films/cutting.mp4", "Being cut")
    for state in ON_THE_WAY:
        videos.set_state(video.id, state)
    page = visit(f"/?video={video.id}")
    expect(page.locator(".done h2")).to_have_text("No clips yet")
    expect(page.locator(".done p").first).to_have_text("1 source video is on its way: 1 being cut.")
    assert ways(page) == {"Source video": f"/videos?video={video.id}", "Clear filters": "/"}
    follow(page, "Source video")
    expect(page.locator(f".st-key-video-{video.id}")).to_be_visible()
    expect(page.locator("[class*=st-key-video-]")).to_have_count(1)
    delete_source_video(video.id, reviewer="Ada", database=app.database, objects=app.objects)
