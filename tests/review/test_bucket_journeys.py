"""Review with the objects in a bucket: the browser reads by presigned links, in both players, and what was seen is what is exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo
from tests.buckets import BucketServer, without_cors
from tests.cdn import KEY_ID, cdn_before
from tests.chromium import WAIT_MS
from tests.media_files import barcode_video, file_frame_hashes
from tests.proxy_files import local_copy, stored_video
from tests.review.conftest import becomes_true
from tests.served_review_app import ServedReviewApp
from tests.shown_frames import SHOWN_HASH, shown_hash

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(180)]


@pytest.fixture
def store_kind() -> str:
    return "bucket"


@pytest.fixture
def video(tmp_path: Path, database: Database, object_store: ObjectStore) -> SourceVideo:
    """30 frames with sound, cut at frame 12; its clips wait for review."""
    source = barcode_video(tmp_path / "holiday.mp4", frames=30, size=(320, 180))
    return stored_video(source, tmp_path, database=database, objects=object_store, cuts=(12,), approved=False)


@contextmanager
def opened(chromium: Browser, settings: Settings, path: str, requests: list[str], **environment: str) -> Iterator[Page]:
    """The page at `path` of an app with these settings, as Ada sees it. requests: gets the address of each."""
    server = ServedReviewApp(settings, **environment)
    server.start()
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(WAIT_MS)
    try:
        page = context.new_page()
        page.add_init_script(SHOWN_HASH)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{server.url}{path}")
        page.locator(".st-key-door").wait_for()
        page.get_by_label("Your name").fill("Ada")
        page.get_by_role("button", name="Start").click()
        page.locator(".st-key-top").wait_for()
        yield page
    finally:
        context.close()
        server.kill()


def shows(page: Page, frame: int) -> None:
    expect(page.locator(".stage canvas")).to_have_attribute("data-frame", str(frame))


def test_every_frame_that_was_seen_by_presigned_links_is_exported_bit_for_bit(
    chromium: Browser,
    settings: Settings,
    database: Database,
    object_store: ObjectStore,
    buckets: BucketServer,
    video: SourceVideo,
    tmp_path: Path,
) -> None:
    clips, requests, seen = ClipStore(database), [], []
    first, second = clips.load_live(video.id)
    with opened(chromium, settings, f"/?video={video.id}&clip={second.id}", requests) as page:
        expect(page.locator(".engine")).to_have_text("WebCodecs player")
        for frame in range(12, 30):
            shows(page, frame)
            seen.append(shown_hash(page))
            page.keyboard.press("ArrowRight")
        page.keyboard.press("a")
        expect(page.locator(".saved")).to_have_text("All decisions saved")
        shows(page, 0)
        page.keyboard.press("Space")  # plays
        playing = "[...document.querySelectorAll('*')].some((one) => one.shadowRoot?.querySelector('video')?.currentTime > 0)"
        becomes_true(page, playing)
    proxies = [address for address in requests if f"/{settings.bucket}/review_proxies/" in address]
    assert proxies
    assert all("X-Amz-Signature=" in address and "X-Amz-Expires=" in address for address in proxies)
    quick = replace(settings, embedding_model="no-such-model", embedding_fallback=True)
    assert process_due(quick).failures == []
    assert clips.load(second.id).state is ClipState.EMBEDDED
    (export,) = clips.artifacts(second.id, kind="export")
    assert list(file_frame_hashes(local_copy(object_store, export.key, tmp_path))) == seen
    assert first.id != second.id


def test_signed_links_of_a_cdn_show_the_same_frames_by_ranges(
    chromium: Browser, settings: Settings, object_store: ObjectStore, buckets: BucketServer, video: SourceVideo, tmp_path: Path
) -> None:
    """The CDN gives nothing without a signature; what the page shows are the frames of the proxy."""
    requests: list[str] = []
    with cdn_before(buckets, str(settings.bucket)) as cdn:
        signed = replace(settings, proxy_cdn_domain=cdn.url, cdn_key_id=KEY_ID, cdn_private_key=cdn.private_key)
        with opened(chromium, signed, f"/?video={video.id}", requests) as page:
            expect(page.locator(".engine")).to_have_text("WebCodecs player")
            seen = []
            for frame in range(4):
                shows(page, frame)
                seen.append(shown_hash(page))
                page.keyboard.press("ArrowRight")
    proxies = [address for address in requests if "/review_proxies/" in address]
    assert proxies
    assert all(address.startswith(f"{cdn.url}/review_proxies/") and f"Key-Pair-Id={KEY_ID}" in address for address in proxies)
    assert list(file_frame_hashes(local_copy(object_store, proxy_key(video.id), tmp_path)))[:4] == seen


def test_the_plain_player_shows_the_same_frames_from_a_bucket(
    chromium: Browser, settings: Settings, database: Database, video: SourceVideo
) -> None:
    requests: list[str] = []
    with opened(chromium, settings, f"/?video={video.id}", requests, WEBCODECS_ENABLED="false") as page:
        expect(page.locator(".engine")).to_have_text("Plain video player")
        expect(page.locator(".frame")).to_contain_text("frame 0 of 12")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".frame")).to_contain_text("frame 1 of 12")
        page.keyboard.press("s")
        expect(page.locator(".saved")).to_have_text("All decisions saved")
    assert [clip.state for clip in ClipStore(database).load_live(video.id)] == [ClipState.REVIEW_SKIPPED, ClipState.PENDING_REVIEW]


def test_a_bucket_without_cors_rules_is_said_where_the_picture_would_be(
    chromium: Browser, settings: Settings, buckets: BucketServer, video: SourceVideo
) -> None:
    with without_cors(buckets) as url, opened(chromium, replace(settings, s3_endpoint_url=url), f"/?video={video.id}", []) as page:
        expect(page.get_by_text("answers, but does not allow this page to read: its CORS rules must allow")).to_be_visible()
