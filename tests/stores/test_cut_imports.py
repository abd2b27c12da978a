from collections.abc import Sequence

import pytest

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import CutError, NotFoundError, PermanentError
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_store import ClipStore
from resources.postgres.cut_imports import import_cuts
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore
from tests.conftest import SomeClips


def times(source_video_id: int, frames: Sequence[int]) -> list[float]:
    return [frame / 25 for frame in frames]


@pytest.fixture
def reviews(database: Database) -> ReviewStore:
    return ReviewStore(database, times)


def ranges(database: Database, video: int) -> list[tuple[int, int, ClipState]]:
    return [(clip.start_frame, clip.end_frame, clip.state) for clip in ClipStore(database).load_live(video)]


def test_imported_cuts_are_one_action_that_is_undone_and_done_again(
    database: Database, some_clips: SomeClips, reviews: ReviewStore
) -> None:
    first, *_ = some_clips(20, 40, 70)
    video = first.source_video_id
    reviews.approve(first.id, reviewer="Ada")
    reviews.edit_cut(video, 40, Transition(CutKind.DISSOLVE, 35, 44), reviewer="Ada")
    before = ranges(database, video)
    done = import_cuts(database, video, [20, 30, 40, 55], frame_times=times, reviewer="Ada", details={"file": "a.edl", "format": "edl"})
    assert done.action is ReviewAction.IMPORT_CUTS
    pending, approved = ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED
    after = [(0, 20, approved), (20, 30, pending), (30, 40, pending), (40, 55, pending), (55, 100, pending)]
    assert ranges(database, video) == after
    live = ClipStore(database).load_live(video)
    assert [clip.start_time_seconds for clip in live] == [0.0, 0.8, 1.2, 1.6, 2.2]
    kinds = [clip.transition for clip in live]
    assert kinds[2:] == [Transition(CutKind.HAND), Transition(CutKind.DISSOLVE, 35, 44), Transition(CutKind.HAND)]
    (entry,) = reviews.history(source_video_id=video, actions=[ReviewAction.IMPORT_CUTS])
    assert (entry.reviewer, dict(entry.details)) == ("Ada", {"file": "a.edl", "format": "edl"})
    reviews.undo("Ada", source_video_id=video)
    assert ranges(database, video) == before
    assert ClipStore(database).load_live(video)[2].transition == Transition(CutKind.DISSOLVE, 35, 44)
    reviews.redo("Ada", source_video_id=video)
    assert ranges(database, video) == after


def test_the_same_cuts_change_nothing(database: Database, some_clips: SomeClips) -> None:
    first, *_ = some_clips(20, 40)
    done = import_cuts(database, first.source_video_id, [40, 20], frame_times=times, reviewer="Ada")
    assert (done.action_id, done.clips) == (None, ())


def test_nobodys_decision_is_overruled_unseen(database: Database, some_clips: SomeClips, reviews: ReviewStore) -> None:
    first, second, _ = some_clips(20, 40)
    video = first.source_video_id
    reviews.skip(second.id, reviewer="Kai")
    before = ranges(database, video)
    with pytest.raises(PermanentError, match=rf"1 clip with a decision would be replaced, the first clip id:{second.id} by Kai"):
        import_cuts(database, video, [20, 30, 40], frame_times=times, reviewer="Ada")
    assert ranges(database, video) == before
    import_cuts(database, video, [20, 30, 40], frame_times=times, reviewer="Ada", force=True)
    assert [state for *_, state in ranges(database, video)] == [ClipState.PENDING_REVIEW] * 4
    reviews.undo("Ada", source_video_id=video)
    assert ranges(database, video) == before


def test_no_cuts_at_all_make_one_clip(database: Database, some_clips: SomeClips) -> None:
    first, *_ = some_clips(20, 40)
    import_cuts(database, first.source_video_id, [], frame_times=times, reviewer="Ada")
    assert ranges(database, first.source_video_id) == [(0, 100, ClipState.PENDING_REVIEW)]


def test_cuts_outside_the_source_video_are_refused(database: Database, some_clips: SomeClips) -> None:
    first, *_ = some_clips(20, 40)
    with pytest.raises(CutError, match=r"frames 1\.\.99, not 101"):
        import_cuts(database, first.source_video_id, [101], frame_times=times, reviewer="Ada")
    with pytest.raises(NotFoundError):
        import_cuts(database, 987_654, [5], frame_times=times, reviewer="Ada")


def test_a_cut_that_somebody_made_meanwhile_is_kept_where_cuts_are_kept(
    database: Database, some_clips: SomeClips, reviews: ReviewStore
) -> None:
    """What a list changes is said before; then somebody else cuts, and then it comes in."""
    first, *_ = some_clips(20, 40)
    video = first.source_video_id
    reviews.add_cut_point(video, 70, reviewer="Kai")
    import_cuts(database, video, [30], frame_times=times, reviewer="Ada", keep=True)
    assert [start for start, *_ in ranges(database, video)] == [0, 20, 30, 40, 70]
    import_cuts(database, video, [30], frame_times=times, reviewer="Ada")
    assert [start for start, *_ in ranges(database, video)] == [0, 30]
