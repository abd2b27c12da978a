"""Several exports of one clip: beside one another, with keys of their own, made once, and gone when the clip is not what it was."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from heaters_dagster.domain.due import RunWanted, wanted_runs
from heaters_dagster.domain.errors import IllegalTransitionError, UnknownNameError
from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.keys import final_clip_key
from heaters_dagster.domain.stages import EXPORTS, MAX_ATTEMPTS, Job
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.registries import EXPORT_PROFILES
from resources.object_store.local import LocalObjectStore
from resources.postgres.backlog import load_backlog
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.export_store import ExportStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.source_video_removal import delete_source_video
from tests.conftest import SomeClips
from tests.pipeline_rows import cut_video, reviews

C, S = ClipState, ExportState
HAVE_A_FILE = sorted(APPROVED_STATES - {C.REVIEW_APPROVED, C.EXPORTING, C.EXPORT_FAILED})


@pytest.fixture
def store(database: Database) -> ExportStore:
    return ExportStore(database)


@pytest.fixture
def clips(database: Database) -> ClipStore:
    return ClipStore(database)


def states(store: ExportStore, clip: Clip) -> dict[str, tuple[str, str | None]]:
    """Profile -> (state, key)."""
    return {one.profile: (one.state.value, one.key) for one in store.of_clips([clip.id])[clip.id]}


def key_of(clip: Clip, profile: str = "stream_copy") -> str:
    return final_clip_key(clip.source_video_id, clip.sequence, profile)


def make(store: ExportStore, clip: Clip, profile: str = "delivery", *, byte_size: int = 5) -> str:
    """What a run does to a further export that is due; its key."""
    key = store.key_for(clip, EXPORT_PROFILES.load(profile))
    claimed = store.claim(clip.id, profile, key)
    assert claimed is not None
    assert store.finish(clip.id, profile, claimed.cut_point_version, MadeObject(key, byte_size, {"profile": profile}))
    return key


def make_first(database: Database, clip: Clip) -> Clip:
    clips = ClipStore(database)
    now = clips.load(clip.id)
    key = ExportStore(database).key_for(now, EXPORT_PROFILES.load(now.export_profile))
    claimed = clips.claim(clip.id, EXPORTS, [key])
    assert claimed is not None
    assert clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 9, {"profile": now.export_profile})])
    return clips.load(clip.id)


def artifact_states(database: Database) -> dict[str, str]:
    with database.read() as connection:
        query = text("select key, state from clip_artifacts where kind = 'export'")
        return {row.key: row.state for row in connection.execute(query)}


def export_runs(database: Database) -> list[RunWanted]:
    return [run for run in wanted_runs(load_video_facts(database), set()) if run.job is Job.EXPORT]


@pytest.mark.parametrize("state", HAVE_A_FILE)
def test_a_further_export_changes_nothing_of_the_clip_and_takes_nothing_away(
    database: Database, store: ExportStore, some_clips: SomeClips, state: ClipState
) -> None:
    clip = some_clips(state=state)[0]
    assert store.request(clip.id, "delivery") == clip
    assert [(due.id, profile) for due, profile in store.due(clip.source_video_id)] == [(clip.id, "delivery")]
    assert [run.assets for run in export_runs(database)] == [("exports",)]
    key = make(store, clip)
    assert ClipStore(database).load(clip.id) == clip
    assert states(store, clip) == {"stream_copy": ("done", key_of(clip)), "delivery": ("done", key_of(clip, "delivery"))}
    assert artifact_states(database) == {clip.clip_filepath: "live", key: "live"}
    assert store.due(clip.source_video_id) == []
    assert export_runs(database) == []
    (made,) = [one for one in store.of_clips([clip.id])[clip.id] if one.profile == "delivery"]
    assert (made.byte_size, made.manifest, made.version) == (5, {"profile": "delivery"}, clip.cut_point_version)


@pytest.mark.parametrize("state", [C.REVIEW_APPROVED, C.EXPORTING])
def test_one_asked_for_before_the_first_file_is_made_after_it(
    database: Database, store: ExportStore, some_clips: SomeClips, state: ClipState
) -> None:
    clip = some_clips(state=state)[0]
    asked = store.request(clip.id, "delivery")
    assert (asked.state, asked.export_profile, asked.cut_point_version) == (state, "stream_copy", clip.cut_point_version)
    assert (states(store, clip), store.due(clip.source_video_id)) == ({"delivery": ("asked", None)}, [])
    assert store.claim(clip.id, "delivery", key_of(clip, "delivery")) is None
    make_first(database, clip)
    assert [profile for _, profile in store.due(clip.source_video_id)] == ["delivery"]
    make(store, clip)
    assert set(artifact_states(database).values()) == {"live"}


def test_instead_of_a_first_export_that_failed_another_one_is_made_and_that_one_after_it(
    database: Database, store: ExportStore, clips: ClipStore, some_clips: SomeClips
) -> None:
    clip = some_clips(state=C.EXPORT_FAILED)[0]
    asked = store.request(clip.id, "delivery")
    assert (asked.state, asked.export_profile, asked.cut_point_version) == (C.REVIEW_APPROVED, "delivery", clip.cut_point_version + 1)
    assert [due.id for due in clips.due(EXPORTS)] == [clip.id]
    done = make_first(database, clip)
    assert (done.clip_filepath, done.state) == (key_of(clip, "delivery"), C.EXPORTED)
    assert states(store, clip) == {"delivery": ("done", key_of(clip, "delivery")), "stream_copy": ("waiting", None)}
    make(store, done, "stream_copy")
    assert states(store, clip)["stream_copy"] == ("done", key_of(clip))


def test_what_waits_for_the_gold_master_does_not_hold_up_a_file_for_now(database: Database, store: ExportStore, clips: ClipStore) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    reviews(database).approve(clip.id, reviewer="ada", export_profile="gold_master")
    assert [one.id for one in clips.waiting_for_gold_master()] == [clip.id]
    assert store.request(clip.id, "stream_copy").export_profile == "stream_copy"
    done = make_first(database, clip)
    assert states(store, clip)["gold_master"] == ("waiting", None)
    assert (store.due(clip.source_video_id), export_runs(database)) == ([], [])
    assert (clips.waiting_for_gold_master([clip.id]), clips.count_waiting_for_gold_master()) == ([done], {clip.source_video_id: 1})
    assert [video.exports_waiting_for_master for video in load_video_facts(database)] == [1]
    SourceVideoStore(database).update(clip.source_video_id, gold_master_filepath="gold_masters/video_1_master.mkv")
    assert [profile for _, profile in store.due(clip.source_video_id)] == ["gold_master"]
    assert len(export_runs(database)) == 1
    assert clips.count_waiting_for_gold_master() == {}


def test_only_an_approved_clip_and_a_profile_that_is_there(store: ExportStore, some_clips: SomeClips) -> None:
    clip = some_clips()[0]
    with pytest.raises(IllegalTransitionError, match="so it is not exported; approve it first"):
        store.request(clip.id, "delivery")
    with pytest.raises(UnknownNameError, match="'tape' is not an export profile; write one of: delivery, gold_master, stream_copy"):
        store.request(clip.id, "tape")


def test_no_two_profiles_of_a_clip_have_the_same_key_not_even_with_files_of_before(
    database: Database, store: ExportStore, clips: ClipStore, some_clips: SomeClips
) -> None:
    """Until clips had several exports, a delivery file had the key that `stream_copy` has."""
    clip = some_clips(state=C.REVIEW_APPROVED)[0]
    with database.begin() as connection:
        connection.execute(text("update clips set export_profile = 'delivery'"))
    assert clips.claim(clip.id, EXPORTS, [key_of(clip)])
    assert clips.finish(clip.id, EXPORTS, clip.cut_point_version, [MadeObject(key_of(clip), 1, {"profile": "delivery"})])
    clip = store.request(clip.id, "stream_copy")
    assert make(store, clip, "stream_copy") == f"final_clips/video_{clip.source_video_id}_clip_001_stream_copy.mp4"
    assert states(store, clip)["delivery"] == ("done", key_of(clip))
    # Made again, each stays where it is.
    store.request(clip.id, "delivery")
    assert make_first(database, clip).clip_filepath == key_of(clip)
    store.request(clip.id, "stream_copy")
    assert make(store, clip, "stream_copy", byte_size=6).endswith("_stream_copy.mp4")
    assert set(artifact_states(database).values()) == {"live"}


@pytest.mark.parametrize("decision", ["skip", "archive", "move"])
def test_all_files_go_when_the_clip_is_no_longer_what_they_show_and_come_again_when_it_is_approved(
    database: Database, store: ExportStore, clips: ClipStore, decision: str
) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve(clip.id, reviewer="ada")
    make_first(database, clip)
    store.request(clip.id, "delivery")
    make(store, clip)
    if decision == "move":
        reviews(database).move_cut_point(clip.source_video_id, 30, 20, reviewer="ada")
    else:
        getattr(reviews(database), decision)(clip.id, reviewer="ada")
    assert (states(store, clip), store.due(clip.source_video_id)) == ({"delivery": ("asked", None)}, [])
    assert sorted(clips.clean_up(clip.id, lambda key: True)) == [key_of(clip), key_of(clip, "delivery")]
    reviews(database).undo("ada")
    done = make_first(database, clip)
    assert (done.end_frame, states(store, clip)["delivery"]) == (30, ("waiting", None))
    make(store, done)
    assert set(artifact_states(database).values()) == {"live"}


def test_a_decision_made_while_one_is_written_stands_and_its_file_goes(database: Database, store: ExportStore, clips: ClipStore) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve(clip.id, reviewer="ada")
    make_first(database, clip)
    store.request(clip.id, "delivery")
    key = key_of(clip, "delivery")
    claimed = store.claim(clip.id, "delivery", key)
    assert claimed is not None
    reviews(database).archive(clip.id, reviewer="bob")
    assert not store.finish(clip.id, "delivery", claimed.cut_point_version, MadeObject(key, 5, {}))
    assert set(artifact_states(database).values()) == {"obsolete"}
    assert not store.fail(clip.id, "delivery", "late", transient=True, expected_version=claimed.cut_point_version)


class TestKilledAndFailed:
    @pytest.fixture
    def clip(self, store: ExportStore, some_clips: SomeClips) -> Clip:
        """With a file, and a further export that was begun."""
        clip = some_clips(state=C.EMBEDDED)[0]
        store.request(clip.id, "delivery")
        assert store.claim(clip.id, "delivery", key_of(clip, "delivery"))
        return clip

    def nothing_goes(self, clips: ClipStore, clip: Clip) -> bool:
        return clips.obsolete_artifacts() == [] and clips.clean_up(clip.id, lambda key: pytest.fail(f"deleted {key}")) == []

    def test_what_was_killed_is_due_and_its_half_written_file_is_left_to_it(self, store: ExportStore, clips: ClipStore, clip: Clip) -> None:
        assert self.nothing_goes(clips, clip)
        assert store.begun(clip.source_video_id) == [(clip.id, "delivery")]
        assert [profile for _, profile in store.due(clip.source_video_id)] == ["delivery"]
        make(store, clip)
        assert self.nothing_goes(clips, clip)

    def test_what_was_killed_on_a_clip_that_was_archived_since_goes(
        self, database: Database, store: ExportStore, clips: ClipStore, clip: Clip
    ) -> None:
        reviews(database).archive(clip.id, reviewer="ada")
        assert key_of(clip, "delivery") in clips.clean_up(clip.id, lambda key: True)

    def test_a_failure_is_its_own_and_a_retry_takes_it_up_again(
        self, database: Database, store: ExportStore, clips: ClipStore, clip: Clip
    ) -> None:
        assert store.fail(clip.id, "delivery", "the disk is full", transient=True)
        assert [profile for _, profile in store.due(clip.source_video_id)] == ["delivery"]
        assert export_runs(database) == [], "it waits a little before it is tried again"
        for _ in range(MAX_ATTEMPTS):
            store.fail(clip.id, "delivery", "the disk is full", transient=True)
        assert store.due(clip.source_video_id) == []
        assert clips.load(clip.id) == clip
        (failed,) = [one for one in store.of_clips([clip.id])[clip.id] if one.profile == "delivery"]
        assert (failed.state, failed.attempts, failed.error, failed.key) == (S.FAILED, MAX_ATTEMPTS, "the disk is full", None)
        assert [(group.what, group.words, group.count) for group in load_backlog(database) if group.failed] == [
            ("further exports", "export failed", 1)
        ]
        assert [one.id for one in clips.failed(clip.source_video_id)] == [clip.id]
        assert clips.retry(clip.id).state == C.EMBEDDED
        assert clips.failed(clip.source_video_id) == []
        make(store, clip)

    def test_the_file_that_is_made_anew_serves_until_then_also_when_that_fails(
        self, database: Database, store: ExportStore, clips: ClipStore, clip: Clip
    ) -> None:
        key = make(store, clip)
        store.request(clip.id, "delivery")
        assert store.claim(clip.id, "delivery", key)
        assert self.nothing_goes(clips, clip)
        store.fail(clip.id, "delivery", "the disk is full", transient=False)
        (kept,) = [one for one in store.of_clips([clip.id])[clip.id] if one.profile == "delivery"]
        assert (kept.has_file, kept.key, kept.byte_size) == (True, key, 5)
        assert artifact_states(database)[key] == "live"
        assert self.nothing_goes(clips, clip)

    def test_the_first_file_made_again_leaves_the_others_alone(
        self, database: Database, store: ExportStore, clips: ClipStore, clip: Clip
    ) -> None:
        make(store, clip)
        store.request(clip.id, "stream_copy")
        make_first(database, clip)
        assert artifact_states(database) == {key_of(clip): "live", key_of(clip, "delivery"): "live"}
        assert states(store, clip)["delivery"][0] == "done"


@pytest.mark.folder
def test_with_the_source_video_all_go(
    database: Database, store: ExportStore, object_store: LocalObjectStore, some_clips: SomeClips
) -> None:
    clip = some_clips(state=C.EXPORTED)[0]
    store.request(clip.id, "delivery")
    for key in (str(clip.clip_filepath), make(store, clip)):
        object_store.put_bytes(key, b"clip")
    deleted = delete_source_video(clip.source_video_id, reviewer="ada", database=database, objects=object_store)
    assert set(deleted.objects) >= {key_of(clip), key_of(clip, "delivery")}
    assert set(artifact_states(database).values()) == {"deleted"}


def test_a_request_wakes_those_who_wait_for_work(database: Database, store: ExportStore, some_clips: SomeClips) -> None:
    clip = some_clips(state=C.EXPORTED)[0]
    with database.engine.connect() as listening:
        raw = listening.connection.driver_connection
        assert raw is not None
        listening.exec_driver_sql("listen heaters")
        listening.commit()
        store.request(clip.id, "delivery")
        assert [told.payload for told in raw.notifies(timeout=5, stop_after=1)] == ["rows"]
