"""The counts that every answer of the review app shows are what a count of the clips would give, whatever was done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

from sqlalchemy import func, select, text

from heaters_dagster.commands import doctor
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_counts import count_problems, counts_by_state, counts_of_videos, recount, scope_of, within_scope
from resources.postgres.clip_store import Clip, ClipStore, NewClip
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import clips
from resources.upkeep.audit import audit
from tests.pipeline_rows import cut_video, exported, reviews

FRAMES = 200


def video_of(database: Database, title: str, edges: Sequence[int], confidences: Sequence[float | None]) -> int:
    """A source video with its cuts; clip after clip has the confidences, again from the first when they end."""
    (clip, *_) = cut_video(database, (0, FRAMES))
    with database.begin() as connection:
        connection.execute(text("update source_videos set title = :title where id = :id"), {"title": title, "id": clip.source_video_id})
    cut_anew(database, clip.source_video_id, edges, confidences)
    return clip.source_video_id


def cut_anew(database: Database, source_video_id: int, edges: Sequence[int], confidences: Sequence[float | None]) -> None:
    new = [
        NewClip(
            start_frame=start,
            end_frame=end,
            start_time_seconds=start / 25,
            end_time_seconds=end / 25,
            confidence=confidences[number % len(confidences)],
        )
        for number, (start, end) in enumerate(pairwise(edges))
    ]
    ClipStore(database).replace_cuts(source_video_id, new, FRAMES, forced_by="ada")


def problems(database: Database) -> list[str]:
    with database.read() as connection:
        return list(count_problems(connection))


def unfolded(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(text("select count(*) from clip_count_changes")) or 0)


def test_counts_are_right_after_any_walk_of_decisions_cuts_undo_recuts_and_deletions(database: Database, object_store: ObjectStore) -> None:
    walk = random.Random(20)
    sure = [0.0, 0.291, 0.5, 0.57, None, 1.0]
    videos = [video_of(database, f"Harbour {n}", sorted({0, FRAMES, *walk.sample(range(1, FRAMES), 6)}), sure) for n in range(3)]
    review_store = reviews(database)
    store = ClipStore(database)

    def some(most: int) -> list[Clip]:
        live = [clip for source_video_id in videos for clip in store.load_live(source_video_id)]
        return walk.sample(live, min(len(live), walk.randint(1, most)))

    def export() -> None:
        for clip in [clip for clip in some(4) if clip.is_virtual]:
            exported(database, clip, object_store)

    def a_cut(number: int) -> tuple[int, int]:
        clip = some(1)[0]
        return clip.source_video_id, (clip.start_frame + number) if number else clip.start_frame

    def delete_a_video() -> None:
        source_video_id = videos.pop(walk.randrange(len(videos)))
        with database.begin() as connection:
            of_clips = "select id from clips where source_video_id = :id"
            connection.execute(text(f"delete from clip_exports where clip_id in ({of_clips})"), {"id": source_video_id})
            connection.execute(text(f"delete from clip_artifacts where clip_id in ({of_clips})"), {"id": source_video_id})
            connection.execute(text("update source_videos set state = 'detecting_scenes' where id = :id"), {"id": source_video_id})
            connection.execute(text("delete from clips where source_video_id = :id"), {"id": source_video_id})
        videos.append(video_of(database, "Harbour again", (0, 20, FRAMES), sure))

    steps: list[Callable[[], object]] = [
        lambda: review_store.approve([clip.id for clip in some(5)], reviewer="ada"),
        lambda: review_store.skip([clip.id for clip in some(5)], reviewer="ben"),
        lambda: review_store.archive([clip.id for clip in some(3)], reviewer="ada"),
        lambda: review_store.group(some(1)[0].id, reviewer="ben"),
        lambda: review_store.add_cut_point(*a_cut(3), reviewer="ada"),
        lambda: review_store.remove_cut_point(*a_cut(0), reviewer="ben"),
        lambda: review_store.move_cut_point(*(cut := a_cut(0)), cut[1] + walk.choice([-2, 1, 4]), reviewer="ada"),
        lambda: review_store.undo(walk.choice(["ada", "ben"])),
        lambda: review_store.undo(walk.choice(["ada", "ben"])),
        lambda: [do(name) for name in (walk.choice(["ada", "ben"]),) for do in (review_store.undo, review_store.redo)],
        export,
        lambda: cut_anew(database, walk.choice(videos), sorted({0, FRAMES, *walk.sample(range(1, FRAMES), 4)}), sure),
    ]
    done: Counter[int] = Counter()
    for number in range(150):
        step = walk.randrange(len(steps))
        with suppress(HeatersError):  # a refused action has changed nothing
            steps[step]()
            done[step] += 1
        if number % 60 == 40:
            delete_a_video()
        if number % 10 == 0:
            assert problems(database) == []
    assert problems(database) == []
    assert len(done) == len(steps), f"every kind of step was taken: {done}"
    assert unfolded(database) < 400, "what has changed is folded into the counts as the walk goes on"
    with database.begin() as connection:
        connection.execute(text("select heaters_fold_clip_counts()"))
        assert connection.scalar(text("select count(*) from clip_counts_by_video where clips = 0")) == 0

    words = (("", ()), ("harbour", ()), ("again", ()), ("nothing", ()), (str(some(1)[0].id), ()), ("", tuple(videos[:2])))
    for low, high in ((None, None), (0.291, None), (None, 0.57), (0.3, 0.5), (0.29, 0.291), (1.0, 1.0)):
        for written, of_videos in words:
            chosen = QueueFilter(text=written, source_video_ids=of_videos, min_confidence=low, max_confidence=high)
            with database.read() as connection:
                scope = scope_of(connection, chosen)
                rows = connection.execute(select(clips.c.state, func.count()).where(within_scope(scope)).group_by(clips.c.state))
                assert counts_by_state(connection, scope) == {ClipState(state): count for state, count in rows}, chosen
    with database.read() as connection:
        rows = connection.execute(select(clips.c.source_video_id, func.count()).where(clips.c.is_live).group_by(clips.c.source_video_id))
        assert {source_video_id: sum(counts.values()) for source_video_id, counts in counts_of_videos(connection).items()} == dict(
            map(tuple, rows)
        )


def test_decisions_at_the_same_moment_are_all_counted_and_wait_for_nobody(database: Database) -> None:
    cuts = [cut_video(database, range(0, 410, 10)) for _ in range(4)]
    review_store = reviews(database)

    def decide(reviewer: int) -> None:
        for clip in cuts[reviewer]:
            review_store.skip(clip.id, reviewer=f"r{reviewer}")
            review_store.undo(f"r{reviewer}")
            review_store.approve(clip.id, reviewer=f"r{reviewer}")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(decide, reviewer) for reviewer in range(4)]:
            done.result()
    assert problems(database) == []
    with database.read() as connection:
        assert counts_by_state(connection, scope_of(connection, QueueFilter())) == {ClipState.REVIEW_APPROVED: 160}
    assert unfolded(database) < 400, "of about 1,920 changes"


def test_a_transaction_that_holds_the_fold_keeps_nobody_waiting(database: Database) -> None:
    first, second = cut_video(database), cut_video(database)
    with database.begin() as connection:
        connection.execute(text("select heaters_fold_clip_counts()"))
        connection.execute(text("update clips set state = 'review_skipped' where id = :id"), {"id": first[0].id})
        with database.begin() as other:
            other.execute(text("set local lock_timeout = '2s'"))
            other.execute(text("update clips set state = 'review_archived' where id = :id"), {"id": second[0].id})
            other.execute(text("select heaters_fold_clip_counts()"))
    assert problems(database) == []


def test_a_fold_reads_the_counts_of_what_has_changed_alone(database: Database) -> None:
    (clip, *others) = cut_video(database)
    reviews(database).skip([clip.id, *(one.id for one in others)], reviewer="ada")
    with database.begin() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        connection.execute(text("select heaters_fold_clip_counts()"))
        read = text("select seq_scan from pg_stat_xact_user_tables where relname = 'clip_counts_by_video'")
        assert connection.scalar(read) == 0
    assert problems(database) == []
    with database.read() as connection:
        assert connection.execute(text("select state, clips from clip_counts_by_video")).all() == [("review_skipped", 3)]


def test_a_rolled_back_decision_is_not_counted(database: Database) -> None:
    (clip, *_) = cut_video(database)
    with database.engine.connect() as connection:
        connection.execute(text("update clips set state = 'review_skipped' where id = :id"), {"id": clip.id})
        assert connection.scalar(text("select count(*) from clip_count_changes where state = 'review_skipped'")) == 1
        connection.rollback()
    with database.read() as connection:
        assert counts_by_state(connection, scope_of(connection, QueueFilter())) == {ClipState.PENDING_REVIEW: 3}


def test_the_audit_names_counts_that_are_wrong_and_a_recount_mends_them(database: Database, object_store: ObjectStore) -> None:
    (clip, *_) = cut_video(database)
    videos = SourceVideoStore(database)
    video = videos.load(clip.source_video_id)
    for key in (video.original_filepath, video.gold_master_filepath):
        assert key is not None
        object_store.put_bytes(key, b"x")
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update clips set state = 'review_skipped' where id = :id"), {"id": clip.id})
    assert audit(database, object_store) == [
        f"source video {clip.source_video_id}: the stored number of clips in the state pending_review is 3, but there are 2",
        f"source video {clip.source_video_id}: the stored number of clips in the state review_skipped is 0, but there are 1",
        "the stored number of clips with 50 % confidence in the state pending_review is 3, but there are 2",
        "the stored number of clips with 50 % confidence in the state review_skipped is 0, but there are 1",
    ]
    recount(database)
    assert audit(database, object_store) == []


def test_the_doctor_names_counts_that_are_wrong_and_its_repair_counts_again(database: Database, settings: Settings) -> None:
    (clip, *_) = cut_video(database)

    def told(*, repair: bool = False) -> tuple[bool, str]:
        try:
            return True, doctor._stored_counts(settings, repair=repair)
        except OSError as error:
            return False, str(error)

    well = (True, "they are the numbers of clips and source videos")
    assert told() == told(repair=True) == well
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update clips set state = 'review_skipped' where id = :id"), {"id": clip.id})
        connection.execute(text("update source_videos set original_bytes = coalesce(original_bytes, 0) + 1"))
    ok, found = told()
    assert not ok
    wrong, _, remedy = found.rpartition(". ")
    assert remedy == "heaters doctor --repair counts again; decisions of reviewers wait for as long as that takes"
    assert wrong.startswith(
        f"source video {clip.source_video_id}: the stored number of clips in the state pending_review is 3, but there are 2; "
    )
    assert "the stored size of their originals is" in wrong
    assert told() == (ok, found), "without --repair nothing is changed"
    assert told(repair=True) == (True, f"5 counts were wrong, and all are counted again: {wrong}")
    assert told() == well
    assert problems(database) == []


def test_no_clips_no_counts(database: Database) -> None:
    cut_video(database)
    with database.begin() as connection:
        connection.execute(text("update source_videos set state = 'detecting_scenes'"))
        connection.execute(text("truncate clips cascade"))
    assert problems(database) == []
    with database.read() as connection:
        assert counts_of_videos(connection) == {}


def test_a_store_reads_the_counts_of_the_reviews_it_made(database: Database) -> None:
    first, *_ = cut_video(database)
    review_store: ReviewStore = reviews(database)
    review_store.approve(first.id, reviewer="ada")
    source_video_id = first.source_video_id
    expected = {source_video_id: {ClipState.PENDING_REVIEW: 2, ClipState.REVIEW_APPROVED: 1}}
    assert ClipStore(database).counts_by_state() == ClipStore(database).counts_by_state(source_video_id) == expected
    assert ClipStore(database).counts_by_state(source_video_id + 1) == {}
