"""The counts that a page shows: new with each decision, else those of a moment ago, and never older than what was answered before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from heaters_dagster.domain.review_queue import QueueFilter, QueueProgress
from heaters_dagster.domain.states import ClipState
from resources.postgres.database import Database
from resources.postgres.review_queue_store import ReviewQueueStore
from review_app.service import recent_progress
from review_app.service.recent_progress import RecentProgress, progress_json
from tests.conftest import SomeClips
from tests.pipeline_rows import reviews

ALL = QueueFilter()


class Counting(ReviewQueueStore):
    """The real store; it counts how often it is asked, and can be held up after it has counted."""

    times = 0
    hold: Callable[[], Any] | None = None

    def progress(self, chosen: QueueFilter, *, reviewer: str | None = None) -> QueueProgress:
        self.times += 1
        found, hold = super().progress(chosen, reviewer=reviewer), self.hold
        if hold is not None:
            hold()
        return found


@pytest.fixture
def store(database: Database) -> Counting:
    return Counting(database)


def done_left(progress: QueueProgress) -> tuple[int, int]:
    return progress.done, progress.left


def test_pages_get_the_counts_of_a_moment_ago_until_somebody_decides(store: Counting, database: Database, some_clips: SomeClips) -> None:
    first, second, *_ = some_clips(25, 50, 75)
    recent = RecentProgress(store)
    assert [done_left(recent.recent(ALL, "ada")) for _ in range(5)] == [(0, 4)] * 5
    assert store.times == 1
    reviews(database).approve([first.id], reviewer="ada")
    assert done_left(recent.recent(ALL, "ada")) == (0, 4), "of a moment ago"
    counted = recent.counted(ALL, "ada")
    assert (done_left(counted), counted.per_hour > 0) == ((1, 3), True)
    assert progress_json(counted) == {"done": 1, "left": 3, "per_hour": round(counted.per_hour, 1)}
    assert done_left(recent.recent(ALL, "ada")) == (1, 3), "the answer to the decision was newer"
    assert store.times == 2

    reviews(database).approve([second.id], reviewer="ben")
    recent.counted(ALL, "ben")
    of_ada = recent.recent(ALL, "ada")
    assert (done_left(of_ada), of_ada.per_hour) == ((2, 2), counted.per_hour), "the counts are everybody's, the rate is one's own"
    assert recent.recent(QueueFilter(states=(ClipState.REVIEW_SKIPPED,)), "ada") == of_ada, "the states that a page shows do not matter"
    assert store.times == 3
    other = QueueFilter(source_video_ids=(first.source_video_id + 1,))
    assert done_left(recent.recent(other, "ada")) == (0, 0)
    assert store.times == 4


@pytest.mark.parametrize("limit", ["_COUNTS_SECONDS", "_RATE_SECONDS"])
def test_what_is_too_old_is_counted_anew(
    limit: str, store: Counting, database: Database, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = some_clips(50)[0]
    recent = RecentProgress(store)
    recent.recent(ALL, "ada")
    reviews(database).approve([clip.id], reviewer="ben")
    monkeypatch.setattr(recent_progress, limit, -1.0)
    assert done_left(recent.recent(ALL, "ada")) == (1, 1)


def test_a_count_that_began_earlier_and_ends_later_does_not_take_the_place_of_a_newer_one(
    store: Counting, database: Database, some_clips: SomeClips
) -> None:
    clip = some_clips(50)[0]
    recent, has_counted, goes_on = RecentProgress(store), threading.Event(), threading.Event()

    def hold() -> None:
        has_counted.set()
        assert goes_on.wait(30)

    with ThreadPoolExecutor(1) as threads:
        store.hold = hold
        slow = threads.submit(recent.counted, ALL, "ada")
        assert has_counted.wait(30)
        store.hold = None
        reviews(database).approve([clip.id], reviewer="ada")
        assert done_left(recent.counted(ALL, "ada")) == (1, 1)
        goes_on.set()
        assert done_left(slow.result(30)) == (0, 2)
    assert done_left(recent.recent(ALL, "ada")) == (1, 1)


def test_only_so_many_queues_are_remembered(store: Counting, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch) -> None:
    some_clips(50)
    monkeypatch.setattr(recent_progress, "_MOST", 4)
    recent = RecentProgress(store)
    for number in range(1, 5):
        recent.recent(QueueFilter(source_video_ids=(number,)), "ada")
    before = store.times
    recent.recent(QueueFilter(source_video_ids=(4,)), "ada")
    assert store.times == before
    recent.recent(QueueFilter(source_video_ids=(1,)), "ada")
    assert store.times == before + 1, "the oldest was forgotten"
