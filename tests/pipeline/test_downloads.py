"""Downloads in the pipeline: sites that ask for a pause, downloads that go on after one, and what is said of their quality."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from assets.source_video import fetch_source_video, source_video
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.errors import NotYetError
from heaters_dagster.domain.politeness import MAX_REFUSALS
from heaters_dagster.domain.quality import Quality
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.downloader import Downloader
from resources.upkeep.leftovers import sweep_work
from tests.fake_site import FakeSite, known_to_ytdlp, picture
from tests.media_files import barcode_video
from tests.web_server import WebServer, downloader, file, ranged, status

pytestmark = pytest.mark.folder
SITE = "127.0.0.1"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=12)


@pytest.fixture
def web(tmp_path) -> Iterator[WebServer]:
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").running() as server:
        yield server


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, allow_private_addresses=True, download_pause_seconds=0.0)


def materialized(settings: Settings, video: SourceVideo) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source_videos", [str(video.id)])
        return dg.materialize(
            [source_video], partition_key=str(video.id), resources=dagster_resources(settings), instance=instance, raise_on_error=False
        )


def let_time_pass(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update download_sites set not_before = now()"))


def test_a_long_pause_is_heeded_and_counts_no_failed_try(database, settings, web, clip):
    videos = SourceVideoStore(database)
    video = videos.add(f"{web.url}/a.mp4", "a")
    web.answers["/a.mp4"] = status(429, {"Retry-After": "86400"})
    outcome = process_due(settings)
    (run,) = outcome.runs
    assert (run.error, outcome.failures) == (None, [])
    assert run.note is not None
    assert run.note.startswith("waits until 20")
    assert run.note.endswith("UTC (24 hours): its site answers 429")
    assert "Nothing more is due. 1 download must wait; the first waits until" in outcome.sentence
    row = videos.load(video.id)
    assert (row.state, row.attempts, row.error) == (SourceVideoState.NEW, 0, None)
    assert SourceVideoLists(database).overview_of(video.id).site_waits == run.note
    asked = len(web.requests)
    assert process_due(settings).runs == ()
    assert len(web.requests) == asked, "the site is not asked before its time"
    let_time_pass(database)
    web.answers["/a.mp4"] = file(clip.read_bytes(), "video/mp4")
    assert materialized(settings, video).success
    assert videos.load(video.id).state is SourceVideoState.DOWNLOADED
    assert SiteTurns.from_settings(settings, database).refused(SITE, "", None).refusals == 1, "it has answered since"


def test_what_was_begun_stays_until_its_video_is_fetched_or_deleted(database, settings, web):
    videos, work = SourceVideoStore(database), WorkFolder(settings.work_folder)
    waits, gone = (videos.add(f"{web.url}/{name}.mp4", name) for name in ("waits", "gone"))
    for video in (waits, gone):
        with suppress(ZeroDivisionError), work.continued(f"source_video-{video.id}", "x", stays=lambda error: True):
            raise ZeroDivisionError
    assert sweep_work(work, videos) == []
    videos.set_state(gone.id, SourceVideoState.DELETED)
    assert [folder.name for folder in sweep_work(work, videos)] == [f"source_video-{gone.id}.continued"]


def test_a_download_takes_no_more_of_the_line_than_it_may(settings, web, clip, tmp_path):
    assert Downloader.from_settings(replace(settings, download_rate_mib=0.5)).bytes_per_second == 512 * 1024
    assert Downloader.from_settings(settings).bytes_per_second is None
    data = clip.read_bytes()
    web.answers["/a.mp4"] = file(data, "video/mp4")
    began = time.monotonic()
    downloader(bytes_per_second=len(data)).fetch(f"{web.url}/a.mp4", tmp_path / "web")
    assert time.monotonic() - began > 0.7


def test_a_site_that_refuses_for_ever_needs_a_person_in_the_end(database, settings, web):
    videos, turns = SourceVideoStore(database), SiteTurns.from_settings(settings, database)
    video = videos.add(f"{web.url}/a.mp4", "a")
    for _ in range(MAX_REFUSALS - 1):
        turns.refused(SITE, "its site answers 429", None)
    let_time_pass(database)
    web.answers["/a.mp4"] = status(429, {"Retry-After": "600"})
    assert not materialized(settings, video).success
    row = videos.load(video.id)
    assert row.state is SourceVideoState.DOWNLOAD_FAILED
    assert f"it said so {MAX_REFUSALS} times in a row. heaters retry asks again" in row.error
    assert turns.held_off(SITE) is not None


def test_a_download_whose_site_has_no_turn_is_put_off(database, settings, web, object_store):
    """By hand, while another process downloads from the same site."""
    videos, turns = SourceVideoStore(database), SiteTurns.from_settings(settings, database)
    video = videos.add(f"{web.url}/a.mp4", "a")
    with turns.turn(SITE, patience_seconds=0), pytest.raises(NotYetError, match="waits for its turn"):
        fetch_source_video(
            video.id, videos=videos, objects=object_store, work=WorkFolder(settings.work_folder), turns=turns,
            downloader=downloader(longest_wait_seconds=0),
        )  # fmt: skip
    assert (videos.load(video.id).state, web.requests) == (SourceVideoState.NEW, [])


def test_a_drop_in_quality_is_a_warning_and_what_was_offered_is_kept(database, settings, web, clip):
    site = FakeSite(web)
    web.answers["/good.mp4"] = ranged(clip.read_bytes())
    web.answers["/best.webm"] = status(404)
    formats = [picture("/good.mp4", 360, sound="mp4a.40.2"), picture("/best.webm", 2160, codec="vp9", ext="webm", sound="opus")]
    video = SourceVideoStore(database).add(site.add("v1", formats, title="A day out"), "v1")
    with known_to_ytdlp():
        run = materialized(settings, video)
    assert run.success
    row = SourceVideoStore(database).load(video.id)
    fallback, drop, smaller = row.warnings
    assert fallback.startswith("the best formats could not be downloaded (")
    assert drop.startswith("the site offered 2160p and 360p was downloaded (the best formats could not be downloaded")
    assert smaller == "the site said 360p, but the file that arrived has 120p"
    kept = Quality.from_json(FactsStore(database).load(video.id).quality)
    assert kept is not None
    assert [one.lines for one in kept.offered] == [2160, 360]
    assert (kept.taken.lines, kept.arrived and kept.arrived.lines, kept.sound) == (360, 120, "AAC")
    metadata = run.asset_materializations_for_node("source_video")[0].metadata
    assert metadata["quality"].value == kept.words
    assert Quality.from_json(SourceVideoLists(database).overview_of(video.id).quality) == kept


def test_the_best_is_taken_whatever_its_container(database, settings, web, clip):
    site = FakeSite(web)
    web.answers["/best.webm"] = ranged(clip.read_bytes())
    formats = [picture("/good.mp4", 1080, sound="mp4a.40.2"), picture("/best.webm", 2160, codec="vp9", ext="webm", sound="opus")]
    video = SourceVideoStore(database).add(site.add("v1", formats), "v1")
    with known_to_ytdlp():
        assert materialized(settings, video).success
    assert SourceVideoStore(database).load(video.id).warnings == ("the site said 2160p, but the file that arrived has 120p",)
    assert "/good.mp4" not in web.requests
