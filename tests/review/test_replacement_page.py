"""Another file in the place of a source video, from the page: asked for, compared, and taken over or given up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from assets.proxy import make_proxy
from assets.source_video import fetch_source_video
from heaters_dagster.domain.states import ClipState
from resources.object_store.work_folder import WorkFolder
from resources.postgres.replacement_store import ReplacementStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader
from tests.accessibility import found_by_axe
from tests.media_files import ffmpeg
from tests.review.conftest import App, soon

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]


def with_proxy(app: App, source_video_id: int) -> None:
    """As the pipeline brings it to where a person is asked."""
    stored = {"videos": SourceVideoStore(app.database), "objects": app.objects, "work": WorkFolder(app.settings.work_folder)}
    fetch_source_video(source_video_id, downloader=Downloader(guard=AddressGuard()), **stored)
    make_proxy(source_video_id, detector="adaptive", **stored)


def asked_for(app: App, video: SourceVideo) -> int:
    """The source video that waits to take the place of this one, as soon as the page has asked for it."""
    store = ReplacementStore(app.database)
    soon(lambda: store.open_of_old(video.id) is not None)
    return store.waiting(video.id).new_id


def test_a_video_is_fetched_again_and_given_up_then_replaced_by_a_file_with_its_decisions(app: App, visit: Callable[..., Page]) -> None:
    videos = SourceVideoStore(app.database)
    video = videos.update(app.video(40, 80, title="Harbour").id, source="http://127.0.0.1:9/harbour.mp4")
    first, second, _ = app.live(video)
    app.reviews.approve(first.id, reviewer="Ada")
    app.reviews.skip(second.id, reviewer="Ada")
    decided = app.states(video)

    page = visit(f"/videos?video={video.id}")
    page.get_by_role("button", name="Edit").click()
    height = page.get_by_label("Tallest picture in pixels")
    height.fill("480")
    height.press("Enter")
    page.get_by_role("button", name="Fetch again").click()
    expect(page.get_by_text("When its proxy is made you are asked there.")).to_be_visible()
    new_id = asked_for(app, video)
    assert ReplacementStore(app.database).waiting(video.id).max_height == 480
    page.goto(f"{app.server.url}/videos?video={new_id}")
    page.get_by_role("button", name="Keep the old one").click()
    expect(page.get_by_text(f"The new file is forgotten. Source video {video.id} stays as it is.")).to_be_visible()
    assert ReplacementStore(app.database).open_of_old(video.id) is None

    smaller = ffmpeg(["-i", str(app.source), "-vf", "scale=160:90", "-crf", "30", "-an"], app.source.parent / "smaller.mp4")
    page.goto(f"{app.server.url}/videos?video={video.id}")
    page.get_by_role("button", name="Edit").click()
    place = page.get_by_label("File or address that replaces it")
    place.fill(str(smaller))
    place.press("Enter")
    page.get_by_role("button", name="Fetch and compare").click()
    new_id = asked_for(app, video)
    with_proxy(app, new_id)
    page.goto(f"{app.server.url}/videos?video={new_id}")
    page.get_by_text("Compare and replace", exact=True).click()
    kinds = ("320x180 pixels, frame rate 24, h264, with sound", "160x90 pixels, frame rate 24, h264, without sound")
    expect(page.get_by_text(f"Source video {video.id}: {kinds[0]}; Source video {new_id}: {kinds[1]}")).to_be_visible()
    rows = page.locator(".heaters-exports tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("looks the same (100 % of its frames), at the same frames")
    assert found_by_axe(page) == []

    app.reviews.skip(app.live(video)[2].id, reviewer="Bea")
    page.get_by_role("button", name="Replace now").click()
    expect(page.get_by_text(f"Source video {video.id} was changed since it was compared")).to_be_visible()
    assert (app.live(videos.load(new_id)), app.states(video)) == ([], [*decided[:2], ClipState.REVIEW_SKIPPED])

    trusts = page.get_by_text("Keep the decisions on 3 clips that only look the same")  # it is compared again
    trusts.click()
    page.get_by_role("button", name="Replace now").click()
    expect(page.get_by_text("Replaced: 3 decisions kept, 0 sent back to review.")).to_be_visible()
    assert page.locator(".stMainBlockContainer").evaluate("one => getComputedStyle(one).paddingLeft") == "24px", "the page's style"
    assert app.states(videos.load(new_id)) == app.states(video)
    assert app.starts(videos.load(new_id)) == [0, 40, 80]
    expect(page.get_by_text("Has taken over the clips and decisions of")).to_be_visible()
