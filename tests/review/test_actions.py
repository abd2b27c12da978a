"""What the pages change, on real Postgres: done or not, and said in words either way."""

from __future__ import annotations

from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.postgres.reviewer_store import ReviewerStore
from review_app.service import actions
from review_app.service.links import Session
from review_app.service.outcome import Outcome
from review_app.service.review_desk import ReviewDesk
from tests.conftest import ASourceVideo, SomeClips


def session(desk: ReviewDesk, name: str = "Ada") -> Session:
    reviewer = ReviewerStore(desk.database).named(name)
    return Session(reviewer.id, reviewer.name)


def test_the_newest_decision_is_taken_back_and_done_again(desk: ReviewDesk, some_clips: SomeClips) -> None:
    clip = some_clips(30)[0]
    desk.reviews.approve(clip.id, reviewer="Ada")
    assert actions.undo(desk, session(desk), seen=0) == Outcome(True, "Taken back: 1 clip as before.")
    assert actions.undo(desk, session(desk), seen=0).ok, "the second of a double click"
    assert desk.clips.load(clip.id).state is ClipState.PENDING_REVIEW
    assert actions.redo(desk, session(desk), seen=2) == Outcome(True, "Done again: 1 clip changed.")
    assert desk.clips.load(clip.id).state is ClipState.REVIEW_APPROVED


def test_nobody_takes_back_what_a_colleague_decided(desk: ReviewDesk, some_clips: SomeClips) -> None:
    clip = some_clips()[0]
    done = desk.reviews.approve(clip.id, reviewer="Bob")
    for outcome in (actions.undo(desk, session(desk), seen=0), actions.undo(desk, session(desk), done.action_id, seen=0)):
        assert not outcome.ok
        assert outcome.told
    assert desk.clips.load(clip.id).state is ClipState.REVIEW_APPROVED


def test_what_has_failed_gets_another_try(desk: ReviewDesk, a_source_video: ASourceVideo, some_clips: SomeClips) -> None:
    video = a_source_video(state=SourceVideoState.DOWNLOAD_FAILED)
    assert actions.retry(desk, video.id) == Outcome(True, "Holiday gets another try: waiting to be fetched.")
    assert actions.retry(desk, video.id) == Outcome(True, "Nothing has failed for this source video.")
    clips = some_clips(30, state=ClipState.EXPORT_FAILED)
    outcome = actions.retry(desk, clips[0].source_video_id)
    assert outcome.told == "Clip 1 gets another try. Clip 2 gets another try."
    assert {desk.clips.load(clip.id).state for clip in clips} == {ClipState.REVIEW_APPROVED}


def test_a_video_that_is_not_there_is_said_to_be_so(desk: ReviewDesk) -> None:
    assert actions.retry(desk, 99) == Outcome(False, actions.retry(desk, 99).told)
    assert "99" in actions.retry(desk, 99).told


def test_a_source_video_gets_another_title_and_is_deleted_once_its_title_is_typed(desk: ReviewDesk, some_clips: SomeClips) -> None:
    ada, (clip, _) = session(desk), some_clips(30)
    source_video_id = clip.source_video_id
    assert actions.rename(desk, ada, source_video_id, "Harbour").ok
    assert not actions.delete(desk, ada, source_video_id, "Holiday").ok
    assert len(desk.clips.load_live(source_video_id)) == 2
    outcome = actions.delete(desk, ada, source_video_id, "Harbour")
    assert outcome == Outcome(True, "Deleted Harbour: 2 clips, 0 files. Its history stays.")
    assert [(entry.reviewer, str(entry.action)) for entry in desk.reviews.history(source_video_id=source_video_id)] == [
        ("Ada", "delete"),
        ("Ada", "rename"),
    ]
