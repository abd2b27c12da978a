import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewAction, ReviewClip, mece_problems
from heaters_dagster.domain.errors import (
    BadRequestError,
    CutError,
    HeatersError,
    NotFoundError,
    NothingToUndoError,
    ObjectNotFoundError,
    PermanentError,
    StaleClipError,
    VerdictStandsError,
)
from heaters_dagster.domain.stages import EMBEDDINGS, EXPORTS
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from resources.postgres.clip_rows import CLIP, clip_of_row, review_clip
from resources.postgres.clip_store import Clip, ClipStore, MadeObject, NewClip
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.review_store import ReviewResult, ReviewStore, StaleClipsError
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import clips as clips_table
from resources.postgres.tables import cut_point_operations, review_actions, source_videos
from tests.conftest import SomeClips
from tests.review_in_memory import ReviewInMemory, clips_of, cut_problems, group_problems

FRAMES = 40


def seconds(frame: int) -> float:
    """A variable frame rate, and one that differs from that of the fixtures' clips: what was asked for can be told."""
    return frame / 25 + 0.001 * (frame % 3)


def times(source_video_id: int, frames: Sequence[int]) -> list[float]:
    return [seconds(frame) for frame in frames]


@pytest.fixture
def store(database: Database) -> ReviewStore:
    return ReviewStore(database, times)


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def live(database: Database, source_video_id: int) -> list[Clip]:
    return ClipStore(database).load_live(source_video_id)


def ranges(clips: Sequence[Clip]) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in clips]


def everything(database: Database) -> list[list[Any]]:
    return [[tuple(row) for row in rows(database, table)] for table in (clips_table, review_actions, cut_point_operations, source_videos)]


# Decisions


def test_an_approval_is_written_with_who_when_before_and_after(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(30)
    result = store.approve(one.id, reviewer="ann", expected_version=1)
    (clip,) = result.clips
    assert (clip.id, clip.state, clip.cut_point_version, result.replayed) == (one.id, ClipState.REVIEW_APPROVED, 2, False)
    assert clip.last_modified_by_user_id == store.reviewer_id("ann")
    (entry,) = store.history()
    assert (entry.id, entry.action, entry.reviewer, entry.source_video_title) == (result.action_id, ReviewAction.APPROVE, "ann", "Holiday")
    assert entry.before[str(one.id)] == {
        "id": one.id,
        "source_video_id": one.source_video_id,
        "sequence": 1,
        "start_frame": 0,
        "end_frame": 30,
        "start_time_seconds": 0.0,
        "end_time_seconds": 1.2,
        "state": "pending_review",
        "is_live": True,
        "version": 1,
        "grouped_with_clip_id": None,
        "confidence": None,
        "export_profile": "stream_copy",
        "transition": {"kind": "end", "first_frame": None, "last_frame": None},
    }
    assert entry.after[str(one.id)]["state"] == "review_approved"
    assert ClipStore(database).load(two.id) == two


@pytest.mark.parametrize(("method", "state"), [("skip", ClipState.REVIEW_SKIPPED), ("archive", ClipState.REVIEW_ARCHIVED)])
def test_clips_put_aside_stay_live(database: Database, store: ReviewStore, some_clips: SomeClips, method: str, state: ClipState) -> None:
    one, _ = some_clips(30)
    getattr(store, method)(one.id, reviewer="ann")
    assert [(clip.state, clip.is_live) for clip in live(database, one.source_video_id)] == [(state, True), (ClipState.PENDING_REVIEW, True)]


def test_many_clips_of_several_videos_are_decided_in_one_action(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    first, second = some_clips(10, 20, 30), some_clips(50)
    ids = [clip.id for clip in (*second, *first)]
    store.approve(ids, reviewer="ann", expected_version=dict.fromkeys(ids, 1))
    assert len(store.history()) == 1
    for source_video_id in (first[0].source_video_id, second[0].source_video_id):
        assert {clip.state for clip in live(database, source_video_id)} == {ClipState.REVIEW_APPROVED}
        assert len(store.history(source_video_id=source_video_id)) == 1
        assert ClipStore(database).review_has_begun(source_video_id), "new cuts would undo the decision"
    store.undo("ann")
    for source_video_id in (first[0].source_video_id, second[0].source_video_id):
        assert {clip.state for clip in live(database, source_video_id)} == {ClipState.PENDING_REVIEW}


def test_a_decision_that_changes_nothing_leaves_no_entry_unless_its_answer_can_be_asked_for(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips()
    first = store.approve(clip.id, reviewer="ann")
    again = store.approve(clip.id, reviewer="ben")
    assert [(c.id, c.cut_point_version, c.state) for c in again.clips] == [(clip.id, 2, ClipState.REVIEW_APPROVED)]
    assert (again.action_id, again.replayed) == (None, False)
    assert [entry.id for entry in store.history()] == [first.action_id]
    keyed = store.approve(clip.id, reviewer="ben", request_key="press")
    assert store.approve(clip.id, reviewer="ben", request_key="press").action_id == keyed.action_id
    assert store.history()[0].clip_ids == ()
    store.undo("ann")


def test_grouping_links_a_clip_to_the_one_before_it(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two, three = some_clips(30, 60)
    result = store.group(two.id, reviewer="ann")
    assert [(c.id, c.state, c.grouped_with_clip_id) for c in result.clips] == [
        (one.id, ClipState.REVIEW_APPROVED, None),
        (two.id, ClipState.REVIEW_APPROVED, one.id),
    ]
    store.group(three.id, reviewer="ann")
    store.skip(two.id, reviewer="ben")
    assert [c.grouped_with_clip_id for c in live(database, one.source_video_id)] == [None, None, None]
    with pytest.raises(CutError, match=f"clip id:{one.id} is the first"):
        store.group(one.id, reviewer="ann")
    for clip in (two, three):  # as the one that is grouped, and as the one before it
        with pytest.raises(VerdictStandsError, match=f"clip id:{two.id} was skipped by ben; a group would approve it"):
            store.group(clip.id, reviewer="ann")
    assert [c.state for c in live(database, one.source_video_id)][1] == ClipState.REVIEW_SKIPPED


def test_approving_with_another_profile_asks_for_another_export(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.EXPORTED)
    (after,) = store.approve(clip.id, reviewer="ann", export_profile="delivery").clips
    assert (after.state, after.export_profile, after.is_virtual) == (ClipState.REVIEW_APPROVED, "delivery", True)


# Cuts


def test_a_cut_makes_two_clips_with_times_from_the_frame_index(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(60)
    result = store.add_cut_point(one.source_video_id, 31, reviewer="ann", expected_version=1)
    old, left, right = sorted(result.clips, key=lambda clip: clip.id)[:1] + sorted(result.live_clips, key=lambda clip: clip.start_frame)
    assert (old.id, old.is_live, old.state) == (one.id, False, ClipState.REVIEW_ARCHIVED)
    assert (left.start_frame, left.end_frame, left.start_time_seconds, left.end_time_seconds) == (0, 31, 0.0, seconds(31))
    assert (right.start_frame, right.end_frame, right.start_time_seconds, right.end_time_seconds) == (31, 60, seconds(31), 2.4)
    assert [left.sequence, right.sequence] == [3, 4]
    assert left.created_by_user_id == store.reviewer_id("ann")
    (operation,) = rows(database, cut_point_operations)
    assert (operation.operation_type, operation.frame_number, operation.old_frame_number) == ("add", 31, None)
    assert operation.affected_clip_ids == [one.id, left.id, right.id]
    assert operation.review_action_id == result.action_id
    assert ClipStore(database).load(two.id) == two


def test_removing_a_cut_makes_one_clip(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two, _ = some_clips(30, 60)
    store.remove_cut_point(one.source_video_id, 30, reviewer="ann", expected_version={one.id: 1, two.id: 1})
    assert ranges(live(database, one.source_video_id)) == [(0, 60), (60, 100)]
    joined = live(database, one.source_video_id)[0]
    assert (joined.start_time_seconds, joined.end_time_seconds, joined.state) == (0.0, 2.4, ClipState.PENDING_REVIEW)


def test_moving_a_cut_changes_both_neighbours_in_place(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(30)
    store.approve(one.id, reviewer="ann")
    store.move_cut_point(one.source_video_id, 30, 50, reviewer="ann")
    left, right = live(database, one.source_video_id)
    assert (left.id, left.end_frame, left.end_time_seconds, left.state) == (one.id, 50, seconds(50), ClipState.REVIEW_APPROVED)
    assert (right.id, right.start_frame, right.start_time_seconds, right.state) == (two.id, 50, seconds(50), ClipState.PENDING_REVIEW)
    store.move_cut_point(one.source_video_id, 50, 10, reviewer="ann")
    assert [(o.operation_type, o.old_frame_number, o.frame_number) for o in rows(database, cut_point_operations)] == [
        ("move", 30, 50),
        ("move", 50, 10),
    ]


def test_an_illegal_cut_leaves_no_change(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, *_ = some_clips(30, 31, 60)
    video = one.source_video_id
    before = everything(database)
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: store.add_cut_point(video, 100, reviewer="ann"), r"frames 1\.\.99, not 100"),
        (lambda: store.add_cut_point(video, 0, reviewer="ann"), r"frames 1\.\.99, not 0"),
        (lambda: store.add_cut_point(video, 30, reviewer="ann"), "single frame"),
        (lambda: store.remove_cut_point(video, 32, reviewer="ann"), "no cut at frame 32"),
        (lambda: store.remove_cut_point(video, 10**12, reviewer="ann"), r"frames 1\.\.99"),
        (lambda: store.move_cut_point(video, 60, 31, reviewer="ann"), r"cut at frame 60 can move to frames 32\.\.99, not 31"),
        (lambda: store.move_cut_point(video, 60, 60, reviewer="ann"), "already there"),
        (lambda: store.move_cut_point(video, 60, -4, reviewer="ann"), r"frames 32\.\.99, not -4"),
    ]
    for attempt, message in attempts:
        with pytest.raises(CutError, match=message):
            attempt()
    assert everything(database) == before


def test_what_does_not_exist_is_said_so(database: Database, store: ReviewStore, some_clips: SomeClips, a_source_video: Any) -> None:
    with pytest.raises(NotFoundError, match="no source video 77"):
        store.add_cut_point(77, 5, reviewer="ann")
    with pytest.raises(NotFoundError, match="no source video 77"):
        store.remove_cut_point(77, 5, reviewer="ann")
    with pytest.raises(NotFoundError, match="no clip id:5"):
        store.approve([5], reviewer="ann")
    for wrong in (0, -1, 2**63, 10**30):
        with pytest.raises(NotFoundError, match="there is no clip"):
            store.approve(wrong, reviewer="ann")
    with pytest.raises(BadRequestError, match="a decision needs at least one clip"):
        store.skip([], reviewer="ann")
    with pytest.raises(CutError, match="has no clips yet"):
        store.add_cut_point(a_source_video().id, 5, reviewer="ann")
    with pytest.raises(NotFoundError, match="no review action 9"):
        store.undo("ann", action_id=9)


def test_when_the_frame_index_refuses_the_better_reason_is_given(database: Database, some_clips: SomeClips) -> None:
    one, _ = some_clips(30)

    def refusing(source_video_id: int, frames: Sequence[int]) -> list[float]:
        raise ObjectNotFoundError(f"source video {source_video_id} has no frame index")

    store = ReviewStore(database, refusing)
    with pytest.raises(NotFoundError, match="no source video 77"):
        store.add_cut_point(77, 5, reviewer="ann")
    with pytest.raises(CutError, match=r"frames 1\.\.99, not 100"):
        store.move_cut_point(one.source_video_id, 30, 100, reviewer="ann")
    with pytest.raises(ObjectNotFoundError, match="has no frame index"):
        store.add_cut_point(one.source_video_id, 5, reviewer="ann")


def test_the_frame_index_is_read_before_the_transaction(database: Database, some_clips: SomeClips) -> None:
    one, _ = some_clips(30)
    asked = []

    def watching(source_video_id: int, frames: Sequence[int]) -> list[float]:
        asked.append((source_video_id, list(frames)))
        with database.read() as connection:
            busy = connection.scalar(
                text("select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'")
            )
        assert busy == 0
        return times(source_video_id, frames)

    store = ReviewStore(database, watching)
    store.add_cut_point(one.source_video_id, 10, reviewer="ann")
    store.move_cut_point(one.source_video_id, 10, 12, reviewer="ann")
    store.remove_cut_point(one.source_video_id, 12, reviewer="ann")
    for step in (store.undo, store.undo, store.undo, store.redo, store.redo, store.redo):
        step("ann")
    assert asked == [(one.source_video_id, [10]), (one.source_video_id, [12])], "undo and redo find the times in the ledger"


# What is there already


def leave_tracks(database: Database, some_clips: SomeClips) -> list[Clip]:
    clips = some_clips(30, 60, state=ClipState.KEYFRAMED)
    for clip in clips:
        claimed = ClipStore(database).claim(clip.id, EMBEDDINGS)
        assert claimed is not None
        vector = np.eye(1, 512, dtype=np.float32)[0]
        assert EmbeddingStore(database).finish_embedding(
            clip.id, version=claimed.cut_point_version, model="m", strategy="multi", vector=vector
        )
    return ClipStore(database).load_live(clips[0].source_video_id)


def tracks(database: Database, clip: Clip) -> tuple[bool, str | None, set[str], int]:
    now = ClipStore(database).load(clip.id)
    states = {artifact.state for artifact in ClipStore(database).artifacts(clip.id, states=("writing", "live", "obsolete", "deleted"))}
    with database.read() as connection:
        vectors = connection.scalar(text("select count(*) from embeddings where clip_id = :id"), {"id": clip.id})
    return now.is_virtual, now.clip_filepath, states, int(vectors or 0)


@pytest.mark.parametrize(
    ("act", "touched"),
    [
        (lambda s, c: s.archive(c[1].id, reviewer="ann"), [1]),
        (lambda s, c: s.skip([c[0].id, c[1].id], reviewer="ann"), [0, 1]),
        (lambda s, c: s.add_cut_point(c[0].source_video_id, 40, reviewer="ann"), [1]),
        (lambda s, c: s.remove_cut_point(c[0].source_video_id, 30, reviewer="ann"), [0, 1]),
        (lambda s, c: s.move_cut_point(c[0].source_video_id, 60, 70, reviewer="ann"), [1, 2]),
        (lambda s, c: s.approve(c[2].id, reviewer="ann", export_profile="gold_master"), [2]),
        (lambda s, c: s.group(c[2].id, reviewer="ann"), []),
        (lambda s, c: s.approve([clip.id for clip in c], reviewer="ann"), []),
    ],
)
def test_what_an_action_makes_untrue_is_obsolete_in_the_same_transaction(
    database: Database,
    store: ReviewStore,
    some_clips: SomeClips,
    act: Callable[[ReviewStore, list[Clip]], ReviewResult],
    touched: list[int],
) -> None:
    clips = leave_tracks(database, some_clips)
    before = [tracks(database, clip) for clip in clips]
    assert before[0] == (False, clips[0].clip_filepath, {"live"}, 1)
    act(store, clips)
    for n, clip in enumerate(clips):
        assert tracks(database, clip) == ((True, None, {"obsolete"}, 0) if n in touched else before[n])
    assert {clip.state for clip in live(database, clips[0].source_video_id)} <= {
        ClipState.EMBEDDED,
        ClipState.PENDING_REVIEW,
        ClipState.REVIEW_APPROVED,
        ClipState.REVIEW_ARCHIVED,
        ClipState.REVIEW_SKIPPED,
    }


def test_undo_of_an_archive_approves_again_for_export(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    _, clip, _ = leave_tracks(database, some_clips)
    store.archive(clip.id, reviewer="ann")
    store.undo("ann")
    after = ClipStore(database).load(clip.id)
    assert (after.state, after.is_virtual) == (ClipState.REVIEW_APPROVED, True)
    assert [due.id for due in ClipStore(database).due(EXPORTS)] == [clip.id]


def test_undo_of_an_approval_takes_the_files_back(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    store.approve(clip.id, reviewer="ann")
    some_clips(state=ClipState.EXPORTED, source_video_id=clip.source_video_id)
    store.undo("ann")
    after = ClipStore(database).load(clip.id)
    assert (after.state, after.is_virtual, after.clip_filepath) == (ClipState.PENDING_REVIEW, True, None)
    assert tracks(database, clip)[2] == {"obsolete"}


def test_an_export_that_finishes_after_the_decision_changed_does_not_count(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips(state=ClipState.REVIEW_APPROVED)
    exports = ClipStore(database)
    claimed = exports.claim(clip.id, EXPORTS, ["final_clips/a.mp4"])
    assert claimed is not None
    store.skip(clip.id, reviewer="ann")
    store.approve(clip.id, reviewer="ann")
    assert exports.claim(clip.id, EXPORTS, ["final_clips/a.mp4"]) is not None
    assert not exports.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject("final_clips/a.mp4", 10, {})])
    assert exports.load(clip.id).state == ClipState.EXPORTING


def test_a_decision_forgets_what_failed_before(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.EXPORT_FAILED)
    store.skip(clip.id, reviewer="ann")
    (after,) = store.approve(clip.id, reviewer="ann").clips
    assert (after.error, after.attempts) == (None, 0)


# Versions


def test_a_stale_version_is_refused_with_the_fresh_clip_and_who_changed_it(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips()
    store.skip(clip.id, reviewer="ben")
    before = everything(database)
    with pytest.raises(StaleClipsError) as caught:
        store.approve(clip.id, reviewer="ann", expected_version=1)
    assert str(caught.value) == (
        f"clip id:{clip.id} has changed, last by ben: its state is now review_skipped, its frames 0..99 (version 2 now, 1 when you read it)"
    )
    assert isinstance(caught.value, StaleClipError)
    assert [(fresh.id, fresh.state) for fresh in caught.value.clips] == [(clip.id, ClipState.REVIEW_SKIPPED)]
    assert everything(database) == before


@pytest.mark.parametrize("method", ["approve", "skip", "archive", "group"])
def test_a_clip_that_a_cut_replaced_is_refused_and_its_parts_are_given(store: ReviewStore, some_clips: SomeClips, method: str) -> None:
    _, clip = some_clips(20)
    store.add_cut_point(clip.source_video_id, 50, reviewer="ben")
    with pytest.raises(
        StaleClipsError, match=rf"clip id:{clip.id} is no longer in the cut list \(changed by ben\); in its place: clips"
    ) as caught:
        getattr(store, method)(clip.id, reviewer="ann")
    assert ranges(caught.value.clips) == [(20, 50), (50, 100)]


def test_cut_operations_check_the_versions_of_the_clips_beside_the_cut(store: ReviewStore, some_clips: SomeClips) -> None:
    one, two, three = some_clips(30, 60)
    video = one.source_video_id
    store.approve(two.id, reviewer="ben")
    for attempt in (
        lambda: store.add_cut_point(video, 40, reviewer="ann", expected_version=1),
        lambda: store.remove_cut_point(video, 30, reviewer="ann", expected_version={one.id: 1, two.id: 1}),
        lambda: store.remove_cut_point(video, 30, reviewer="ann", expected_version=1),
        lambda: store.move_cut_point(video, 60, 50, reviewer="ann", expected_version={two.id: 1}),
        lambda: store.edit_cut(video, 30, Transition(CutKind.HARD), reviewer="ann", expected_version=1),
        lambda: store.edit_cut(video, 60, Transition(CutKind.FADE, 50, 60), reviewer="ann", expected_version={two.id: 1, three.id: 1}),
    ):
        with pytest.raises(StaleClipsError, match=f"clip id:{two.id} has changed, last by ben"):
            attempt()
    store.move_cut_point(video, 60, 50, reviewer="ann", expected_version={two.id: 2, three.id: 1})
    store.add_cut_point(video, 70, reviewer="ann", expected_version={three.id: 2})
    with pytest.raises(StaleClipsError, match=f"clip id:{three.id} is no longer in the cut list"):
        store.add_cut_point(video, 80, reviewer="ann", expected_version={three.id: 3})


def test_kind_and_range_of_a_cut_are_set_once_for_each_press_undone_and_redone(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two, _three = some_clips(30, 60)
    video, dissolve, narrow = one.source_video_id, Transition(CutKind.DISSOLVE, 25, 34), Transition(CutKind.DISSOLVE, 26, 34)

    def told() -> list[Transition | None]:
        return [clip.transition for clip in live(database, video)]

    assert told() == [Transition(CutKind.END), None, None]
    first = store.edit_cut(video, 30, dissolve, reviewer="ann", request_key="press 1")
    again = store.edit_cut(video, 30, dissolve, reviewer="ann", request_key="press 1")
    assert (again.replayed, again.action_id) == (True, first.action_id)
    assert [(clip.id, clip.cut_point_version) for clip in first.clips] == [(one.id, 2), (two.id, 2)]
    store.edit_cut(video, 30, narrow, reviewer="ann", expected_version={one.id: 2, two.id: 2})
    assert told() == [Transition(CutKind.END), narrow, None]
    for expected in (dissolve, None):
        store.undo("ann")
        assert told()[1] == expected
    for expected in (dissolve, narrow):
        store.redo("ann")
        assert told()[1] == expected
    entry = store.history(limit=1, actions=[ReviewAction.EDIT_CUT])[0]
    assert [side[str(two.id)]["transition"] for side in (entry.before, entry.after)] == [dissolve.to_json(), narrow.to_json()]
    assert store.edit_cut(video, 30, narrow, reviewer="ann").action_id is None, "it is so already"


def test_expected_versions_must_fit_the_action(store: ReviewStore, some_clips: SomeClips) -> None:
    one, two, three = some_clips(30, 60)
    with pytest.raises(BadRequestError, match="for each clip id"):
        store.approve([one.id, two.id], reviewer="ann", expected_version=1)
    with pytest.raises(BadRequestError, match=f"clip id:{three.id}, which the action does not touch"):
        store.approve([one.id], reviewer="ann", expected_version={three.id: 1})


def test_one_stale_clip_of_many_refuses_them_all(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    clips = some_clips(10, 20, 30)
    store.skip(clips[2].id, reviewer="ben")
    with pytest.raises(StaleClipsError, match=f"clip id:{clips[2].id}"):
        store.approve([clip.id for clip in clips], reviewer="ann", expected_version={clip.id: 1 for clip in clips})
    assert [clip.state for clip in live(database, clips[0].source_video_id)].count(ClipState.REVIEW_APPROVED) == 0


# Sent twice


def test_a_decision_that_is_sent_twice_is_applied_once(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, _ = some_clips(50)
    first = store.add_cut_point(one.source_video_id, 20, reviewer="ann", request_key="k1", expected_version=1)
    again = store.add_cut_point(one.source_video_id, 20, reviewer="ann", request_key="k1", expected_version=1)
    assert (again.action_id, again.action, again.replayed) == (first.action_id, first.action, True)
    assert again.clips == first.clips
    store.undo("ann", request_key="k2")
    assert store.undo("ann", request_key="k2").replayed
    store.redo("ann", request_key="k3")
    assert store.redo("ann", request_key="k3").replayed
    assert len(store.history()) == 3


def test_a_decision_that_is_sent_many_times_at_once_is_applied_once(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    clips = some_clips(*range(5, 100, 5))

    def send(n: int) -> ReviewResult:
        return store.approve(clips[n % 4].id, reviewer="ann", request_key=f"key {n % 4}", expected_version=1)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(32)))
    assert len({result.action_id for result in results}) == 4
    assert sum(not result.replayed for result in results) == 4
    assert len(store.history()) == 4


def test_a_request_key_belongs_to_its_reviewer(store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    store.approve(one.id, reviewer="ann", request_key="k")
    with pytest.raises(BadRequestError, match="another reviewer's action"):
        store.approve(two.id, reviewer="ben", request_key="k")
    with pytest.raises(BadRequestError, match="1 to 200 characters"):
        store.approve(two.id, reviewer="ben", request_key="x" * 201)


def test_a_refused_decision_does_not_use_up_its_key(store: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    with pytest.raises(StaleClipsError):
        store.approve(clip.id, reviewer="ann", request_key="k", expected_version=7)
    assert not store.approve(clip.id, reviewer="ann", request_key="k", expected_version=1).replayed


# Undo


def test_undo_and_redo_of_a_cut_bring_the_same_clips_back(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, _ = some_clips(60)
    video = one.source_video_id
    store.add_cut_point(video, 31, reviewer="ann")
    parts = [(clip.id, clip.sequence, clip.start_time_seconds, clip.end_time_seconds) for clip in live(database, video)]
    undone = store.undo("ann")
    assert undone.action == ReviewAction.UNDO
    back = live(database, video)[0]
    assert (back.id, back.state, back.end_time_seconds) == (one.id, ClipState.PENDING_REVIEW, 2.4)
    store.redo("ann")
    assert [(clip.id, clip.sequence, clip.start_time_seconds, clip.end_time_seconds) for clip in live(database, video)] == parts
    operations = [(o.operation_type, o.frame_number, o.metadata["action"]) for o in rows(database, cut_point_operations)]
    assert operations == [("add", 31, "add_cut_point"), ("remove", 31, "undo"), ("add", 31, "redo")]
    assert [(e.action, e.target_action_id, e.undone) for e in store.history()] == [
        ("redo", 1, False),
        ("undo", 1, False),
        ("add_cut_point", None, False),
    ]


def test_a_group_is_not_redone_on_a_clip_whose_approval_was_undone_meanwhile(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two = some_clips(60)
    store.approve(one.id, reviewer="ann")
    store.group(two.id, reviewer="ben")
    store.undo("ben")
    store.undo("ann")
    with pytest.raises(StaleClipsError, match=f"clip id:{one.id} has changed, last by ann: its state is now pending_review"):
        store.redo("ben")
    assert [clip.grouped_with_clip_id for clip in live(database, one.source_video_id)] == [None, None]
    store.redo("ann")
    store.redo("ben")
    assert [clip.grouped_with_clip_id for clip in live(database, one.source_video_id)] == [None, one.id]


def test_a_join_is_not_redone_under_a_group_that_an_undo_brought_back(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two, three = some_clips(30, 60)
    video = one.source_video_id
    store.group(three.id, reviewer="ann")
    store.add_cut_point(video, 70, reviewer="ben")
    store.remove_cut_point(video, 30, reviewer="ann")
    store.undo("ann")
    store.undo("ben")
    with pytest.raises(StaleClipsError, match=f"clip id:{three.id} has changed, last by ben"):
        store.redo("ann")
    assert [(clip.id, clip.grouped_with_clip_id) for clip in live(database, video)] == [(one.id, None), (two.id, None), (three.id, two.id)]


def test_undo_reaches_back_over_videos_and_sessions(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    (one,), (two,) = some_clips(), some_clips()
    store.approve(one.id, reviewer="ann")
    store.skip(two.id, reviewer="ann")
    store.approve(two.id, reviewer="ben")
    tomorrow = ReviewStore(Database.connect(database.url), times)
    with pytest.raises(StaleClipsError, match=f"ben has approved clip id:{two.id} since"):
        tomorrow.undo("ann")
    tomorrow.undo("ann", source_video_id=one.source_video_id)
    assert ClipStore(database).load(one.id).state == ClipState.PENDING_REVIEW
    with pytest.raises(NothingToUndoError):
        tomorrow.undo("ann", source_video_id=one.source_video_id)
    with pytest.raises(NothingToUndoError):
        tomorrow.redo("ben")


def test_undo_is_refused_under_a_later_action_and_gives_the_fresh_clips(store: ReviewStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    store.add_cut_point(clip.source_video_id, 50, reviewer="ann")
    store.move_cut_point(clip.source_video_id, 50, 60, reviewer="ben")
    with pytest.raises(StaleClipsError) as caught:
        store.undo("ann")
    assert (
        f"cannot undo the add_cut_point of clips id:{clip.id}, id:{clip.id + 1} and id:{clip.id + 2}: ben has moved a cut of clip"
        in str(caught.value)
    )
    assert ranges(caught.value.clips) == [(0, 60), (60, 100)]
    store.undo("ben")
    store.undo("ann")


def test_undo_is_refused_when_the_clips_were_cut_anew_by_force(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, _ = some_clips(50)
    store.approve(one.id, reviewer="ann")
    with database.begin() as connection:
        moved = "start_frame = case start_frame when 50 then 40 else 0 end, end_frame = case end_frame when 50 then 40 else 100 end"
        connection.execute(text(f"update clips set {moved}"))
    with pytest.raises(StaleClipsError, match=f"cannot undo action 1: clip id:{one.id} has changed"):
        store.undo("ann")


def test_a_forced_recut_is_in_the_ledger_and_undo_passes_over_what_it_retired(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two = some_clips(50)
    (other,) = some_clips()
    store.approve(other.id, reviewer="ann")
    first = store.approve(one.id, reviewer="ann").action_id
    store.skip(two.id, reviewer="ann")
    store.undo("ann")
    new = [NewClip(start_frame=0, end_frame=100, start_time_seconds=0, end_time_seconds=4)]
    (whole,) = ClipStore(database).replace_cuts(one.source_video_id, new, 100, forced_by="ben")

    entry = store.history()[0]
    assert (entry.action, entry.reviewer, entry.clip_ids) == (ReviewAction.RECUT, "ben", (one.id, two.id, whole.id))
    assert entry.before[str(whole.id)] is None
    assert (entry.before[str(one.id)] or {})["state"] == "review_approved"
    assert entry.after[str(whole.id)]["end_time_seconds"] == 4
    assert [entry.after[str(clip.id)]["is_live"] for clip in (one, two, whole)] == [False, False, True]
    with pytest.raises(StaleClipsError, match=f"ben has cut anew clip id:{one.id} since .action {entry.id}., which must be undone first"):
        store.undo("ann", action_id=first)
    with pytest.raises(NothingToUndoError, match="nothing to redo"):
        store.redo("ann")
    assert [clip.id for clip in store.undo("ann").clips] == [other.id]
    with pytest.raises(NothingToUndoError, match="nothing to undo"):
        store.undo("ann")
    with pytest.raises(PermanentError, match="was done by ben, and only its author"):
        store.undo("ann", action_id=entry.id)


def test_a_forced_recut_is_undone_with_every_decision_that_it_had_retired(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two, three = some_clips(30, 50)
    videos, clips, settings = (
        SourceVideoStore(database),
        ClipStore(database),
        {"detector": "content", "threshold": 27.0, "min_clip_frames": 2},
    )
    videos.update(one.source_video_id, scene_settings=settings)
    approved = store.approve([one.id, two.id], reviewer="ann").action_id
    store.group(two.id, reviewer="ann")
    store.skip(three.id, reviewer="ann")

    def cut_list() -> list[tuple[object, ...]]:
        found = live(database, one.source_video_id)
        return [(clip.id, clip.start_frame, clip.end_frame, clip.state, clip.grouped_with_clip_id) for clip in found]

    before = cut_list()
    new = [NewClip(start_frame=0, end_frame=40, start_time_seconds=0, end_time_seconds=1.6)]
    new += [NewClip(start_frame=40, end_frame=100, start_time_seconds=1.6, end_time_seconds=4)]
    other = {**settings, "threshold": 9.0}
    clips.replace_cuts(one.source_video_id, new, 100, scene_settings=other, forced_by="ben")
    left, _ = live(database, one.source_video_id)
    decided = store.approve(left.id, reviewer="ann").action_id
    with pytest.raises(StaleClipsError, match=f"ann has approved clip id:{left.id} since .action {decided}., which must be undone first"):
        store.undo("ben")

    store.undo("ann", action_id=decided)
    undone = store.undo("ben")
    assert cut_list() == before
    assert videos.load(one.source_video_id).scene_settings == settings
    with database.read() as connection:  # it added no single cut and removed none
        assert connection.scalar(text("select count(*) from cut_point_operations")) == 0
    undoing, _, _, recut, *_ = store.history()
    assert (undoing.id, undoing.target_action_id, recut.reviewer) == (undone.action_id, recut.id, "ben")
    store.redo("ben")
    assert ranges(live(database, one.source_video_id)) == [(0, 40), (40, 100)]
    assert videos.load(one.source_video_id).scene_settings == other
    store.undo("ben")
    for _ in range(3):
        store.undo("ann")  # to any depth, also what was decided before the recut
    assert {clip.state for clip in live(database, one.source_video_id)} == {ClipState.PENDING_REVIEW}
    assert approved is not None


def test_an_action_is_undone_from_the_history_by_its_author_only(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    first = store.approve(one.id, reviewer="ann").action_id
    second = store.approve(two.id, reviewer="ann").action_id
    with pytest.raises(PermanentError, match="action 1 was done by ann, and only its author"):
        store.undo("ben", action_id=first)
    undo = store.undo("ann", action_id=first).action_id
    assert [clip.state for clip in live(database, one.source_video_id)] == [ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED]
    with pytest.raises(NothingToUndoError, match="is already undone"):
        store.undo("ann", action_id=first)
    with pytest.raises(NothingToUndoError, match="it is itself the undo of action 1"):
        store.undo("ann", action_id=undo)
    store.redo("ann")
    store.undo("ann", action_id=second)


def test_a_decision_that_changed_nothing_is_no_stop_for_undo_and_redo(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two = some_clips(50)
    first = store.approve(one.id, reviewer="ann").action_id
    nothing = store.approve(one.id, reviewer="ann", request_key="again")
    undone = store.undo("ann", action_id=nothing.action_id, request_key="take back")
    assert undone.clips == ()
    assert store.approve(one.id, reviewer="ann", request_key="again").action_id == nothing.action_id
    assert store.undo("ann", action_id=nothing.action_id, request_key="take back").replayed
    assert ClipStore(database).load(one.id).state == ClipState.REVIEW_APPROVED
    store.undo("ann")
    assert ClipStore(database).load(one.id).state == ClipState.PENDING_REVIEW
    store.redo("ann", action_id=first)
    store.redo("ann", action_id=nothing.action_id)
    assert ClipStore(database).load(one.id).state == ClipState.REVIEW_APPROVED
    store.skip(two.id, reviewer="ann")
    store.undo("ann")
    last = store.approve(one.id, reviewer="ann", request_key="last").action_id
    store.undo("ann", action_id=last)
    store.redo("ann")
    assert ClipStore(database).load(two.id).state == ClipState.REVIEW_SKIPPED


def test_a_certain_action_is_done_again_unless_it_stands(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    first, second = (store.approve(clip.id, reviewer="ann").action_id for clip in (one, two))
    store.undo("ann")
    store.undo("ann")
    store.redo("ann", action_id=second)
    assert [clip.state for clip in live(database, one.source_video_id)] == [ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED]
    with pytest.raises(NothingToUndoError, match=f"action {second} was not undone"):
        store.redo("ann", action_id=second)
    store.redo("ann")
    assert store.history()[0].target_action_id == first


def test_undo_goes_as_deep_as_the_ledger(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    clips = some_clips(*range(1, 70), frame_count=70)
    for clip in clips:
        store.approve(clip.id, reviewer="ann")
    for _ in clips:
        store.undo("ann")
    assert {clip.state for clip in live(database, clips[0].source_video_id)} == {ClipState.PENDING_REVIEW}
    with pytest.raises(NothingToUndoError):
        store.undo("ann")
    for _ in clips:
        store.redo("ann")
    assert {clip.state for clip in live(database, clips[0].source_video_id)} == {ClipState.REVIEW_APPROVED}


def test_two_undos_at_once_undo_two_actions(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    clips = some_clips(*range(10, 100, 10))
    for clip in clips[:6]:
        store.approve(clip.id, reviewer="ann")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: store.undo("ann"), range(4)))
    assert len({result.clips[0].id for result in results}) == 4
    assert [clip.state for clip in live(database, clips[0].source_video_id)].count(ClipState.REVIEW_APPROVED) == 2


# History


def test_history_counts_the_clips_of_a_large_action_instead_of_reading_them_all(store: ReviewStore, some_clips: SomeClips) -> None:
    chosen = [clip.id for clip in some_clips(20, 40, 60)]
    store.skip(chosen[2], reviewer="bob")
    store.approve(chosen, reviewer="ann")
    store.add_cut_point(some_clips(50)[0].source_video_id, 10, reviewer="ann")
    cut, whole, one = store.history()
    cut_again, short, one_again = store.history(most_snapshots=3)
    assert (cut_again, one_again) == (cut, one), "an action on few clips is read whole"
    assert whole.before_counts is None
    assert short.before_counts == {"pending_review": 3, "review_skipped": 1}
    assert short.after_counts == {"review_approved": 4}
    first = {str(clip_id) for clip_id in whole.clip_ids[:3]}
    assert (short.before.keys(), short.after.keys()) == (first, first)
    assert all(short.after[clip_id] == whole.after[clip_id] for clip_id in first)


def test_history_is_filtered_and_paged(store: ReviewStore, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    (other,) = some_clips()
    store.approve(one.id, reviewer="ann")
    store.skip(two.id, reviewer="ben")
    store.archive(other.id, reviewer="ann")

    def ids(**chosen: Any) -> list[int]:
        return [entry.id for entry in store.history(**chosen)]

    assert ids() == [3, 2, 1]
    assert ids(limit=2) == [3, 2]
    assert ids(before_id=2) == [1]
    assert ids(reviewer="ann") == [3, 1]
    assert ids(source_video_id=one.source_video_id) == [2, 1]
    assert ids(clip_id=two.id) == [2]
    assert ids(actions=[ReviewAction.SKIP, ReviewAction.ARCHIVE]) == [3, 2]
    moment = store.history()[1].created_at
    assert ids(since=moment) == [3, 2]


# Leases


def test_who_cuts_a_leased_clip_holds_its_parts_and_a_decision_ends_the_lease(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    one, two, three = some_clips(30, 60)
    ann, ben = store.reviewer_id("ann"), store.reviewer_id("ben")
    with database.begin() as connection:
        lease = clips_table.update().values(leased_by_user_id=ann, lease_expires_at=text("now() + interval '1 minute'"))
        connection.execute(lease.where(clips_table.c.id.in_([one.id, two.id])))
        connection.execute(lease.where(clips_table.c.id == three.id).values(leased_by_user_id=ben))
    store.add_cut_point(one.source_video_id, 10, reviewer="ann")
    store.approve([two.id, three.id], reviewer="ann")
    holders = [clip.leased_by_user_id for clip in live(database, one.source_video_id)]
    assert holders == [ann, ann, None, ben]
    assert ClipStore(database).load(one.id).leased_by_user_id is None


# Everything at once


def problems(database: Database, source_video_id: int, frame_count: int) -> list[str]:
    with database.read() as connection:
        found = connection.execute(select(*CLIP).where(clips_table.c.source_video_id == source_video_id))
        clips = [review_clip(clip_of_row(row)) for row in found]
    return mece_problems(clips, frame_count) + group_problems(clips) + cut_problems(clips)


def act_at_random(store: ReviewStore, database: Database, source_video_id: int, who: str, dice: random.Random) -> str:
    clips = live(database, source_video_id)
    clip = dice.choice(clips)
    some = [c.id for c in dice.sample(clips, min(len(clips), dice.randint(1, 4)))]
    frame = dice.randint(1, FRAMES - 1)
    actions: dict[str, Callable[[], object]] = {
        "approve": lambda: store.approve(some, reviewer=who),
        "skip": lambda: store.skip(some, reviewer=who),
        "archive": lambda: store.archive(some, reviewer=who),
        "group": lambda: store.group(clip.id, reviewer=who),
        "add": lambda: store.add_cut_point(source_video_id, frame, reviewer=who),
        "remove": lambda: store.remove_cut_point(source_video_id, clip.start_frame, reviewer=who),
        "move": lambda: store.move_cut_point(source_video_id, clip.start_frame, frame, reviewer=who),
        "edit": lambda: store.edit_cut(
            source_video_id, clip.start_frame, Transition(CutKind.FADE, max(0, clip.start_frame - 3), frame), reviewer=who
        ),
        "undo": lambda: store.undo(who),
        "redo": lambda: (store.undo(who), store.redo(who)),
    }
    name = dice.choice(list(actions))
    try:
        actions[name]()
    except (StaleClipError, CutError, NothingToUndoError, VerdictStandsError):
        return "refused"
    return name


def test_reviewers_who_act_at_the_same_time_neither_deadlock_nor_break_the_cut_list(
    database: Database, store: ReviewStore, some_clips: SomeClips
) -> None:
    (first, *_), (second, *_) = some_clips(10, 20, frame_count=FRAMES), some_clips(15, 30, frame_count=FRAMES)
    videos = [first.source_video_id, second.source_video_id]
    initial = [ranges(live(database, video)) for video in videos]

    def work(n: int) -> list[str]:
        dice = random.Random(n)
        return [act_at_random(store, database, dice.choice(videos), f"r{n % 3}", dice) for _ in range(40)]

    with ThreadPoolExecutor(6) as pool:
        done = [name for names in pool.map(work, range(6)) for name in names]
    assert len(set(done)) >= 8, "most actions happened, and refusals too"
    for video in videos:
        assert problems(database, video, FRAMES) == []
    for entry in [entry for entry in store.history(limit=10_000) if entry.clip_ids and not entry.undone and entry.target_action_id is None]:
        store.undo(entry.reviewer, action_id=entry.id)
    assert [ranges(live(database, video)) for video in videos] == initial
    assert {clip.state for video in videos for clip in live(database, video)} == {ClipState.PENDING_REVIEW}


def test_bulk_actions_in_any_order_of_ids_do_not_deadlock(database: Database, store: ReviewStore, some_clips: SomeClips) -> None:
    ids = [clip.id for _ in range(3) for clip in some_clips(*range(5, 100, 5))]

    def work(n: int) -> None:
        shuffled = random.Random(n).sample(ids, len(ids))
        (store.approve, store.skip)[n % 2](shuffled, reviewer=f"r{n}", request_key=f"press {n}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    assert len(store.history()) == 12


#: Of the request to the review, and to the store.
Arguments = tuple[list[Any], list[Any]]


@dataclass(frozen=True)
class Step:
    what: str
    who: str
    numbers: tuple[int, int, int]


steps = st.builds(
    Step,
    what=st.sampled_from(
        [
            "approve",
            "skip",
            "archive",
            "group",
            "add_cut_point",
            "remove_cut_point",
            "move_cut_point",
            "edit_cut",
            "undo",
            "redo",
            "undo_chosen",
            "pipeline",
        ]
    ),
    who=st.sampled_from(["ann", "ben"]),
    numbers=st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
)
_examples = count()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(edges=st.sets(st.integers(1, FRAMES - 1), max_size=5), script=st.lists(steps, min_size=5, max_size=30))
def test_the_store_does_what_the_pure_core_says(database: Database, some_clips: SomeClips, edges: set[int], script: list[Step]) -> None:
    """The same requests to the store and to the review in memory: the same answers, the same clips. Clips are told by their sequence."""
    store = ReviewStore(database, times)
    example = next(_examples)
    start = some_clips(*sorted(edges), frame_count=FRAMES)
    video = start[0].source_video_id
    in_memory = ReviewInMemory.of(clips_of(0, *sorted(edges), FRAMES, confidence=None))
    actions: dict[int, int] = {}

    for step in script:
        here = {clip.sequence: clip.id for clip in live(database, video)}
        clip = in_memory.live[step.numbers[0] % len(in_memory.live)]
        standing = in_memory.standing()
        if step.what == "pipeline":
            if clip.is_approved:
                lead_to_exported(database, here[clip.sequence])
        elif step.what == "undo_chosen":
            if standing:
                entry = standing[step.numbers[0] % len(standing)]
                author = in_memory.authors[entry.id]
                expected = outcome(in_memory.undo, author, entry.id)
                compared(expected, outcome(store.undo, f"{author} {example}", action_id=actions[entry.id]), actions)
        else:
            of_memory, in_store = REQUESTS[step.what](step, in_memory, here, video)
            expected = outcome(getattr(in_memory, step.what.split("_")[0]), step.who, *of_memory)
            compared(expected, outcome(getattr(store, step.what), *in_store, reviewer=f"{step.who} {example}"), actions)
        assert seen_in_store(database, video) == seen_in_memory(in_memory)
        assert problems(database, video, FRAMES) == []


def _several(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    chosen = sorted({in_memory.live[n % len(in_memory.live)].sequence or 0 for n in step.numbers})
    return chosen, [[here[sequence] for sequence in chosen]]


def _one(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    sequence = in_memory.live[step.numbers[0] % len(in_memory.live)].sequence or 0
    return [sequence], [here[sequence]]


def _new_cut(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    frame = step.numbers[1] % (FRAMES + 2)
    return [frame], [video, frame]


def _old_cut(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    frame = in_memory.live[step.numbers[0] % len(in_memory.live)].start_frame
    return [frame], [video, frame]


def _both_cuts(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    frames = [*_old_cut(step, in_memory, here, video)[0], *_new_cut(step, in_memory, here, video)[0]]
    return frames, [video, *frames]


def _a_transition(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    [frame], _ = _old_cut(step, in_memory, here, video)
    first, last = max(0, frame - step.numbers[1] % 6), frame + step.numbers[2] % 12 - 2
    told = Transition(CutKind.DISSOLVE, first, last) if first <= last else Transition(CutKind.HARD)
    return [frame, told], [video, frame, told]


def _nothing(step: Step, in_memory: ReviewInMemory, here: dict[int, int], video: int) -> Arguments:
    return [], []


REQUESTS: dict[str, Callable[[Step, ReviewInMemory, dict[int, int], int], Arguments]] = {
    "approve": _several,
    "skip": _several,
    "archive": _several,
    "group": _one,
    "add_cut_point": _new_cut,
    "remove_cut_point": _old_cut,
    "move_cut_point": _both_cuts,
    "edit_cut": _a_transition,
    "undo": _nothing,
    "redo": _nothing,
}


def compared(expected: Any, got: Any, actions: dict[int, int]) -> None:
    """Both did it, or both refused for the same kind of reason."""
    if isinstance(expected, int):
        assert isinstance(got, ReviewResult), got
        actions[expected] = got.action_id
    else:
        assert isinstance(got, type(expected)), (expected, got)


def outcome(action: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    try:
        return action(*arguments, **keywords)
    except HeatersError as error:
        return error


def seen_in_store(database: Database, source_video_id: int) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        found = list(connection.execute(select(clips_table).where(clips_table.c.source_video_id == source_video_id)))
    sequence = {row.id: row.sequence for row in found}
    return sorted(
        (
            row.sequence,
            row.start_frame,
            row.end_frame,
            str(ClipState.REVIEW_APPROVED if ClipState(row.state) in APPROVED_STATES else row.state),
            row.is_live,
            sequence.get(row.grouped_with_clip_id),
            row.confidence,
            (row.cut_kind, row.cut_first_frame, row.cut_last_frame),
        )
        for row in found
    )


def seen_in_memory(in_memory: ReviewInMemory) -> list[tuple[Any, ...]]:
    return sorted(
        (c.sequence, c.start_frame, c.end_frame, str(c.decision), c.is_live, c.grouped_with_clip_id, c.confidence, _told(c))
        for c in in_memory.clips.values()
    )


def _told(clip: ReviewClip) -> tuple[Any, ...]:
    told = clip.transition
    return (None, None, None) if told is None else (str(told.kind), told.first_frame, told.last_frame)


def lead_to_exported(database: Database, clip_id: int) -> None:
    exports = ClipStore(database)
    claimed = exports.claim(clip_id, EXPORTS, [f"final_clips/{clip_id}.mp4"])
    if claimed is not None:
        assert exports.finish(clip_id, EXPORTS, claimed.cut_point_version, [MadeObject(f"final_clips/{clip_id}.mp4", 1, {})])


def test_of_many_clips_those_that_changed_since_they_were_seen_are_left_alone(store: ReviewStore, some_clips: SomeClips) -> None:
    first, second, third, fourth = some_clips(20, 40, 60)
    seen = {clip.id: clip.cut_point_version for clip in (first, second, third, fourth)}
    store.skip(second.id, reviewer="ben")
    store.add_cut_point(first.source_video_id, 70, reviewer="cleo")
    done = store.decide_unchanged(ReviewAction.APPROVE, seen, reviewer="ann", request_key="once")
    assert done.result is not None
    assert [clip.id for clip in done.result.clips] == [first.id, third.id]
    assert set(done.left_alone) == {second.id, fourth.id}
    assert "last by ben: its state is now review_skipped" in done.left_alone[second.id]
    assert "changed by cleo" in done.left_alone[fourth.id]
    again = store.decide_unchanged(ReviewAction.APPROVE, seen, reviewer="ann", request_key="once")
    assert again.result is not None
    assert again.result.replayed
    assert len(store.history(reviewer="ann")) == 1
    nothing = store.decide_unchanged(ReviewAction.ARCHIVE, {second.id: 1}, reviewer="ann")
    assert nothing.result is None
    assert len(store.history(reviewer="ann")) == 1, "what decides nothing leaves no entry"
