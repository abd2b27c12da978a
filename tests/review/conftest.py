"""The desk of one test; and the served app, its reviewers' browsers and their pages, shared by the browser tests of one process."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy.engine import make_url

from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings, child_environment
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from review_app.service.links import open_links
from review_app.service.review_desk import ReviewDesk
from tests.chromium import WAIT_MS
from tests.media_files import barcode_video
from tests.proxy_files import make_proxy_file, stored_video
from tests.served_review_app import ServedReviewApp
from tests.shown_frames import SHOWN_HASH
from tests.warm_process import ran

FRAMES = 120


@pytest.fixture
def desk(settings: Settings, database: Database, object_store: ObjectStore) -> ReviewDesk:
    """On the test's own database and object store."""
    return ReviewDesk(settings=settings, database=database, objects=object_store, links=open_links(settings))


@dataclass
class App:
    """The served app and what it stands on.

    requests: addresses elsewhere that a browser asked for. errors: those of the pages' scripts that nobody caught.
    """

    settings: Settings
    database: Database
    postgres: str
    source: Path
    proxy: Path
    server: ServedReviewApp
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def objects(self) -> LocalObjectStore:
        return LocalObjectStore(self.settings.objects_folder, work_folder=self.settings.work_folder)

    @property
    def clips(self) -> ClipStore:
        return ClipStore(self.database)

    @property
    def reviews(self) -> ReviewStore:
        return ReviewStore(self.database, lambda _video_id, frames: [frame / 24 for frame in frames])

    def video(self, *cuts: int, title: str = "Holiday") -> SourceVideo:
        """A source video of FRAMES frames with these cuts, whose clips wait for review."""
        made = stored_video(
            self.source, self.source.parent, database=self.database, objects=self.objects, cuts=cuts, approved=False, proxy=self.proxy
        )
        return SourceVideoStore(self.database).update(made.id, title=title)

    def live(self, video: SourceVideo) -> list[Clip]:
        return self.clips.load_live(video.id)

    def states(self, video: SourceVideo) -> list[ClipState]:
        return [clip.state for clip in self.live(video)]

    def starts(self, video: SourceVideo) -> list[int]:
        return [clip.start_frame for clip in self.live(video)]

    def applied(self, video: SourceVideo) -> list[tuple[str, str, tuple[int, ...]]]:
        """(who, what, clip ids) of the ledger, oldest first."""
        entries = self.reviews.history(source_video_id=video.id, limit=200)
        return [(entry.reviewer, str(entry.action), entry.clip_ids) for entry in reversed(entries)]

    def do_what_is_due(self, video: SourceVideo, *, fails: bool = False) -> None:
        """Do all that is due on one source video, as `heaters process VIDEO` does. fails: it is expected to fail."""
        variables = {**child_environment(self.settings), "HOME": str(self.settings.home)}
        done = ran("from heaters_dagster.cli import main; main()", "process", str(video.id), environment=variables)
        assert done.returncode == int(fails), done.stdout + done.stderr

    @contextmanager
    def postgres_away(self) -> Iterator[None]:
        """As if the database were down: its sessions are ended, and new ones refused."""
        name = make_url(self.database.url).database
        self.database.dispose()
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false".encode())
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            try:
                yield
            finally:
                connection.execute(f"alter database {name} allow_connections true".encode())

    @contextmanager
    def beside(self, folder: Path) -> Iterator[str]:
        """Another served app, with nothing in it: its address."""
        with new_database(self.postgres, "empty_app") as url:
            server = ServedReviewApp(replace(self.settings, home=folder, database_url=url))
            server.start()
            try:
                yield server.url
            finally:
                server.kill()


@contextmanager
def new_database(postgres: str, name: str) -> Iterator[str]:
    """URL of a migrated database, which is dropped afterwards."""
    name = f"{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template heaters_template".encode())
        try:
            yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def app(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app on a database of its own, served from another process."""
    folder = tmp_path_factory.mktemp("journeys")
    name = f"journeys_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template heaters_template".encode())
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    database = Database.connect(url)
    source = barcode_video(folder / "holiday.mp4", frames=FRAMES, size=(320, 180))
    settings = Settings(home=folder, database_url=url, lease_seconds=20, embedding_model=str(folder / "no-model"), embedding_fallback=True)
    proxy = make_proxy_file(source, folder / "proxy.mp4")
    app = App(settings, database, postgres_url, source, proxy, ServedReviewApp(settings))
    app.server.start()
    yield app
    app.server.kill()
    database.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())
    assert app.requests == [], "no request leaves this machine"
    assert app.errors == []


@pytest.fixture(scope="session")
def profiles(chromium: Browser, app: App) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser profile for each reviewer, kept for the session: its cookie remembers who sits there."""
    made: dict[str, BrowserContext] = {}

    def profile(name: str) -> BrowserContext:
        if name not in made:
            context = made[name] = chromium.new_context(viewport={"width": 1280, "height": 720})
            context.set_default_timeout(WAIT_MS)
            context.on("request", lambda request: _note(app, request.url))
        return made[name]

    yield profile
    for context in made.values():
        context.close()


def _note(app: App, url: str) -> None:
    if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", url):
        app.requests.append(url)


@pytest.fixture
def visit(profiles: Callable[[str], BrowserContext], app: App) -> Iterator[Callable[..., Page]]:
    """Open a path of the app as a reviewer, who gives the name when asked."""
    opened: list[Page] = []

    def visit(path: str, *, as_: str = "Ada", url: str | None = None, refused: list[str] | None = None) -> Page:
        """refused: gets the addresses that were answered with an error."""
        page = profiles(as_).new_page()
        if refused is not None:
            page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        opened.append(page)
        page.add_init_script(SHOWN_HASH)
        page.on("pageerror", lambda error: app.errors.append(str(error)))
        page.goto(f"{url or app.server.url}{path}")
        page.locator(".st-key-top, .st-key-door, .stAlert").first.wait_for()
        if page.locator(".st-key-door").is_visible():
            page.get_by_label("Your name").fill(as_)
            page.get_by_role("button", name="Start").click()
            page.locator(".st-key-top").wait_for()
        return page

    yield visit
    for page in opened:
        page.close()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def becomes_true(page: Page, script: str) -> None:
    """Wait for what a script says of a page of the app.

    The page's content policy lets a script be evaluated from outside, but not again by the page itself: so `wait_for_function` fails there
    whenever the first answer is no.
    """
    soon(lambda: bool(page.evaluate(script)))
