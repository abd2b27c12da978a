"""What is due goes by the age of a state: rows that are looked at, leased or cut meanwhile grow no younger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from heaters_dagster.domain.due import GOLD_MASTER_PATIENCE_SECONDS, RETRY_AFTER_SECONDS, VideoFacts, wanted_runs
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, Job
from heaters_dagster.domain.states import SourceVideoState
from resources.postgres import due_facts
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.due_candidates import candidates
from resources.postgres.due_facts import load_video_facts
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.pipeline_rows import cut_video, reviews, video_in

Written = Callable[[Database, Clip], None]


def grow_older(database: Database, seconds: float) -> None:
    """As if nothing had been done for so long."""
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        for column in ("state_changed_at", "updated_at"):
            for table in ("clips", "source_videos"):
                connection.execute(text(f"update {table} set {column} = {column} - :seconds * interval '1 second'"), {"seconds": seconds})
        past = "gold_master_failed_at = gold_master_failed_at - :seconds * interval '1 second'"
        connection.execute(text(f"update source_videos set {past}"), {"seconds": seconds})


def facts(database: Database) -> VideoFacts:
    (video,) = load_video_facts(database)
    return video


def jobs(*videos: VideoFacts) -> list[Job]:
    return [run.job for run in wanted_runs(videos, frozenset())]


def looked_at(database: Database, clip: Clip) -> None:
    queue = ReviewQueueStore(database)
    queue.open(clip.id, reviewer="ann")
    queue.renew([clip.id], reviewer="ann")
    queue.take(QueueFilter(states=(clip.state,)), reviewer="ann")


def written_meanwhile(database: Database, clip: Clip) -> None:
    with database.begin() as connection:
        connection.execute(text("update clips set cut_point_version = cut_point_version + 1"))


@pytest.mark.parametrize("meanwhile", [looked_at, written_meanwhile])
def test_a_failed_export_is_tried_again_though_somebody_looks_at_it(database: Database, meanwhile: Written) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve(clip.id, reviewer="ann")
    failed = ClipStore(database).fail(clip.id, EXPORTS, "the disk is full", transient=True)
    assert failed is not None
    assert jobs(facts(database)) == []
    grow_older(database, RETRY_AFTER_SECONDS)
    meanwhile(database, failed)
    assert jobs(facts(database)) == [Job.EXPORT]


def test_a_gold_master_s_six_hours_are_not_begun_anew_by_a_cut_in_review(database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    waiting = VideoFacts(id=clip.source_video_id + 1, state=SourceVideoState.NEW)
    assert jobs(facts(database), waiting) == [Job.INGEST]
    grow_older(database, GOLD_MASTER_PATIENCE_SECONDS)
    reviews(database).add_cut_point(clip.source_video_id, 15, reviewer="ann")
    assert jobs(facts(database), waiting) == [Job.INGEST, Job.ARCHIVE_MASTER]


def test_a_gold_master_that_failed_a_moment_ago_waits_however_long_the_video_was_cut(database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    grow_older(database, GOLD_MASTER_PATIENCE_SECONDS)
    SourceVideoStore(database).record_gold_master_failure(clip.source_video_id, "the disk is full", transient=True)
    reviews(database).add_cut_point(clip.source_video_id, 15, reviewer="ann")
    assert jobs(facts(database)) == []
    grow_older(database, RETRY_AFTER_SECONDS)
    reviews(database).remove_cut_point(clip.source_video_id, 15, reviewer="ann")
    assert jobs(facts(database)) == [Job.ARCHIVE_MASTER]


def test_a_failed_stage_is_tried_again_though_its_row_was_written_meanwhile(database: Database) -> None:
    video = video_in(database, SourceVideoState.PREPROCESSING)
    videos = SourceVideoStore(database)
    videos.record_failure(video.id, SourceVideoState.PREPROCESS_FAILED, "the disk is full", transient=True)
    grow_older(database, RETRY_AFTER_SECONDS)
    videos.add_warning(video.id, "its sound is odd")
    assert jobs(facts(database)) == [Job.INGEST]
    videos.record_failure(video.id, SourceVideoState.PREPROCESS_FAILED, "the disk is full", transient=True)
    assert jobs(facts(database)) == []


def test_the_clip_that_waits_longest_is_exported_first_whoever_looked_at_it(database: Database) -> None:
    first, second, _ = cut_video(database)
    for clip in (first, second):
        reviews(database).approve(clip.id, reviewer="ann")
    looked_at(database, ClipStore(database).load(first.id))
    assert [clip.id for clip in ClipStore(database).due(EXPORTS)] == [first.id, second.id]


S = SourceVideoState


def test_a_look_takes_the_first_of_each_kind_and_passes_over_what_waits_for_a_person(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is due or has failed for good, a look reads a window of it."""
    monkeypatch.setattr(due_facts, "WINDOW", 2)
    videos = SourceVideoStore(database)
    for_good = [video_in(database, S.DOWNLOADING) for _ in range(3)]
    for video in for_good:
        videos.record_failure(video.id, S.DOWNLOAD_FAILED, "it is no video", transient=False)
    passing = video_in(database, S.DOWNLOADING)
    videos.record_failure(passing.id, S.DOWNLOAD_FAILED, "the server is down", transient=True)
    new = [video_in(database, S.NEW) for _ in range(4)]
    cut = [cut_video(database)[0] for _ in range(4)]
    reviews(database).approve([clip.id for clip in cut[1:]], reviewer="ada")
    expected = [passing.id, *(video.id for video in new[:2]), *(clip.source_video_id for clip in cut[1:3])]
    assert [video.id for video in due_facts.load_video_facts(database)] == sorted(expected)
    only = [for_good[0].id, cut[3].source_video_id]
    assert [video.id for video in due_facts.load_video_facts(database, only)] == only


def test_a_look_is_planned_once_and_not_each_time(database: Database) -> None:
    """To plan what a look asks takes ten times as long as to carry it out, and sensors look every few seconds."""
    with database.read() as connection:
        for _ in range(8):
            assert not candidates(connection, CLIP_STAGES, per_site=1, window=100)
        plans = connection.execute(
            text("select custom_plans, generic_plans > 0 from pg_prepared_statements where statement like '%may_be_retried%union all%'")
        )
        assert [tuple(row) for row in plans] == [(0, True)]


def test_a_look_asks_no_more_than_there_is_to_do(database: Database) -> None:
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    assert load_video_facts(database) == []
    assert len(asked) == 1, "with nothing due"
    asked.clear()
    video_in(database, S.NEW)
    asked.clear()
    assert len(load_video_facts(database)) == 1
    assert len(asked) == 3, "with a new source video: the candidates, the locks, its row"
