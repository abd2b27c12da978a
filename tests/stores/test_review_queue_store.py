import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.review_queue import NO_KIND, QueueFilter, QueueOrder
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_store import Clip
from resources.postgres.database import Database
from resources.postgres.review_queue_store import QueueClip, ReviewQueueStore
from resources.postgres.review_store import ReviewStore
from tests.conftest import ASourceVideo, SomeClips

ALL = QueueFilter()


def no_times(source_video_id: int, frames: Sequence[int]) -> list[float]:
    return [frame / 25 for frame in frames]


@pytest.fixture
def queue(database: Database) -> ReviewQueueStore:
    return ReviewQueueStore(database)


@pytest.fixture
def reviews(database: Database) -> ReviewStore:
    return ReviewStore(database, no_times)


def ids(found: Sequence[QueueClip]) -> list[int]:
    return [shown.clip.id for shown in found]


def give_confidence(database: Database, clips: Sequence[Clip], confidences: Sequence[float | None]) -> None:
    with database.begin() as connection:
        for clip, confidence in zip(clips, confidences, strict=True):
            connection.execute(text("update clips set confidence = :c where id = :id"), {"c": confidence, "id": clip.id})


def expire_leases(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update clips set lease_expires_at = now() - interval '1 second' where leased_by_user_id is not null"))


# Order


def test_clips_come_video_after_video_from_the_beginning_and_a_new_cut_in_its_place(
    queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    first, second = some_clips(30, 60), some_clips(50)
    reviews.add_cut_point(first[0].source_video_id, 10, reviewer="ann")
    found = queue.page(ALL)
    assert [(shown.clip.source_video_id, shown.clip.start_frame) for shown in found] == [
        (first[0].source_video_id, 0),
        (first[0].source_video_id, 10),
        (first[0].source_video_id, 30),
        (first[0].source_video_id, 60),
        (second[0].source_video_id, 0),
        (second[0].source_video_id, 50),
    ]
    assert ids(queue.page(replace(ALL, order=QueueOrder.CREATED)))[-2:] == ids(found)[:2], "the parts of a cut clip were made last"


def test_the_least_sure_boundaries_come_first_and_unknown_ones_last(
    database: Database, queue: ReviewQueueStore, some_clips: SomeClips
) -> None:
    clips = some_clips(20, 40, 60, 80)
    give_confidence(database, clips, [0.9, 0.2, None, 0.2, 0.5])
    found = queue.page(replace(ALL, order=QueueOrder.CONFIDENCE))
    assert ids(found) == [clips[n].id for n in (1, 3, 4, 0, 2)]


@pytest.mark.parametrize("order", list(QueueOrder))
@pytest.mark.parametrize("states", [ALL.states, tuple(ClipState), (ClipState.PENDING_REVIEW, ClipState.REVIEW_SKIPPED)])
def test_pages_follow_one_another_without_gap_or_repetition(
    database: Database,
    queue: ReviewQueueStore,
    reviews: ReviewStore,
    some_clips: SomeClips,
    order: QueueOrder,
    states: tuple[ClipState, ...],
) -> None:
    clips = [*some_clips(*range(10, 100, 10)), *some_clips(30, 60)]
    give_confidence(database, clips, [0.5, 0.5, None, 0.1, 0.5, None, 0.9, 0.1, 0.5, 0.3, None, 0.5, 0.2])
    reviews.skip([clip.id for clip in clips[::4]], reviewer="ann")
    chosen = QueueFilter(order=order, states=states)
    everything = ids(queue.page(chosen, limit=100))
    paged: list[int] = []
    after = None
    while page := queue.page(chosen, after=after, limit=4):
        paged += ids(page)
        after = page[-1].position
    assert paged == everything
    assert sorted(paged) == sorted(clip.id for clip in (clips if len(states) > 1 else [c for n, c in enumerate(clips) if n % 4]))


def test_clips_can_be_filtered_and_ordered_by_the_kind_of_their_cuts(
    queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    clips = some_clips(10, 20, 30, 40, 50)
    video = clips[0].source_video_id
    for clip, kind in zip(clips[1:], (CutKind.WIPE, CutKind.HARD, CutKind.DISSOLVE, CutKind.HARD), strict=False):
        reviews.edit_cut(video, clip.start_frame, Transition(kind), reviewer="ann")

    def found(**chosen: object) -> list[int]:
        chosen_ones = replace(ALL, **chosen)  # type: ignore[arg-type]
        paged, after = [], None
        while page := queue.page(chosen_ones, after=after, limit=2):
            paged += [one.clip.start_frame for one in page]
            after = page[-1].position
        assert queue.progress(chosen_ones).left == len(paged)
        return paged

    assert found(order=QueueOrder.KIND) == [30, 0, 20, 40, 10, 50], "dissolve, end, hard, wipe, and then the one that nobody knows"
    assert found(kinds=("hard",)) == [20, 40]
    assert found(kinds=("wipe", NO_KIND)) == [10, 50]
    assert found(kinds=("fade",)) == []
    assert found(kinds=("hard", "wipe"), order=QueueOrder.KIND, source_video_ids=(video,)) == [20, 40, 10]
    assert [one.clip.start_frame for one in queue.take(replace(ALL, kinds=("dissolve",)), reviewer="ann", count=3)] == [30]


# Filters


def test_filters_by_video_state_confidence_and_text(
    database: Database, queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips, a_source_video: ASourceVideo
) -> None:
    beach = some_clips(50)
    video = a_source_video(title="100% Snow_fall", source="https://video.example/Winter.mp4", frame_count=100)
    snow = some_clips(source_video_id=lead_to_clips(database, video.id))
    give_confidence(database, [*beach, *snow], [0.1, 0.6, None])
    reviews.approve(beach[1].id, reviewer="ann")

    def found(**chosen: object) -> list[int]:
        return ids(queue.page(QueueFilter(**{"states": tuple(ClipState), **chosen})))  # type: ignore[arg-type]

    assert found() == [beach[0].id, beach[1].id, snow[0].id]
    assert found(source_video_ids=(video.id,)) == [snow[0].id]
    assert found(source_video_ids=(video.id, beach[0].source_video_id, 999)) == [beach[0].id, beach[1].id, snow[0].id]
    assert found(states=(ClipState.REVIEW_APPROVED,)) == [beach[1].id]
    assert found(states=(ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)) == [beach[0].id, beach[1].id, snow[0].id]
    assert found(max_confidence=0.5) == [beach[0].id]
    assert found(min_confidence=0.1) == [beach[0].id, beach[1].id]
    assert found(text="snow") == [snow[0].id]
    assert found(text="WINTER snow") == [snow[0].id]
    assert found(text="winter holiday") == []
    assert found(text="100%") == [snow[0].id]
    assert found(text="1%0") == found(text="w_nter") == []
    assert found(text="' or 1=1 --") == []
    assert found(text="2 of Holiday") == found(text=f"clip 2 of {beach[1].source_video_id}. Holiday") == [beach[1].id]
    assert found(text=f"{beach[1].source_video_id}:2") == found(text=f"id:{beach[1].id}") == [beach[1].id]
    assert found(text="2 of Snow_fall") == found(text="999:2") == found(text="id:999") == []
    assert found(text="2", source_video_ids=(beach[1].source_video_id,)) == [beach[1].id]


def lead_to_clips(database: Database, source_video_id: int) -> int:
    from heaters_dagster.domain.states import SourceVideoState
    from resources.postgres.clip_store import ClipStore, NewClip
    from resources.postgres.source_video_store import SourceVideoStore

    videos = SourceVideoStore(database)
    for state in ("downloading", "downloaded", "preprocessing", "preprocessed", "detecting_scenes"):
        videos.set_state(source_video_id, SourceVideoState(state))
    ClipStore(database).replace_cuts(
        source_video_id, [NewClip(start_frame=0, end_frame=100, start_time_seconds=0, end_time_seconds=4)], 100
    )
    return source_video_id


# Leases


def test_two_reviewers_are_never_given_the_same_clip(queue: ReviewQueueStore, some_clips: SomeClips) -> None:
    clips = some_clips(20, 40, 60, 80)
    assert ids(queue.take(ALL, reviewer="ann", count=2)) == [clips[0].id, clips[1].id]
    others = queue.take(ALL, reviewer="ben", count=9)
    assert ids(others) == [clips[2].id, clips[3].id, clips[4].id]
    assert {shown.leased_by for shown in others} == {"ben"}
    assert queue.take(ALL, reviewer="cem") == []
    assert ids(queue.take(ALL, reviewer="ann", count=2)) == [clips[0].id, clips[1].id], "a reload shows the same clips"


def test_many_reviewers_at_once_share_the_queue_out(queue: ReviewQueueStore, some_clips: SomeClips) -> None:
    clips = some_clips(*range(1, 60), frame_count=60)
    barrier = threading.Barrier(6)

    def work(n: int) -> list[int]:
        barrier.wait()
        return [clip_id for _ in range(5) for clip_id in ids(queue.take(ALL, reviewer=f"r{n}-{_}", count=2))]

    with ThreadPoolExecutor(6) as pool:
        taken = [clip_id for found in pool.map(work, range(6)) for clip_id in found]
    assert sorted(taken) == sorted(clip.id for clip in clips)


def test_a_clip_that_is_being_decided_is_not_waited_for(database: Database, queue: ReviewQueueStore, some_clips: SomeClips) -> None:
    clips = some_clips(50)
    with database.begin() as connection:
        connection.execute(text("select from clips where id = :id for update"), {"id": clips[0].id})
        assert ids(queue.take(ALL, reviewer="ben")) == [clips[1].id]  # one that waited would wait for this very test


def test_a_decided_clip_leaves_the_queue_with_its_lease(queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips) -> None:
    clips = some_clips(50)
    queue.take(ALL, reviewer="ann", count=2)
    reviews.approve(clips[0].id, reviewer="ann")
    assert ids(queue.take(ALL, reviewer="ann", count=2)) == [clips[1].id]
    assert [shown.leased_by for shown in queue.page(replace(ALL, states=tuple(ClipState)))] == [None, "ann"]


def test_a_lease_runs_out_and_the_clip_goes_to_somebody_else(database: Database, queue: ReviewQueueStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    queue.take(ALL, reviewer="ann")
    assert queue.take(ALL, reviewer="ben") == []
    expire_leases(database)
    assert queue.page(ALL)[0].leased_by is None
    assert ids(queue.take(ALL, reviewer="ben")) == [clip.id]
    assert queue.renew([clip.id], reviewer="ann") == [], "ann is told that it is no longer hers"
    assert queue.renew([clip.id], reviewer="ben") == [clip.id]


def test_a_lease_lasts_as_long_as_was_set_and_is_renewed(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    queue = ReviewQueueStore(database, lease_seconds=1000)
    first = queue.take(ALL, reviewer="ann")[0].clip.lease_expires_at
    queue.renew([clip.id], reviewer="ann")
    second = queue.page(ALL)[0].clip.lease_expires_at
    assert first is not None
    assert second is not None
    assert second > first
    with database.read() as connection:
        assert 990 < connection.execute(text("select extract(epoch from lease_expires_at - now()) from clips")).scalar_one() < 1001


def test_a_lease_that_runs_long_enough_is_left_as_it_is(
    database: Database, queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    """Of 60 seconds at least 45 are left: 200 pages report every four seconds, and to write a lease costs more than to read it."""
    clips = some_clips(25, 50, 75)
    clip_ids = [clip.id for clip in clips]

    def told(reviewer: str, of: ReviewQueueStore = queue) -> list[tuple[str | None, bool]]:
        leases = of.leases(clip_ids, reviewer=reviewer)
        return [(leases[clip_id].holder, leases[clip_id].is_due) for clip_id in clip_ids]

    def seconds_left() -> list[float | None]:
        seconds = "select extract(epoch from lease_expires_at - clock_timestamp())::float8 from clips order by id"
        with database.read() as connection:
            return list(connection.scalars(text(seconds)))

    def let_pass(seconds: int) -> None:
        with database.begin() as connection:
            connection.execute(text("update clips set lease_expires_at = lease_expires_at - make_interval(secs => :s)"), {"s": seconds})

    reviews.approve(clip_ids[3], reviewer="ann")
    queue.take(ALL, reviewer="ann", count=2)
    assert told("ann") == [("ann", False), ("ann", False), (None, True), (None, False)]
    assert told("ben") == [("ann", False), ("ann", False), (None, True), (None, False)]
    assert told("ann", ReviewQueueStore(database, lease_seconds=20))[0] == ("ann", False), "it was made for 60"
    before = [clip.clip.lease_expires_at for clip in queue.take(ALL, reviewer="ann", count=2)]
    assert [clip.clip.lease_expires_at for clip in queue.take(ALL, reviewer="ann", count=2)] == before
    let_pass(20)
    assert told("ann")[:2] == [("ann", True)] * 2
    assert told("ben")[:2] == [("ann", False)] * 2
    assert ids(queue.take(ALL, reviewer="ann", count=3)) == clip_ids[:3]
    assert all(left is not None and left > 45 for left in seconds_left()[:3]), "renewed, and one is new"
    let_pass(70)
    assert told("ben")[:3] == [(None, True)] * 3
    assert {lease.version for lease in queue.leases(clip_ids, reviewer="ann").values()} == {1, 2}


def test_a_lease_that_ran_out_unnoticed_is_renewed(database: Database, queue: ReviewQueueStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    queue.take(ALL, reviewer="ann")
    expire_leases(database)
    assert queue.renew([clip.id], reviewer="ann") == [clip.id]
    assert queue.take(ALL, reviewer="ben") == []


def test_a_clip_on_the_page_that_nobody_holds_is_leased(
    database: Database, queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    one, two, three, four = some_clips(25, 50, 75)
    reviews.approve(two.id, reviewer="ann")
    queue.open(three.id, reviewer="ben")
    assert queue.renew([one.id, two.id, three.id], reviewer="ann") == [one.id]
    assert ids(queue.take(ALL, reviewer="ben", count=5)) == [three.id, four.id]
    expire_leases(database)
    assert queue.renew([four.id], reviewer="ann") == [four.id], "ben's lease ran out"


def test_a_certain_clip_is_opened_and_says_who_is_at_it(queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    assert queue.open(two.id, reviewer="ann").leased_by == "ann"
    assert queue.open(two.id, reviewer="ben").leased_by == "ann"
    reviews.add_cut_point(one.source_video_id, 10, reviewer="ann")
    gone = queue.open(one.id, reviewer="ben")
    assert (gone.clip.is_live, gone.leased_by) == (False, None)
    for missing in (0, 999, 10**30):
        with pytest.raises(NotFoundError, match=f"no clip id:{missing}"):
            queue.open(missing, reviewer="ann")


def test_leasing_is_no_change_to_the_clip(queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    queue.take(ALL, reviewer="ann")
    reviews.skip(clip.id, reviewer="ben", expected_version=clip.cut_point_version)


def test_leases_and_bulk_decisions_do_not_deadlock(queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips) -> None:
    clip_ids = [clip.id for clip in some_clips(*range(1, 80), frame_count=80)]
    queue.take(ALL, reviewer="ann", count=100)

    def renew(n: int) -> None:
        for _ in range(10):
            queue.renew(clip_ids[::-1], reviewer="ann")

    def decide(n: int) -> None:
        for _ in range(5):
            (reviews.approve, reviews.skip)[n % 2](clip_ids, reviewer=f"r{n}")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(renew, 0), pool.submit(decide, 1), pool.submit(renew, 2), pool.submit(decide, 3)]:
            done.result()


# Progress


def test_progress_counts_what_is_done_and_left_of_the_filters_videos(
    queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    first, second = some_clips(25, 50, 75), some_clips(50)
    reviews.approve([first[0].id, first[1].id], reviewer="ann")
    reviews.skip(second[0].id, reviewer="ben")
    reviews.archive(second[1].id, reviewer="ben")
    reviews.undo("ben")
    everything = queue.progress(ALL)
    assert (everything.done, everything.left) == (3, 3)
    assert everything.by_state == {ClipState.REVIEW_APPROVED: 2, ClipState.REVIEW_SKIPPED: 1, ClipState.PENDING_REVIEW: 3}
    assert everything.per_hour == pytest.approx(36, rel=0.01), "three clips within five minutes"
    one = queue.progress(QueueFilter(source_video_ids=(first[0].source_video_id,), states=(ClipState.EXPORTED,)), reviewer="ann")
    assert (one.done, one.left, one.per_hour) == (2, 2, pytest.approx(24, rel=0.01))
    assert queue.progress(ALL, reviewer="nobody").per_hour == 0


def test_the_rate_reads_the_ledger_back_for_an_hour(
    database: Database, queue: ReviewQueueStore, reviews: ReviewStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips()
    reviews.approve(clip.id, reviewer="ann")
    with database.begin() as connection:
        connection.execute(
            text(
                """
                insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after, created_at)
                select reviewer_id, source_video_id, 'skip', clip_ids, '{}', '{}', now() - interval '2 hours' + n * interval '6 seconds'
                from review_actions, generate_series(1, 1199) n
                """
            )
        )
    assert queue.progress(ALL).per_hour == pytest.approx(600, rel=0.02)


@pytest.mark.slow
def test_a_queue_of_100_000_clips_gives_its_first_clips_whatever_the_filter(database: Database, queue: ReviewQueueStore) -> None:
    fill(database, videos=50, clips_each=2000)
    filters = [
        replace(narrowed, order=order)
        for order in QueueOrder
        for narrowed in (ALL, QueueFilter(text="holiday 49"), QueueFilter(max_confidence=0.5))
    ]
    for chosen in filters:
        assert len(queue.take(chosen, reviewer="ann", count=3)) == 3, chosen
    assert len(queue.take(ALL, reviewer="ben", count=3)) == 3
    assert queue.progress(ALL).left == 100_000


def fill(database: Database, *, videos: int, clips_each: int) -> None:
    """Source videos with their scenes detected and clips of ten frames, written straight into the tables.

    Without the constraint against overlaps, whose index would take most of the time.
    """
    with database.begin() as connection:
        connection.execute(text("alter table clips drop constraint clips_no_overlap"))
        for table in ("source_videos", "clips"):
            connection.execute(text(f"alter table {table} disable trigger user"))
        connection.execute(
            text(
                """
                insert into source_videos (source, title, state, frame_count, next_clip_sequence)
                select '/videos/' || n || '.mp4', 'Holiday ' || n, 'scenes_detected', 10 * :each, :each + 1
                from generate_series(1, :videos) n
                """
            ),
            {"videos": videos, "each": clips_each},
        )
        connection.execute(
            text(
                """
                insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, confidence)
                select v.id, n, 10 * n - 10, 10 * n, n * 0.4 - 0.4, n * 0.4, (n * 7919 % 1000) / 1000.0
                from source_videos v, generate_series(1, :each) n
                """
            ),
            {"each": clips_each},
        )
        for table in ("source_videos", "clips"):
            connection.execute(text(f"alter table {table} enable trigger user"))
        connection.execute(text("select heaters_recount_clips()"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
