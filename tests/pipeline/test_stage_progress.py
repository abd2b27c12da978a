"""How far a stage is: seen while it works, by its real pass; not after it, and not when it was killed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.progress import Progress, in_words, silent
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.source_video_lists import ListedVideo, SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.stage_progress import kept_progress
from resources.postgres.tables import stage_progress
from review_app.service import views
from tests.media_files import ffmpeg

pytestmark = pytest.mark.folder


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(stage_progress)).scalar_one())


def test_a_pass_is_seen_while_it_works_and_not_after_it(settings: Settings, database: Database, tmp_path: Path) -> None:
    settings = replace(settings, detector="adaptive")
    picture = ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=12", "-c:v", "libx264", "-preset", "ultrafast"]
    video = SourceVideoStore(database).add(str(ffmpeg(picture, tmp_path / "film.mp4")), "film")
    lists, seen, errors = SourceVideoLists(database), list[ListedVideo](), list[str]()
    working = threading.Thread(target=lambda: errors.extend(process_due(settings).failures))
    working.start()
    while working.is_alive():
        (item,) = lists.newest(limit=1)
        if item.progress and (not seen or item.progress != seen[-1].progress):
            seen.append(item)
        time.sleep(0.05)
    working.join()
    assert errors == []
    made = [item for item in seen if item.progress.get("proxy", silent) is not silent and item.progress["proxy"].stage == "proxy"]
    assert made, "a pass of some seconds is seen"
    for item in made:
        told = item.progress["proxy"]
        assert (told.total, told.unit, item.video.state) == (12.0, "seconds", SourceVideoState.PREPROCESSING)
        assert 0 <= told.done <= 13
        assert told.elapsed_seconds > 0
        assert views.video_progress(item.video, item.progress) == told
        assert views.video_fraction(item.video, told) == told.fraction
    assert all(set(item.progress) <= {"source_video", "proxy", "virtual_clips", "gold_master"} for item in seen)
    assert lists.newest(limit=1)[0].progress == {}
    assert lists.overview_of(video.id).progress == {}
    assert rows(database) == 0


def test_what_a_killed_process_leaves_is_not_shown_as_alive(database: Database) -> None:
    """The server frees the locks of a process that dies; its row stays until the next try begins."""
    video_id, lists = SourceVideoStore(database).add("/films/film.mp4", "film").id, SourceVideoLists(database)
    told = Progress("proxy", 60.0, 240.0, "seconds", 20.0, "piece 3 of 10")
    now = [0.0]
    with database.stage_lock("proxy", video_id):
        killed = kept_progress(database, video_id, "proxy", silent, clock=lambda: now[0])
        report = killed.__enter__()
        report(told)
        assert lists.newest(limit=1)[0].progress == {"proxy": told}
        assert lists.overview_of(video_id).progress == {"proxy": told}
        report(replace(told, done=61.0))
        assert lists.newest(limit=1)[0].progress == {"proxy": told}, "at most every two seconds"
        now[0] = 2.0
        report(replace(told, done=62.0))
        assert lists.newest(limit=1)[0].progress == {"proxy": replace(told, done=62.0)}
        with database.stage_lock("gold_master", video_id), kept_progress(database, video_id, "gold_master", silent) as other:
            other(replace(told, stage="gold_master"))
            assert set(lists.newest(limit=1)[0].progress) == {"proxy", "gold_master"}
    assert rows(database) == 1
    assert lists.newest(limit=1)[0].progress == {}
    with database.stage_lock("proxy", video_id), kept_progress(database, video_id, "proxy", silent):
        assert lists.newest(limit=1)[0].progress == {}, "a new try does not begin where the old one was"
    assert rows(database) == 0


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Progress("proxy", 60.0, 240.0, "seconds", 60.0), "making the proxy: 25 %, about 3 min left"),
        (
            Progress("proxy_pieces", 630.0, 1500.0, "seconds", 145.0, "piece 3 of 5"),
            "making the pieces of the proxy, piece 3 of 5: 42 %, about 3 min left",
        ),
        (
            Progress("proxy_pieces", 0.0, 1500.0, "seconds", 0.0, "2 of 5 are there"),
            "making the pieces of the proxy, 2 of 5 are there: 0 %",
        ),
        (Progress("download", 25e6, None, "bytes", 3.0), "fetching it: 25 MB so far"),
        (Progress("upload", 0.0, 5e6, "bytes", 0.0), "storing it: 0 %"),
        (Progress("gold_master", 7300.0, 7200.0, "seconds", 900.0), "making the gold master: 100 %, about 0 s left"),
    ],
)
def test_progress_in_words(told: Progress, words: str) -> None:
    assert in_words(told) == words
