"""Source videos in Postgres: states, facts, duplicates, tries."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import IllegalTransitionError, NotFoundError, PermanentError
from heaters_dagster.domain.stages import MAX_ATTEMPTS
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.transitions import SOURCE_VIDEO_RETRY
from resources.postgres.database import Database
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from tests.conftest import ASourceVideo

S = SourceVideoState
HASH = "a" * 64


@pytest.fixture
def videos(database: Database) -> SourceVideoStore:
    return SourceVideoStore(database)


def test_a_submission_begins_as_new_with_nothing_known(videos: SourceVideoStore) -> None:
    video = videos.add("/videos/holiday.mp4", "Holiday")
    assert (video.source, video.title, video.state) == ("/videos/holiday.mp4", "Holiday", S.NEW)
    assert (video.error, video.attempts, video.warnings, video.frame_count) == (None, 0, (), None)
    assert videos.load(video.id) == video


def test_what_is_not_there_is_said_not_to_be_there(videos: SourceVideoStore) -> None:
    with pytest.raises(NotFoundError, match="there is no source video 7; heaters status lists"):
        videos.load(7)
    with pytest.raises(NotFoundError):
        videos.set_state(7, S.DOWNLOADING)


def test_facts_are_written_and_read_as_they_were(videos: SourceVideoStore) -> None:
    video = videos.add("x", "x")
    probe = {"container": "mp4", "streams": [{"codec": "h264", "frame_rate": [30000, 1001]}]}
    written = videos.update(video.id, probe=probe, original_bytes=2**40, duration_seconds=1.5, title="Größer")
    assert written == videos.load(video.id)
    assert (written.probe, written.original_bytes, written.duration_seconds, written.title) == (probe, 2**40, 1.5, "Größer")
    assert written.updated_at > video.updated_at


@pytest.mark.parametrize("column", ["state", "id", "next_clip_sequence", "warnings", "duplicate_of_id", "colour"])
def test_only_facts_can_be_written_like_facts(videos: SourceVideoStore, column: str) -> None:
    video = videos.add("x", "x")
    with pytest.raises(TypeError, match=column):
        videos.update(video.id, **{column: 1})


class TestStates:
    def test_state_and_facts_change_together(self, videos: SourceVideoStore) -> None:
        video = videos.add("x", "x")
        videos.set_state(video.id, S.DOWNLOADING)
        done = videos.set_state(video.id, S.DOWNLOADED, original_filepath="originals/video_1.mp4", original_bytes=5)
        assert (done.state, done.original_filepath, done.original_bytes) == (S.DOWNLOADED, "originals/video_1.mp4", 5)

    def test_an_illegal_change_names_the_legal_ones_and_writes_nothing(self, videos: SourceVideoStore) -> None:
        video = videos.add("x", "x")
        with pytest.raises(IllegalTransitionError, match="cannot become preprocessed; legal: deleted, download_failed, downloading"):
            videos.set_state(video.id, S.PREPROCESSED, title="changed")
        assert videos.load(video.id) == video

    def test_a_state_that_is_not_the_expected_one_is_refused(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.DOWNLOADING)
        with pytest.raises(IllegalTransitionError, match="has the state downloading; this needs the state download_failed or new"):
            videos.set_state(video.id, S.DOWNLOADING, expected={S.NEW, S.DOWNLOAD_FAILED})

    @pytest.mark.parametrize("state", [S.DOWNLOADING, S.PREPROCESSING, S.DETECTING_SCENES])
    def test_work_that_was_killed_is_entered_again(
        self, videos: SourceVideoStore, a_source_video: ASourceVideo, state: SourceVideoState
    ) -> None:
        assert videos.set_state(a_source_video(state=state).id, state).state == state

    def test_only_one_of_many_wins_a_race_for_a_state(self, videos: SourceVideoStore) -> None:
        video = videos.add("x", "x")
        outcomes: list[str] = []

        def enter() -> None:
            try:
                videos.set_state(video.id, S.DOWNLOADING, expected={S.NEW})
                outcomes.append("won")
            except IllegalTransitionError:
                outcomes.append("lost")

        threads = [threading.Thread(target=enter) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["lost"] * 5 + ["won"]


class TestFailures:
    def test_a_failure_that_may_pass_counts_one_try(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.DOWNLOADING)
        for tries in range(1, MAX_ATTEMPTS + 2):
            failed = videos.record_failure(video.id, S.DOWNLOAD_FAILED, "time-out", transient=True)
            assert (failed.state, failed.error, failed.attempts) == (S.DOWNLOAD_FAILED, "time-out", min(tries, MAX_ATTEMPTS))
            again = videos.set_state(video.id, S.DOWNLOADING)
            assert (again.error, again.attempts) == (None, failed.attempts)

    def test_any_other_failure_uses_up_all_tries(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.PREPROCESSING)
        assert videos.record_failure(video.id, S.PREPROCESS_FAILED, "not a video", transient=False).attempts == MAX_ATTEMPTS

    def test_a_stage_that_ends_well_forgets_the_failed_tries(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.DOWNLOADING)
        videos.record_failure(video.id, S.DOWNLOAD_FAILED, "time-out", transient=True)
        videos.set_state(video.id, S.DOWNLOADING)
        done = videos.set_state(video.id, S.DOWNLOADED)
        assert (done.error, done.attempts) == (None, 0)

    def test_a_failure_of_a_stage_to_come_changes_nothing(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.DOWNLOADED)
        with pytest.raises(IllegalTransitionError):
            videos.record_failure(video.id, S.DETECT_SCENES_FAILED, "early", transient=True)
        assert videos.load(video.id) == video

    @pytest.mark.parametrize("state", [S.PREPROCESSED, S.DETECTING_SCENES, S.SCENES_DETECTED])
    def test_a_stage_that_is_past_leaves_its_reason_and_neither_state_nor_tries(
        self, videos: SourceVideoStore, a_source_video: ASourceVideo, state: S
    ) -> None:
        video = a_source_video(state=state)
        told = videos.record_failure(video.id, S.DOWNLOAD_FAILED, "late", transient=True)
        assert (told.state, told.attempts, told.error) == (state, video.attempts, "late")
        assert told.state_changed_at == video.state_changed_at

    @pytest.mark.parametrize(("failed", "before"), SOURCE_VIDEO_RETRY.items())
    def test_retry_goes_back_before_the_stage_with_all_tries(
        self, videos: SourceVideoStore, a_source_video: ASourceVideo, failed: SourceVideoState, before: SourceVideoState
    ) -> None:
        again = videos.retry(a_source_video(state=failed).id)
        assert (again.state, again.error, again.attempts) == (before, None, 0)

    def test_there_is_nothing_to_retry_when_nothing_failed(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=S.DOWNLOADED)
        with pytest.raises(IllegalTransitionError, match=r"has not failed \(its state: downloaded\), so there is nothing to retry"):
            videos.retry(video.id)


def test_a_warning_is_kept_once_and_in_order(videos: SourceVideoStore) -> None:
    video = videos.add("x", "x")
    for warning in ("no sound", "odd size", "no sound"):
        videos.add_warning(video.id, warning)
    assert videos.load(video.id).warnings == ("no sound", "odd size")


def test_warnings_written_at_the_same_time_are_all_kept(videos: SourceVideoStore) -> None:
    video = videos.add("x", "x")
    threads = [threading.Thread(target=videos.add_warning, args=(video.id, f"warning {n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(videos.load(video.id).warnings) == {f"warning {n}" for n in range(8)}


class TestDuplicates:
    def test_the_first_to_be_downloaded_holds_the_bytes(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        first, second = a_source_video(state=S.DOWNLOADING), a_source_video(state=S.DOWNLOADING)
        done = videos.finish_download(first.id, HASH, original_filepath="originals/first.mp4")
        assert (done.state, done.content_sha256, done.original_filepath) == (S.DOWNLOADED, HASH, "originals/first.mp4")
        duplicate = videos.finish_download(second.id, HASH, original_filepath="originals/second.mp4")
        assert (duplicate.state, duplicate.duplicate_of_id, duplicate.original_filepath) == (S.DOWNLOADING, first.id, None)
        assert duplicate.warnings == (), "its error says it, once"
        assert videos.find_by_hash(HASH) == done

    def test_a_duplicate_is_found_as_often_as_one_likes(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        first, second = a_source_video(state=S.DOWNLOADING), a_source_video(state=S.DOWNLOADING)
        videos.finish_download(first.id, HASH)
        for _ in range(2):
            assert videos.finish_download(second.id, HASH).duplicate_of_id == first.id
        assert videos.load(second.id).warnings == ()

    def test_of_many_at_once_one_holds_the_bytes(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        ids = [a_source_video(state=S.DOWNLOADING).id for _ in range(4)]
        threads = [threading.Thread(target=videos.finish_download, args=(number, HASH)) for number in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holder = videos.find_by_hash(HASH)
        assert holder is not None
        assert [video.duplicate_of_id for video in videos.load_all() if video.id != holder.id] == [holder.id] * 3

    def test_unknown_bytes_are_held_by_nobody(self, videos: SourceVideoStore) -> None:
        assert videos.find_by_hash(HASH) is None

    def test_a_duplicate_goes_no_further(self, videos: SourceVideoStore, a_source_video: ASourceVideo) -> None:
        first, second = a_source_video(), a_source_video(state=S.DOWNLOADED)
        assert videos.mark_duplicate(second.id, first.id).duplicate_of_id == first.id
        with pytest.raises(PermanentError, match=f"holds the same bytes as source video {first.id}: use that one"):
            videos.set_state(second.id, S.PREPROCESSING)


class TestListing:
    def test_all_in_order(self, videos: SourceVideoStore) -> None:
        ids = [videos.add(f"/{n}", f"{n}").id for n in range(3)]
        assert [video.id for video in videos.load_all()] == ids

    def test_by_state(self, videos: SourceVideoStore, database: Database, a_source_video: ASourceVideo) -> None:
        new, failed = a_source_video(), a_source_video(state=S.DOWNLOAD_FAILED)
        assert [video.id for video in videos.load_all(states=[S.DOWNLOAD_FAILED])] == [failed.id]
        assert [video.id for video in videos.load_all(states={S.NEW, S.DOWNLOAD_FAILED})] == [new.id, failed.id]
        videos.mark_duplicate(a_source_video(state=S.DOWNLOAD_FAILED).id, new.id)
        counts = SourceVideoLists(database).counts()
        assert (counts.by_state, counts.duplicates, counts.total) == ({S.NEW: 1, S.DOWNLOAD_FAILED: 1}, 1, 3)
        assert counts.words.endswith(", 1 the same as another one")

    @pytest.mark.parametrize(
        ("text", "titles"),
        [("holiday", ["Holiday 100%"]), ("100%", ["Holiday 100%"]), ("%", ["Holiday 100%"]), ("_", ["a_b"]), ("ÉTÉ", ["été"]), ("\\", [])],
    )
    def test_by_text_as_it_stands_in_any_case(self, videos: SourceVideoStore, text: str, titles: list[str]) -> None:
        for title in ("Holiday 100%", "a_b", "été"):
            videos.add("/x", title)
        assert [video.title for video in videos.load_all(text=text)] == titles

    def test_by_source(self, videos: SourceVideoStore, tmp_path: Path) -> None:
        videos.add(str(tmp_path / "clip.mp4"), "x")
        assert len(videos.load_all(text="CLIP.mp4")) == 1

    def test_page_by_page(self, videos: SourceVideoStore) -> None:
        ids = [videos.add("x", "x").id for _ in range(5)]
        first = videos.load_all(limit=2)
        second = videos.load_all(limit=2, after_id=first[-1].id)
        third = videos.load_all(limit=2, after_id=second[-1].id)
        assert [video.id for video in (*first, *second, *third)] == ids
