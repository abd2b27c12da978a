"""What the pages change, on real Postgres: done or not, and said in words either way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from review_app.service import actions
from review_app.service.links import Session, open_links
from review_app.service.review_desk import ReviewDesk
from tests.conftest import ASourceVideo, SomeClips
from tests.media_files import make_video


@pytest.fixture
def desk(settings: Settings, database: Database, object_store: ObjectStore) -> ReviewDesk:
    return ReviewDesk(settings=settings, database=database, objects=object_store, links=open_links(settings))


def session(desk: ReviewDesk, name: str = "Ada") -> Session:
    reviewer = ReviewerStore(desk.database).named(name)
    return Session(reviewer.id, reviewer.name)


def test_the_newest_decision_is_taken_back_and_done_again(desk: ReviewDesk, some_clips: SomeClips) -> None:
    clip = some_clips(30)[0]
    desk.reviews.approve(clip.id, reviewer="Ada")
    assert actions.undo(desk, session(desk), seen=0) == actions.Outcome(True, "Taken back: 1 clip as before.")
    assert actions.undo(desk, session(desk), seen=0).ok, "the second of a double click"
    assert desk.clips.load(clip.id).state is ClipState.PENDING_REVIEW
    assert actions.redo(desk, session(desk), seen=2) == actions.Outcome(True, "Done again: 1 clip changed.")
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
    assert actions.retry(desk, video.id) == actions.Outcome(True, "Holiday gets another try: waiting to be fetched.")
    assert actions.retry(desk, video.id) == actions.Outcome(True, "Nothing has failed for this source video.")
    clips = some_clips(30, state=ClipState.EXPORT_FAILED)
    outcome = actions.retry(desk, clips[0].source_video_id)
    assert outcome.told == "Clip 1 gets another try. Clip 2 gets another try."
    assert {desk.clips.load(clip.id).state for clip in clips} == {ClipState.REVIEW_APPROVED}


def test_a_video_that_is_not_there_is_said_to_be_so(desk: ReviewDesk) -> None:
    assert actions.retry(desk, 99) == actions.Outcome(False, actions.retry(desk, 99).told)
    assert "99" in actions.retry(desk, 99).told


def test_files_are_submitted_one_a_line(desk: ReviewDesk, tmp_path: Path) -> None:
    paths = [make_video(tmp_path / f"{frames}.mp4", frames=frames, audio=False) for frames in (4, 5)]
    outcome = actions.submit_sources(desk, f"{paths[0]}\n\n  {paths[1]}  \n")
    assert outcome.ok, outcome.told
    assert sorted(video.source for video in desk.videos.load_all()) == [str(path) for path in paths]


def test_beyond_this_machine_no_path_of_the_server_can_be_submitted_unless_its_folder_is_named(desk: ReviewDesk, tmp_path: Path) -> None:
    path = make_video(tmp_path / "holiday.mp4", frames=4, audio=False)
    for named, ok in (((), False), ((str(tmp_path),), True)):
        desk.settings = replace(desk.settings, review_host="0.0.0.0", submit_folders=named)
        outcome = actions.submit_sources(desk, str(path))
        assert outcome.ok is ok
        assert len(desk.videos.load_all()) == int(ok)
    for source in (f"{tmp_path}/gone.mp4", "/etc/passwd", "s3://bucket/key.mp4"):
        outcome = actions.submit_sources(desk, source)
        assert "cannot be submitted from the browser" in outcome.refused


@pytest.mark.parametrize("text", ["", "  \n ", "file:///etc/passwd", "http://127.0.0.1/x.mp4", "relative.mp4", "ftp://example.org/x"])
def test_what_cannot_be_a_source_is_refused_in_words(desk: ReviewDesk, text: str) -> None:
    outcome = actions.submit_sources(desk, text)
    assert not outcome.ok
    assert outcome.refused
    assert not outcome.told
    assert desk.videos.load_all() == []


def test_what_was_submitted_and_what_was_refused_are_told_apart(desk: ReviewDesk, tmp_path: Path) -> None:
    path = make_video(tmp_path / "holiday.mp4", frames=4, audio=False)
    outcome = actions.submit_sources(desk, f"{path}\nftp://example.org/x")
    assert not outcome.ok
    assert "holiday" in outcome.told
    assert "ftp" in outcome.refused
    assert "holiday" not in outcome.refused


def test_a_source_video_gets_another_title_and_is_deleted_once_its_title_is_typed(desk: ReviewDesk, some_clips: SomeClips) -> None:
    ada, (clip, _) = session(desk), some_clips(30)
    source_video_id = clip.source_video_id
    assert actions.rename(desk, ada, source_video_id, "Harbour").ok
    assert not actions.delete(desk, ada, source_video_id, "Holiday").ok
    assert len(desk.clips.load_live(source_video_id)) == 2
    outcome = actions.delete(desk, ada, source_video_id, "Harbour")
    assert outcome == actions.Outcome(True, "Deleted Harbour: 2 clips, 0 files. Its history stays.")
    assert [(entry.reviewer, str(entry.action)) for entry in desk.reviews.history(source_video_id=source_video_id)] == [
        ("Ada", "delete"),
        ("Ada", "rename"),
    ]
