"""The numbers of source videos that the pages show are what a count of the rows would give, whatever was done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from alembic import command
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.states import SourceVideoState
from resources.object_store.interface import ObjectStore
from resources.postgres.backlog import load_backlog
from resources.postgres.database import Database
from resources.postgres.figures import queues, source_videos_by_state
from resources.postgres.migrations import alembic_config, migrate
from resources.postgres.source_video_counts import count_problems, recount
from resources.postgres.source_video_lists import SourceVideoLists, VideoCounts
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import source_videos
from resources.upkeep.audit import audit
from resources.upkeep.source_video_removal import delete_source_video
from tests.pipeline_rows import cut_video, video_in

S = SourceVideoState


def problems(database: Database) -> list[str]:
    with database.read() as connection:
        return list(count_problems(connection))


def unfolded(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(text("select count(*) from source_video_count_changes")) or 0)


def rows_counted(database: Database) -> VideoCounts:
    """What the page shows, from the rows."""
    own = source_videos.c
    is_duplicate = own.duplicate_of_id.is_not(None)
    query = select(own.state, is_duplicate, func.count()).where(own.state != "deleted").group_by(own.state, is_duplicate)
    with database.read() as connection:
        rows = connection.execute(query).all()
    by_state = {S(state): count for state, duplicate, count in rows if not duplicate}
    return VideoCounts(by_state, sum(count for _, duplicate, count in rows if duplicate))


def in_replica(database: Database, statement: str) -> None:
    """As rows come that no trigger sees."""
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text(statement))


def test_counts_are_right_after_any_walk_of_stages_failures_duplicates_and_deletions(database: Database, object_store: ObjectStore) -> None:
    walk = random.Random(20)
    videos, lists = SourceVideoStore(database), SourceVideoLists(database)
    states = [state for state in S if state not in (S.DELETED, S.SCENES_DETECTED)]
    original = {"original_filepath": "originals/a.mp4"}

    def one() -> int:
        there = list(videos.load_all()) or [videos.add("/films/first.mp4", "first")]
        return walk.choice(there).id

    steps: list[Callable[[], object]] = [
        lambda: videos.add("/films/new.mp4", "new"),
        lambda: videos.add_all([{"source": f"/films/{n}.mp4", "title": "many"} for n in range(walk.randint(1, 5))]),
        lambda: cut_video(database, gold_master=walk.random() < 0.5),
        lambda: videos.set_state(one(), walk.choice(states)),
        lambda: videos.set_state(one(), walk.choice(states)),
        lambda: videos.set_state(one(), walk.choice(states)),
        lambda: videos.update(one(), **original, original_bytes=walk.randrange(10**12)),
        lambda: videos.update(one(), original_bytes=None),
        lambda: videos.update(one(), gold_master_filepath=walk.choice([None, "gold_masters/a.mkv"])),
        lambda: videos.record_gold_master_failure(one(), "no room", transient=True),
        lambda: videos.retry_gold_master(one()),
        lambda: videos.record_failure(one(), S.DOWNLOAD_FAILED, "gone", transient=False),
        lambda: videos.retry(one()),
        lambda: videos.mark_duplicate(one(), one()),
        lambda: delete_source_video(one(), reviewer="ada", database=database, objects=object_store),
    ]
    cut_video(database)
    with database.begin() as connection:
        connection.execute(text("insert into reviewers (name) values ('ada')"))
    done: Counter[int] = Counter()
    for number in range(300):
        step = walk.randrange(len(steps))
        with suppress(HeatersError, DBAPIError):  # a refused change has changed nothing
            steps[step]()
            done[step] += 1
        if number % 10 == 0:
            assert problems(database) == []
            counts, counted = lists.counts(), rows_counted(database)
            assert (counts.by_state, counts.duplicates) == (counted.by_state, counted.duplicates)
            assert list(counts.by_state.values()) == sorted(counts.by_state.values(), reverse=True), "the most frequent first"
    assert problems(database) == []
    assert len(done) == len(steps), f"every kind of step was taken: {done}"
    assert unfolded(database) < 400, "what has changed is folded into the counts as the walk goes on"


def test_stages_of_many_machines_are_all_counted_and_wait_for_nobody(database: Database) -> None:
    def work(machine: int) -> None:
        videos = SourceVideoStore(database)
        for _ in range(10):
            video = video_in(database, S.PREPROCESSED, original_filepath="originals/a.mp4", original_bytes=machine)
            videos.record_failure(video.id, S.DETECT_SCENES_FAILED, "no memory", transient=True)
            videos.retry(video.id)
            videos.update(video.id, gold_master_filepath="gold_masters/a.mkv")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, machine) for machine in range(4)]:
            done.result()
    assert problems(database) == []
    assert unfolded(database) < 400, "of about 640 changes"


def test_a_transaction_that_holds_the_fold_keeps_nobody_waiting(database: Database) -> None:
    first, second = (video_in(database, S.NEW).id for _ in range(2))
    with database.begin() as connection:
        connection.execute(text("select heaters_fold_source_video_counts()"))
        connection.execute(text("update source_videos set state = 'downloading' where id = :id"), {"id": first})
        with database.begin() as other:
            other.execute(text("set local lock_timeout = '2s'"))
            other.execute(text("update source_videos set state = 'downloading' where id = :id"), {"id": second})
            other.execute(text("select heaters_fold_source_video_counts()"))
    assert problems(database) == []


def test_a_change_that_is_rolled_back_is_not_counted_and_one_that_changes_no_count_writes_nothing(database: Database) -> None:
    video = video_in(database, S.NEW)
    with database.engine.connect() as connection:
        connection.execute(text("update source_videos set state = 'downloading'"))
        connection.rollback()
    before = unfolded(database)
    SourceVideoStore(database).update(video.id, title="Harbour")
    assert (unfolded(database), SourceVideoLists(database).counts().by_state) == (before, {S.NEW: 1})


def test_rows_of_before_the_counts_are_counted(database: Database) -> None:
    video_in(database, S.DOWNLOADED, original_filepath="originals/a.mp4", original_bytes=5)
    cut_video(database)
    with database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0048")
        connection.execute(text("update source_videos set title = 'before'"))
    migrate(database)
    assert problems(database) == []
    assert SourceVideoLists(database).counts().by_state == {S.DOWNLOADED: 1, S.SCENES_DETECTED: 1}


def test_the_audit_names_counts_that_are_wrong_and_a_recount_mends_them(database: Database, object_store: ObjectStore) -> None:
    video_in(database, S.NEW)
    in_replica(database, "update source_videos set state = 'download_failed', original_bytes = 7")
    bytes_of_both = "the stored size of their originals is 0 bytes, and they have"
    assert audit(database, object_store) == [
        f"the stored number of source videos in the state download_failed is 0, but there are 1; {bytes_of_both} 7",
        f"the stored number of source videos in the state new is 1, but there are 0; {bytes_of_both} 0",
    ]
    recount(database)
    assert audit(database, object_store) == []


def test_what_waits_and_failed_is_what_the_rows_say(database: Database) -> None:
    """Of the oldest in each state, and of gold masters too; a duplicate waits for nothing."""
    videos = SourceVideoStore(database)
    first, second = (video_in(database, S.PREPROCESSED, original_filepath="o", original_bytes=10) for _ in range(2))
    videos.update(second.id, title="second")
    videos.record_gold_master_failure(second.id, "no room", transient=True)
    copy = video_in(database, S.DOWNLOADED, original_bytes=3)
    videos.mark_duplicate(copy.id, first.id)
    in_replica(database, f"update source_videos set state_changed_at = state_changed_at - interval '1 hour' where id = {second.id}")
    second = videos.load(second.id)
    assert first.state_changed_at - second.state_changed_at > timedelta(minutes=59)

    groups = {(group.what, group.words): group for group in load_backlog(database)}
    cut = groups["source videos", "to be cut"]
    assert (cut.count, cut.byte_size, cut.oldest, cut.titles) == (2, 20, second.state_changed_at, ("second", "test"))
    assert {key: (one.count, one.byte_size, one.titles) for key, one in groups.items() if key[0] == "gold masters"} == {
        ("gold masters", "to be made"): (1, 10, ("test",)),
        ("gold masters", "making them failed"): (1, 10, ("second",)),
    }
    with database.read() as connection:
        states = source_videos_by_state(connection)
        found = {(one.stage, one.state.value): (one.count, one.oldest) for one in queues(connection, states, {}) if one.count}
    assert states[S.PREPROCESSED] == (2, second.state_changed_at)
    assert states[S.SCENES_DETECTED] == states[S.DELETED] == (0, None)
    assert S.DOWNLOAD_FAILED not in states, "a duplicate has failed at nothing"
    assert found == {
        ("virtual_clips", "waiting"): (2, second.state_changed_at),
        ("gold_master", "waiting"): (1, first.state_changed_at),
        ("gold_master", "failed"): (1, second.state_changed_at),
    }
