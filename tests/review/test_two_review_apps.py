"""Two review apps behind nginx as deploy/nginx has it: one is killed, and its reviewers go on with the other one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, expect

from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import Asked, Between, BucketServer, standing_between
from tests.chromium import WAIT_MS
from tests.media_files import barcode_video
from tests.oidc_provider import secrets_toml, signing_in_as
from tests.proxy_files import stored_video
from tests.served_review_app import ServedReviewApp
from tests.sticky_balancer import balanced
from tests.this_machine import free_port

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("review_journeys"), pytest.mark.timeout(240)]


@pytest.fixture
def store_kind() -> str:
    return "bucket"


@dataclass
class TwoApps:
    """url: of the balancer. apps: by the letter of the balancer's cookie. bucket: what is between the apps and the bucket."""

    url: str
    apps: dict[str, ServedReviewApp]
    context: BrowserContext
    bucket: Between

    def cookies(self) -> dict[str, str]:
        return {cookie["name"]: cookie["value"] for cookie in self.context.cookies(self.url)}

    def kill_the_one_of_the_page(self) -> str:
        """Returns the letter of the other one."""
        letter = self.cookies()["heaters_app"]
        self.apps[letter].kill()
        return next(other for other in self.apps if other != letter)


@pytest.fixture
def two(chromium: Browser, settings: Settings, buckets: BucketServer, tmp_path: Path) -> Iterator[TwoApps]:
    """Two apps on machines of their own, where people sign in; only database, bucket and settings are the same."""
    port = free_port()
    url = f"https://localhost:{port}"
    with standing_between(buckets) as between, signing_in_as("g-17", "Ada Lovelace") as issuer:
        secrets = secrets_toml(issuer, url)
        apps = {}
        for letter in "ab":
            home = tmp_path / letter
            (home / ".streamlit").mkdir(parents=True)
            (home / ".streamlit" / "secrets.toml").write_text(secrets)
            own = replace(settings, home=home, secret_key="the same on both machines", shared_review_url=url)
            apps[letter] = ServedReviewApp(replace(own, s3_endpoint_url=between.url))
        context = chromium.new_context(viewport={"width": 1280, "height": 720}, ignore_https_errors=True)
        context.set_default_timeout(WAIT_MS)
        try:
            with balanced(tmp_path / "nginx", port, {letter: app.port for letter, app in apps.items()}):
                with ThreadPoolExecutor() as pool:
                    list(pool.map(ServedReviewApp.start, apps.values()))
                yield TwoApps(url, apps, context, between)
        finally:
            context.close()
            for app in apps.values():
                app.kill()


def shows(page: Page, frame: int) -> None:
    expect(page.locator(".stage canvas")).to_have_attribute("data-frame", str(frame))


def test_a_killed_app_takes_nothing_with_it_its_reviewers_go_on_with_the_other_one(
    two: TwoApps, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    source = barcode_video(tmp_path / "holiday.mp4", frames=60, size=(320, 180))
    video = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(10, 20, 30, 40, 50), approved=False)
    page, links = two.context.new_page(), []
    page.on("request", lambda request: links.append(request.url) if "/api/index/" in request.url else None)
    page.goto(f"{two.url}/?video={video.id}")
    page.get_by_role("button", name="Sign in").click()
    page.locator(".st-key-top").wait_for()
    page.goto(f"{two.url}/?video={video.id}")
    shows(page, 0)
    page.keyboard.press("a")
    shows(page, 10)
    expect(page.locator(".saved")).to_have_text("All decisions saved")
    page.keyboard.press("a")
    other = two.kill_the_one_of_the_page()
    shows(page, 20)
    page.keyboard.press("s")
    shows(page, 30)
    page.keyboard.press("a")
    shows(page, 40)
    expect(page.locator(".saved")).to_have_text("All decisions saved")
    assert two.cookies()["heaters_app"] == other
    expect(page.locator(".stApp")).to_have_attribute("data-test-connection-state", "CONNECTED")
    expect(page.locator(".heaters-connection")).to_be_hidden()
    page.keyboard.press("Control+z")  # of what the lost app had applied or the other one has
    shows(page, 30)
    page.reload()
    page.locator(".st-key-top").wait_for()
    expect(page.get_by_role("button", name="Ada Lovelace")).to_be_visible()
    shows(page, 30)
    approved, skipped, waits = ClipState.REVIEW_APPROVED, ClipState.REVIEW_SKIPPED, ClipState.PENDING_REVIEW
    assert [clip.state for clip in ClipStore(database).load_live(video.id)] == [approved, approved, skipped, waits, waits, waits]
    done = ReviewStore(database, lambda _id, frames: [0.0 for _ in frames]).history(source_video_id=video.id, limit=50)
    assert [str(one.action) for one in reversed(done)] == ["approve", "approve", "skip", "approve", "undo"], "nothing lost, nothing doubled"
    answers = [two.context.request.get(link).status for link in links]
    assert set(answers) == {200}, "links that one has signed are good for the other one"
    assert all(cookie["secure"] for cookie in two.context.cookies(two.url))
    a_list_is_submitted(page, two, tmp_path)
    film = tmp_path / "long way.mp4"
    film.write_bytes(source.read_bytes() + (20_000_000).to_bytes(4, "big") + b"free" + bytes(19_999_992))
    an_upload_goes_on_with_the_other_app(page, two, database, object_store, film)


def a_list_is_submitted(page: Page, two: TwoApps, tmp_path: Path) -> None:
    """Through Streamlit's own upload, with the token against foreign sites that the lost app gave."""
    films = tmp_path / "films.txt"
    films.write_text("/nowhere/film.mp4\n")
    page.goto(f"{two.url}/videos")
    page.get_by_text("Submit videos").click()
    chooser = page.get_by_test_id("stFileUploaderDropzoneInput")
    for _ in range(4):  # Streamlit may draw the box anew between a click and what it opens: then one clicks again
        page.get_by_role("button", name="Submit a list from a file").click()
        with suppress(TimeoutError):
            chooser.wait_for(state="attached", timeout=WAIT_MS / 4)
            break
    chooser.set_input_files(str(films))
    page.get_by_role("button", name="Submit the list").click()
    expect(page.get_by_text("there is no file or folder /nowhere/film.mp4")).to_be_visible()


def an_upload_goes_on_with_the_other_app(page: Page, two: TwoApps, database: Database, object_store: ObjectStore, film: Path) -> None:
    """The app of the page is killed while the second of three parts is on its way to the bucket."""
    on_its_way, killed = threading.Event(), threading.Event()

    def hold(asked: Asked) -> Asked | None:
        if asked.operation != "UploadPart" or "partNumber=2" not in asked.path or killed.is_set():
            return asked
        on_its_way.set()
        killed.wait(WAIT_MS / 1000)
        return None

    next(app for app in two.apps.values() if app.process is not None and app.process.poll() is not None).start()
    two.bucket.before = hold
    page.locator("input[type=file][multiple]").first.set_input_files(str(film))
    assert on_its_way.wait(WAIT_MS / 1000)
    other = two.kill_the_one_of_the_page()
    killed.set()
    expect(page.locator("li.ok")).to_contain_text("submitted as source video")
    assert two.cookies()["heaters_app"] == other
    (video,) = SourceVideoStore(database).load_all(text=film.stem)
    key = video.source.partition("/uploads/")[2]
    assert object_store.get_bytes(f"uploads/{key}") == film.read_bytes()
    sent = [asked.path.partition("partNumber=")[2][0] for asked in two.bucket.asked if asked.operation == "UploadPart"]
    assert sorted(sent) == ["1", "2", "2", "3"], "what was there is not sent again"
