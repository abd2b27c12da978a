"""How far a stage is: seen while it works, by its real pass; not after it, and not when it was killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from assets.proxy_pieces import ENCODE
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.alerts import Cause, OpenAlert
from heaters_dagster.domain.progress import Progress, in_words, progress_in, silent
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.postgres.alert_store import AlertStore
from resources.postgres.database import Database
from resources.postgres.source_video_lists import ListedVideo, SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.stage_progress import KeptProgress, standing_stages, told_turn
from resources.postgres.tables import stage_progress
from resources.upkeep.alerts import look_and_tell
from review_app.service import views
from tests.media_files import ffmpeg
from tests.this_machine import child_processes, command_line, eventually

pytestmark = pytest.mark.folder


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(stage_progress)).scalar_one())


def encoded(database: Database) -> int:
    """How many stages have told how far they are."""
    with database.read() as connection:
        return int(connection.execute(select(func.count()).where(stage_progress.c.total.is_not(None))).scalar_one())


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
    made = [item for item in seen if item.progress.get("proxy", silent) is not silent and item.progress["proxy"].total is not None]
    made = [item for item in made if item.progress["proxy"].stage == "proxy"]
    assert made, "a pass of some seconds is seen"
    for item in made:
        told = item.progress["proxy"]
        assert (told.total, told.unit, item.video.state) == (12.0, "seconds", SourceVideoState.PREPROCESSING)
        assert 0 <= told.done <= 13
        assert told.elapsed_seconds > 0
        assert progress_in(item.video.state, item.progress) == told
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
        report = KeptProgress(database, video_id, "proxy", silent, clock=lambda: now[0])
        killed = report.at_work()
        killed.__enter__()
        report(told)
        assert lists.newest(limit=1)[0].progress == {"proxy": told}
        assert lists.overview_of(video_id).progress == {"proxy": told}
        report(replace(told, done=61.0))
        assert lists.newest(limit=1)[0].progress == {"proxy": told}, "at most every two seconds"
        now[0] = 2.0
        report(replace(told, done=62.0))
        assert lists.newest(limit=1)[0].progress == {"proxy": replace(told, done=62.0)}
        with database.stage_lock("gold_master", video_id), KeptProgress(database, video_id, "gold_master", silent).at_work() as other:
            other(replace(told, stage="gold_master"))
            assert set(lists.newest(limit=1)[0].progress) == {"proxy", "gold_master"}
    assert rows(database) == 1
    assert lists.newest(limit=1)[0].progress == {}
    with database.stage_lock("proxy", video_id), KeptProgress(database, video_id, "proxy", silent).at_work():
        assert lists.newest(limit=1)[0].progress == {"proxy": Progress.begun("proxy")}, "a new try does not begin where the old one was"
    assert rows(database) == 0


def test_a_stage_stands_still_while_its_figures_stay_the_same_and_not_while_it_waits_for_its_turn(database: Database) -> None:
    videos, lists = SourceVideoStore(database), SourceVideoLists(database)
    video = videos.add("/films/film.mp4", "film")
    told, now, seen = Progress("proxy", 60.0, 240.0, "seconds", 20.0), [0.0], list[Progress]()
    report = KeptProgress(database, video.id, "proxy", seen.append, clock=lambda: now[0])

    def tell(progress: Progress, *, minutes: float) -> list[tuple[str, int]]:
        """What stands still after this was told, and so many minutes more have passed."""
        now[0] += 3.0
        report(progress)
        with database.begin() as connection:
            connection.execute(stage_progress.update().values(progressed_at=stage_progress.c.progressed_at - timedelta(minutes=minutes)))
        with database.read() as connection:
            return [(one.asset, round(one.progress.still_seconds / 60)) for one in standing_stages(connection, longer_than_seconds=3600)]

    report(told)
    assert rows(database) == 0, "another process may have the lock"
    with database.stage_lock("proxy", video.id), report.at_work():
        with database.begin() as connection:
            connection.execute(stage_progress.update().values(progressed_at=stage_progress.c.progressed_at - timedelta(minutes=61)))
        with database.read() as connection:
            (silent_one,) = standing_stages(connection, longer_than_seconds=3600)
        assert (silent_one.asset, in_words(silent_one.progress)) == ("proxy", "making the proxy, no progress for 1 h 1 min")
    with database.stage_lock("proxy", video.id), report.at_work():
        assert tell(told, minutes=59) == []
        assert in_words(lists.overview_of(video.id).progress["proxy"]) == "making the proxy: 25 %, no progress for 59 min"
        assert tell(replace(told, elapsed_seconds=3560.0), minutes=2) == [("proxy", 61)], "a hung ffmpeg says the same again and again"
        assert tell(replace(told, done=61.0), minutes=9) == []
        assert in_words(lists.overview_of(video.id).progress["proxy"]) == "making the proxy: 25 %, about 58 s left"
        now[0] -= 2.0
        assert tell(replace(told, part="waits for its turn", is_waiting=True), minutes=90) == [], "written at once"
        assert in_words(lists.overview_of(video.id).progress["proxy"]) == "making the proxy, waits for its turn"
        assert tell(told, minutes=61) == [("proxy", 61)]
    with database.read() as connection:
        assert standing_stages(connection, longer_than_seconds=0) == []
    assert len(seen) == 6


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_stage_that_waits_for_its_turn_says_so_and_stands_not_still(at_once: int, database: Database) -> None:
    video, lists = SourceVideoStore(database).add("/films/film.mp4", "film"), SourceVideoLists(database)
    report, began = KeptProgress(database, video.id, "proxy", silent), threading.Event()

    def works() -> None:
        with database.stage_lock("proxy", video.id), report.at_work():
            with told_turn(database, ENCODE, at_once=at_once, asset="proxy", report=report):
                began.set()
                eventually(lambda: lists.overview_of(video.id).progress == {"proxy": Progress.begun("proxy")})

    waiting = threading.Thread(target=works)
    with ExitStack() as others:
        for _ in range(at_once):
            others.enter_context(database.turn_on_this_machine(ENCODE, at_once=at_once))
        waiting.start()
        assert eventually(lambda: any(one.is_waiting for one in lists.overview_of(video.id).progress.values()))
        told = lists.overview_of(video.id).progress["proxy"]
        assert in_words(told) == f"making the proxy, waits for its turn on {database.host}"
        assert str(told) == f"proxy waits for its turn on {database.host}"
        assert progress_in(SourceVideoState.DOWNLOADED, {"proxy": told}) == told
        with database.begin() as connection:
            assert standing_stages(connection, longer_than_seconds=0) == []
        assert not began.is_set()
    waiting.join(60)
    assert began.is_set()
    assert rows(database) == 0


def test_an_ffmpeg_that_is_stopped_is_an_alert_until_it_goes_on(settings: Settings, database: Database, tmp_path: Path) -> None:
    settings = replace(settings, detector="adaptive", alert_no_progress_minutes=30.0)
    picture = ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=12", "-c:v", "libx264", "-preset", "ultrafast"]
    video = SourceVideoStore(database).add(str(ffmpeg(picture, tmp_path / "film.mp4")), "film")
    alerts, errors = AlertStore(database), list[str]()

    def open_alerts() -> list[OpenAlert]:
        look_and_tell(settings, database, {Cause.NO_PROGRESS})
        return alerts.load_open()

    def encoding() -> list[int]:
        return [child for child in child_processes() if "libx264" in command_line(child)]

    working = threading.Thread(target=lambda: errors.extend(process_due(settings).failures))
    working.start()
    try:
        assert eventually(lambda: bool(encoding()), pause=0.005)
        (stopped,) = encoding()
        os.kill(stopped, signal.SIGSTOP)
        assert eventually(lambda: encoded(database) == 1)
        assert open_alerts() == []
        with database.begin() as connection:
            since = connection.scalar(
                stage_progress.update().values(progressed_at=func.now() - timedelta(minutes=31)).returning(stage_progress.c.progressed_at)
            )
        (alert,) = open_alerts()
        assert alert.key == ("no_progress", f"proxy:{video.id}")
        stands = f"the stage proxy on {database.host} has made no progress since {since:%Y-%m-%d %H:%M} UTC (making the proxy: "
        assert alert.words.startswith(f"source video {video.id}, film: {stands}")
        look_and_tell(replace(settings, alert_no_progress_minutes=0.0), database, {Cause.NO_PROGRESS})
        assert alerts.load_open() == [], "0: never"
        assert len(open_alerts()) == 1
        os.kill(stopped, signal.SIGCONT)
        assert eventually(lambda: open_alerts() == [])
    finally:
        with suppress(ProcessLookupError, UnboundLocalError):
            os.kill(stopped, signal.SIGCONT)
        working.join()
    assert errors == []
    assert SourceVideoStore(database).load(video.id).state is SourceVideoState.SCENES_DETECTED
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
        (Progress("download", 25e6, None, "bytes", 3.0, still_seconds=4000.0), "fetching it: 25 MB so far, no progress for 1 h 6 min"),
        (Progress("exports", 3.0, 10.0, "clips", 0.0, still_seconds=599.0), "exporting clips: 30 %"),
        (Progress("gold_master", 7300.0, 7200.0, "seconds", 900.0), "making the gold master: 100 %, about 0 s left"),
    ],
)
def test_progress_in_words(told: Progress, words: str) -> None:
    assert in_words(told) == words
