"""The review app with 100,000 clips waiting: how soon the first one is seen in a real Chromium, and how fast a decision is in Postgres."""

from __future__ import annotations

import http.client
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import BrowserContext

from benchmarks.many_clips import cut_source_video
from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from review_app.server.routes import TOKEN_HEADER
from review_app.service.links import Session, open_links
from tests.chromium import started_chromium, with_profile
from tests.media_files import barcode_video
from tests.proxy_files import stored_video
from tests.served_review_app import ServedReviewApp

VIDEOS = 50
CLIPS_IN_VIDEO = 2_000
VISITS = 40
VISITS_OF_NEW_BROWSERS = 20
_FIRST_VISITS = 4
#: A page that is closed at once leaves nothing compiled behind.
_BETWEEN_VISITS_MS = 500
DECISIONS = 300
_WARM_UP = 20

#: Notes when the first frame is on the canvas, which lies in the shadow tree of its component.
_SEEN = """
(function look() {
  const roots = [document, ...[...document.querySelectorAll("*")].map((element) => element.shadowRoot).filter(Boolean)];
  const canvas = roots.map((root) => root.querySelector(".stage canvas[data-frame='0']")).find(Boolean);
  if (canvas) window.seen = performance.now();
  else requestAnimationFrame(look);
})();
"""
_SINCE_THE_QUEUE = """
window.seen - performance.getEntriesByType("resource").find((entry) => new URL(entry.name).pathname === "/api/queue").startTime
"""


def run() -> list[Row]:
    with scratch_database() as (settings, database):
        objects = open_object_store(settings)
        # The first of the queue is a real one; those behind it are rows.
        source = barcode_video(settings.home / "first.mp4", frames=120, size=(1280, 720))
        stored_video(source, settings.home, database=database, objects=objects, cuts=(40, 80), approved=False)
        videos = [cut_source_video(database, clips=CLIPS_IN_VIDEO, clip_frames=100) for _ in range(VIDEOS)]
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum analyze")
        served = ServedReviewApp(settings)
        try:
            served.start()
            return [*_opened(served, settings, database), *_decided(served, settings, database, videos)]
        finally:
            served.kill()


def _opened(served: ServedReviewApp, settings: Settings, database: Database) -> list[Row]:
    """Milliseconds to the first clip's first frame: from asking for the queue, and from the navigation."""
    reviewer = ReviewerStore(database).named("Ada")
    token = open_links(settings).remembered_token(Session(reviewer.id, reviewer.name))
    queue: list[float] = []

    def visit(context: BrowserContext) -> float:
        context.add_cookies([{"name": open_links(settings).cookie, "value": token, "url": served.url}])
        page = context.new_page()
        page.add_init_script(_SEEN)
        page.goto(served.url)
        page.wait_for_function("window.seen !== undefined")
        seen = float(page.evaluate("window.seen"))
        queue.append(page.evaluate(_SINCE_THE_QUEUE))
        page.wait_for_timeout(_BETWEEN_VISITS_MS)
        page.close()
        return seen

    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "bypass_csp": True}
    with started_chromium() as browser, tempfile.TemporaryDirectory() as profile:
        with browser.new_context(**options) as context:
            visit(context)  # the server's first ever
        with with_profile(browser, Path(profile), **options) as context:
            for _ in range(_FIRST_VISITS):
                visit(context)
            queue.clear()
            known = [visit(context) for _ in range(VISITS)]
        new = []
        for _ in range(VISITS_OF_NEW_BROWSERS):
            with browser.new_context(**options) as context:
                new.append(visit(context))
    note = f"{VIDEOS * CLIPS_IN_VIDEO:,} clips wait; from asking for the queue to the first frame on the canvas, {len(queue)} visits"
    start = f"from the navigation on, Streamlit's own start with it; a browser with its profile, as a reviewer's, {VISITS} visits"
    return [
        at_most("queue opened at its first clip, 95th percentile", _percentile(queue, 95), "ms", 1000, note),
        Row("queue opened at its first clip, median", _percentile(queue, 50), "ms"),
        at_most("whole page, 95th percentile", _percentile(known, 95), "ms", 1000, start),
        Row("whole page, median", _percentile(known, 50), "ms"),
        Row("whole page in a browser that was never here, median", _percentile(new, 50), "ms", note=f"{len(new)} visits"),
    ]


def _decided(served: ServedReviewApp, settings: Settings, database: Database, videos: Sequence[int]) -> list[Row]:
    """Milliseconds of whole decision requests: the commit in Postgres, the clips around and the progress of the queue."""
    reviewer = ReviewerStore(database).named("Ada")
    headers = {
        TOKEN_HEADER: open_links(settings).session_token(Session(reviewer.id, reviewer.name)),
        "Content-Type": "application/json",
        "Sec-Fetch-Site": "same-origin",
    }
    clips = ClipStore(database).load_live(videos[len(videos) // 2])
    chosen = random.Random(1).sample(clips, _WARM_UP + DECISIONS)
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    times = []
    for number, clip in enumerate(chosen):
        decision = {
            "request_key": f"benchmark-{number}",
            "action": random.Random(number).choice(["approve", "skip", "archive"]),
            "clip_id": clip.id,
            "source_video_id": clip.source_video_id,
            "versions": {str(clip.id): clip.cut_point_version},
        }
        began = time.perf_counter()
        connection.request("POST", "/api/decisions", json.dumps(decision), headers)
        answer = connection.getresponse()
        said = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(said.decode())
    connection.close()
    note = f"the whole request, as a page sends it; {DECISIONS} decisions, {VIDEOS * CLIPS_IN_VIDEO:,} clips in the queue"
    return [
        at_most("decision committed and answered, 95th percentile", _percentile(times[_WARM_UP:], 95), "ms", 50, note),
        Row("decision committed and answered, median", _percentile(times[_WARM_UP:], 50), "ms"),
    ]


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.array(values), percent))
