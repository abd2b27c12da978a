"""Every transaction locks rows in the one order of `row_locks`: whatever runs at once, nobody waits in a circle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from threading import Barrier

import numpy as np
from sqlalchemy import text

from heaters_dagster.domain.errors import BusyError, HeatersError
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.stages import EMBEDDINGS, EXPORTS
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_store import ClipStore, MadeObject, NewClip
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.conftest import SomeClips
from tests.pipeline_rows import FRAME_RATE, reviews, waiting_transactions

ROUNDS = 25


def cut_list(*edges: int) -> list[NewClip]:
    return [
        NewClip(start_frame=start, end_frame=end, start_time_seconds=start / FRAME_RATE, end_time_seconds=end / FRAME_RATE)
        for start, end in pairwise(edges)
    ]


def waiting(database: Database, count: int) -> None:
    """Wait until so many transactions wait for a lock."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if waiting_transactions(database) == count:
            return
        time.sleep(0.01)
    raise AssertionError(f"there were never {count} transactions that wait")


def test_new_cuts_and_the_renewal_of_leases_lock_clips_in_one_order(database: Database, some_clips: SomeClips) -> None:
    """The clips of a cut that was added in review have later ids than the clips behind them."""
    first, behind = some_clips(50)
    store, queue = ClipStore(database), ReviewQueueStore(database)
    made = reviews(database).add_cut_point(first.source_video_id, 20, reviewer="ann").live_clips
    assert [clip.id for clip in store.load_live(first.source_video_id)] == [*(clip.id for clip in made), behind.id]
    left, right = made
    with ThreadPoolExecutor(2) as threads:
        with database.begin() as connection:
            connection.execute(text("select from clips where id = :id for no key update"), {"id": right.id})
            # In order of frames they lock left and wait for right, and the lease locks behind and waits for left.
            new = threads.submit(store.replace_cuts, first.source_video_id, cut_list(0, 40, 100), 100, forced_by="ben")
            waiting(database, 1)
            held = threads.submit(queue.renew, [left.id, right.id, behind.id], reviewer="ann")
            waiting(database, 2)
        assert [(clip.start_frame, clip.end_frame) for clip in new.result()] == [(0, 40), (40, 100)]
        assert held.result() == []


def test_who_approves_waits_for_the_clip_and_not_for_its_source_video(database: Database, some_clips: SomeClips) -> None:
    """200 people work on one source video, and most of what they do is to approve."""
    first, second = some_clips(50)
    with ThreadPoolExecutor(2) as threads:
        with database.begin() as connection:
            connection.execute(text("select from source_videos where id = :id for no key update"), {"id": first.source_video_id})
            approved = threads.submit(reviews(database).approve, first.id, reviewer="ann", expected_version=first.cut_point_version)
            assert approved.result(timeout=60).clips[0].state == ClipState.REVIEW_APPROVED
            # Which clips are grouped with this one must not change meanwhile.
            skipped = threads.submit(reviews(database).skip, second.id, reviewer="ben")
            waiting(database, 1)
        assert skipped.result(timeout=60).clips[0].state == ClipState.REVIEW_SKIPPED
        with database.begin() as connection:  # as somebody who skips another clip of it
            connection.execute(text("select from source_videos where id = :id for share"), {"id": first.source_video_id})
            archived = threads.submit(reviews(database).archive, second.id, reviewer="ben")
            assert archived.result(timeout=60).clips[0].state == ClipState.REVIEW_ARCHIVED
            cut = threads.submit(reviews(database).add_cut_point, first.source_video_id, 20, reviewer="cem")
            waiting(database, 1)
        assert len(cut.result(timeout=60).live_clips) == 2


def test_a_new_name_is_entered_before_a_video_is_locked(database: Database, some_clips: SomeClips) -> None:
    clip, _ = some_clips(50)
    reviews(database).approve(clip.id, reviewer="ann")
    with ThreadPoolExecutor(2) as threads:
        with database.begin() as connection:
            connection.execute(text("insert into reviewers (name) values ('new')"))
            new = threads.submit(ClipStore(database).replace_cuts, clip.source_video_id, cut_list(0, 40, 100), 100, forced_by="new")
            waiting(database, 1)
            connection.execute(text("set local lock_timeout = '5s'"))
            connection.execute(text("select from source_videos where id = :id for no key update"), {"id": clip.source_video_id})
        assert len(new.result()) == 2


def test_whatever_runs_at_once_there_is_no_deadlock(database: Database, some_clips: SomeClips) -> None:
    """Every kind of transaction against every other one, on the same clips, by names that are new in each round."""
    video, other = some_clips(20, 40, 60, 80)[0].source_video_id, some_clips(30, 60)[0].source_video_id
    store, queue, review_store = ClipStore(database), ReviewQueueStore(database, lease_seconds=0.05), reviews(database)
    videos, vectors = SourceVideoStore(database), EmbeddingStore(database)

    def clips(backwards: bool = False) -> list[int]:
        found = [clip.id for one in (video, other) for clip in store.load_live(one)]
        return found[::-1] if backwards else found

    def recut(number: int) -> object:
        edges = ((0, 50, 100), (0, 20, 40, 60, 80, 100))[number % 2]
        return store.replace_cuts(video, cut_list(*edges), 100, forced_by=f"r{number}")

    def stages(number: int) -> object:
        for clip in store.load_live(video if number % 2 else other):
            claimed = store.claim(clip.id, EXPORTS, [f"final_clips/video_{clip.source_video_id}_clip_{clip.sequence:03d}.mp4"])
            if claimed is not None and number % 3:
                key = f"final_clips/video_{clip.source_video_id}_clip_{clip.sequence:03d}.mp4"
                store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 1, {})])
            store.fail(clip.id, EXPORTS, "full", transient=True)
            store.claim(clip.id, EMBEDDINGS)
            vectors.finish_embedding(clip.id, version=1, model="m", strategy="s", vector=np.ones(8, np.float32))
            store.clean_up(clip.id, lambda key: None)
        return videos.add_warning(video, f"odd {number}")

    def cut_and_join(number: int) -> object:
        review_store.add_cut_point(video, 10, reviewer=f"r{number}")
        return review_store.remove_cut_point(video, 10, reviewer=f"r{number}")

    kinds: Sequence[Callable[[int], object]] = (
        recut,
        stages,
        cut_and_join,
        lambda number: queue.renew(clips(backwards=number % 2 == 0), reviewer=f"r{number}"),
        lambda number: queue.take(QueueFilter(), reviewer=f"r{number}", count=5),
        lambda number: review_store.approve(clips(), reviewer=f"r{number}"),
        lambda number: review_store.skip(clips(backwards=True), reviewer=f"r{number}"),
        lambda number: review_store.group(clips()[1], reviewer=f"r{number}"),
        lambda number: review_store.undo(f"r{number}"),
    )
    together = Barrier(len(kinds))
    done = [0] * len(kinds)

    def again_and_again(which: int) -> None:
        for number in range(ROUNDS):
            together.wait(timeout=60)
            try:
                # What is stale or nothing to undo by now is refused in words; a deadlock would be a BusyError.
                with suppress(_Refused):
                    _unless_busy(lambda number=number: kinds[which](number))  # type: ignore[misc]
                    done[which] += 1
            except BaseException:
                together.abort()
                raise

    with ThreadPoolExecutor(len(kinds)) as threads:
        for future in [threads.submit(again_and_again, which) for which in range(len(kinds))]:
            future.result()
    # In the rush a kind may have been refused each time, because another one was always first; by itself it goes through.
    for act in [kind for kind, times in zip(kinds, done, strict=True) if not times]:
        act(ROUNDS)


class _Refused(Exception):
    pass


def _unless_busy(act: Callable[[], object]) -> None:
    try:
        act()
    except BusyError:
        raise
    except HeatersError as error:
        raise _Refused from error
