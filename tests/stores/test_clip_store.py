"""Clips in Postgres: cuts, stages that claim and finish, decisions that come in between, and files that never get lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import text

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.errors import CutError, IllegalTransitionError, NotFoundError, PermanentError, StaleClipError
from heaters_dagster.domain.keys import final_clip_key, keyframe_key
from heaters_dagster.domain.stages import EMBEDDINGS, EXPORTS, KEYFRAMES, MAX_ATTEMPTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_RETRY, CLIP_TRANSITIONS
from resources.postgres.clip_files import VIRTUAL, forget_files
from resources.postgres.clip_store import Clip, ClipStage, ClipStore, MadeObject, NewClip
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import clips as clip_table
from tests.conftest import ASourceVideo, SomeClips
from tests.pipeline_rows import reviews

C = ClipState


@pytest.fixture
def store(database: Database) -> ClipStore:
    return ClipStore(database)


@pytest.fixture
def decide(database: Database) -> Callable[[Clip, ClipState], None]:
    """What a reviewer's decision does to a clip, in one transaction."""

    def change(clip: Clip, state: ClipState) -> None:
        with database.begin() as connection:
            connection.execute(text("select from clips where id = :id for no key update"), {"id": clip.id})
            forget_files(connection, [clip.id])
            values = {**VIRTUAL, "state": state.value, "cut_point_version": clip_table.c.cut_point_version + 1}
            connection.execute(clip_table.update().where(clip_table.c.id == clip.id).values(**values))

    return change


def new_clips(*edges: int, confidence: float | None = None) -> list[NewClip]:
    return [
        NewClip(start_frame=start, end_frame=end, start_time_seconds=start / 25, end_time_seconds=end / 25, confidence=confidence)
        for start, end in pairwise(edges)
    ]


def ranges(clips: list[Clip]) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in clips]


def export_key(clip: Clip) -> str:
    return final_clip_key(clip.source_video_id, clip.sequence)


def artifact_states(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.key: row.state for row in connection.execute(text("select key, state from clip_artifacts"))}


class TestCutting:
    def test_the_clips_and_the_state_of_the_video_come_together(
        self, database: Database, store: ClipStore, a_source_video: ASourceVideo
    ) -> None:
        video = a_source_video(state=SourceVideoState.DETECTING_SCENES)
        made = store.replace_cuts(video.id, new_clips(0, 30, 100, confidence=0.25), 100)
        assert ranges(made) == [(0, 30), (30, 100)]
        assert [(clip.sequence, clip.state, clip.confidence, clip.is_virtual) for clip in made] == [
            (1, C.PENDING_REVIEW, 0.25, True),
            (2, C.PENDING_REVIEW, 0.25, True),
        ]
        assert made == store.load_live(video.id)
        after = SourceVideoStore(database).load(video.id)
        assert (after.state, after.frame_count, after.next_clip_sequence) == (SourceVideoState.SCENES_DETECTED, 100, 3)

    @pytest.mark.parametrize(
        ("edges", "message"),
        [((0, 30, 99), "ends at frame 99;"), ((0, 101), "ends at frame 101"), ((1, 100), "must begin at frame 0"), ((), "ends at frame 0")],
    )
    def test_cuts_that_do_not_cover_the_video_are_refused(
        self, store: ClipStore, a_source_video: ASourceVideo, edges: tuple[int, ...], message: str
    ) -> None:
        video = a_source_video(state=SourceVideoState.DETECTING_SCENES)
        with pytest.raises(CutError, match=message):
            store.replace_cuts(video.id, new_clips(*edges), 100)

    def test_cuts_belong_to_the_stage_that_finds_them(self, store: ClipStore, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=SourceVideoState.PREPROCESSED)
        with pytest.raises(IllegalTransitionError):
            store.replace_cuts(video.id, new_clips(0, 100), 100)

    def test_cutting_again_retires_the_old_clips_and_never_reuses_a_sequence(
        self, database: Database, store: ClipStore, some_clips: SomeClips
    ) -> None:
        old = some_clips(30, 60)
        new = store.replace_cuts(old[0].source_video_id, new_clips(0, 50, 100), 100)
        assert [clip.sequence for clip in new] == [4, 5]
        retired = store.load_many([clip.id for clip in old])
        assert [(clip.is_live, clip.state) for clip in retired] == [(False, C.REVIEW_ARCHIVED)] * 3
        assert [clip.cut_point_version for clip in retired] == [2, 2, 2]

    def test_finding_the_same_cuts_again_changes_no_clip(self, store: ClipStore, some_clips: SomeClips) -> None:
        old = some_clips(30, state=C.REVIEW_APPROVED)
        again = store.replace_cuts(old[0].source_video_id, new_clips(0, 30, 100, confidence=0.5), 100)
        assert [(clip.id, clip.state, clip.cut_point_version) for clip in again] == [(clip.id, C.REVIEW_APPROVED, 1) for clip in old]
        assert [clip.confidence for clip in again] == [0.5, 0.5]

    def test_a_detection_tells_what_cuts_are_but_not_of_those_of_which_a_person_has_said_it(
        self, database: Database, store: ClipStore, some_clips: SomeClips
    ) -> None:
        video = some_clips(30, 60)[0].source_video_id
        by_hand, found = Transition(CutKind.WIPE, 25, 34), Transition(CutKind.DISSOLVE, 55, 64)
        edited = reviews(database).edit_cut(video, 30, by_hand, reviewer="ann")
        told = [replace(one, transition=found if one.start_frame == 60 else Transition(CutKind.HARD)) for one in new_clips(0, 30, 60, 100)]

        def kinds(new: list[NewClip]) -> list[Transition | None]:
            return [clip.transition for clip in store.replace_cuts(video, new, 100)]

        assert kinds(told) == [Transition(CutKind.END), by_hand, found]
        assert kinds(new_clips(0, 30, 60, 100)) == [Transition(CutKind.END), by_hand, found], "a detector that tells none takes none away"
        assert edited.action_id is not None
        reviews(database).undo("ann")
        assert kinds(told) == [Transition(CutKind.END), Transition(CutKind.HARD), found]

    def test_after_review_has_begun_only_force_cuts_again(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        assert not store.review_has_begun(clip.source_video_id)
        with database.begin() as connection:
            connection.execute(text("insert into reviewers (name) values ('Ann')"))
            connection.execute(
                text(
                    "insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after) "
                    "select id, :video, 'approve', '{1}', '{}', '{}' from reviewers"
                ),
                {"video": clip.source_video_id},
            )
        assert store.review_has_begun(clip.source_video_id)
        with pytest.raises(PermanentError, match="review of source video 1 has begun"):
            store.replace_cuts(clip.source_video_id, new_clips(0, 50, 100), 100)
        assert store.load_live(clip.source_video_id) == [clip]
        store.replace_cuts(clip.source_video_id, new_clips(0, 50, 100), 100, forced_by="Ann")
        assert (store.load(clip.id).is_virtual, store.load(clip.id).clip_filepath) == (True, None)
        assert artifact_states(database) == {export_key(clip): "obsolete"}


class TestReading:
    def test_a_clip_that_is_not_there(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        with pytest.raises(NotFoundError, match="there are no clips id:98 and id:99"):
            store.load_many([99, clip.id, 98][::-1])

    def test_many_in_the_order_asked_for(self, store: ClipStore, some_clips: SomeClips) -> None:
        ids = [clip.id for clip in some_clips(20, 40)]
        assert [clip.id for clip in store.load_many(ids[::-1])] == ids[::-1]

    def test_page_by_page_through_everything(self, store: ClipStore, some_clips: SomeClips) -> None:
        everything = [clip.id for _ in range(2) for clip in some_clips(*range(10, 100, 10))]
        found: list[Clip] = []
        while page := store.find(limit=7, after=found[-1].place if found else None):
            found += page
        assert [clip.id for clip in found] == everything

    def test_by_states_merged_in_order(self, store: ClipStore, some_clips: SomeClips) -> None:
        clips = some_clips(20, 40, 60, 80)
        for clip in (clips[3], clips[1]):
            store.advance(clip.id, C.REVIEW_APPROVED, C.PENDING_REVIEW)
        store.advance(clips[2].id, C.REVIEW_SKIPPED, C.PENDING_REVIEW)
        wanted = {C.REVIEW_APPROVED, C.REVIEW_SKIPPED}
        assert [clip.id for clip in store.find(states=wanted)] == [clip.id for clip in clips[1:4]]
        first = store.find(states=wanted, limit=2)
        assert [clip.id for clip in store.find(states=wanted, limit=2, after=first[-1].place)] == [clips[3].id]

    def test_by_source_video_and_text(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        one, other = some_clips(50), some_clips(50)
        SourceVideoStore(database).update(other[0].source_video_id, title="Mountains")
        assert [clip.id for clip in store.find(source_video_id=one[0].source_video_id)] == [clip.id for clip in one]
        assert [clip.id for clip in store.find(text="MOUNTAIN")] == [clip.id for clip in other]
        assert store.find(text="mountain", states=[C.EMBEDDED]) == []

    def test_retired_clips_are_not_listed(self, store: ClipStore, some_clips: SomeClips) -> None:
        source_video_id = some_clips(30)[0].source_video_id
        new = store.replace_cuts(source_video_id, new_clips(0, 100), 100)
        assert store.find() == store.load_live(source_video_id) == new
        assert store.counts_by_state() == {source_video_id: {C.PENDING_REVIEW: 1}}

    def test_counts(self, store: ClipStore, some_clips: SomeClips) -> None:
        one, other = some_clips(20, 40), some_clips(state=C.EXPORTED)
        store.advance(one[0].id, C.REVIEW_SKIPPED, C.PENDING_REVIEW)
        assert store.counts_by_state() == {
            one[0].source_video_id: {C.PENDING_REVIEW: 2, C.REVIEW_SKIPPED: 1},
            other[0].source_video_id: {C.EXPORTED: 1},
        }
        assert store.counts_by_state(other[0].source_video_id) == {other[0].source_video_id: {C.EXPORTED: 1}}


class TestDue:
    @pytest.mark.parametrize(
        ("stage", "states"),
        [
            (EXPORTS, {C.REVIEW_APPROVED, C.EXPORTING}),
            (KEYFRAMES, {C.EXPORTED, C.KEYFRAMING}),
            (EMBEDDINGS, {C.KEYFRAMED, C.EMBEDDING}),
        ],
    )
    def test_each_stage_takes_what_is_ready_or_was_left_behind(
        self, store: ClipStore, some_clips: SomeClips, stage: ClipStage, states: set[ClipState]
    ) -> None:
        made = {state: some_clips(state=state)[0] for state in ClipState}
        assert {clip.id for clip in store.due(stage)} == {made[state].id for state in states}

    def test_a_failed_clip_is_due_while_it_has_tries_left(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        for _ in range(MAX_ATTEMPTS):
            assert [due.id for due in store.due(EXPORTS)] == [clip.id]
            assert store.claim(clip.id, EXPORTS, [export_key(clip)])
            assert store.fail(clip.id, EXPORTS, "disk full", transient=True)
        assert store.due(EXPORTS) == []
        store.retry(clip.id)
        assert [due.id for due in store.due(EXPORTS)] == [clip.id]

    def test_of_one_source_video(self, store: ClipStore, some_clips: SomeClips) -> None:
        one, other = some_clips(state=C.REVIEW_APPROVED)[0], some_clips(state=C.REVIEW_APPROVED)[0]
        assert [clip.id for clip in store.due(EXPORTS, other.source_video_id)] == [other.id]
        assert [clip.id for clip in store.due(EXPORTS)] == [one.id, other.id]


class TestExport:
    def test_from_approval_to_file(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.REVIEW_APPROVED)[0]
        claimed = store.claim(clip.id, EXPORTS, [export_key(clip)])
        assert claimed is not None
        assert claimed.state == C.EXPORTING
        assert artifact_states(database) == {export_key(clip): "writing"}
        assert store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(clip), 1234, {"frame_count": 100})])
        done = store.load(clip.id)
        assert (done.state, done.is_virtual, done.clip_filepath, done.attempts) == (C.EXPORTED, False, export_key(clip), 0)
        (artifact,) = store.artifacts(clip.id)
        assert (artifact.kind, artifact.key, artifact.byte_size, artifact.manifest) == (
            "export",
            export_key(clip),
            1234,
            {"frame_count": 100},
        )

    @pytest.mark.parametrize("state", sorted(set(ClipState) - {C.REVIEW_APPROVED, C.EXPORTING, C.EXPORT_FAILED}))
    def test_only_an_approved_clip_can_be_claimed(self, store: ClipStore, some_clips: SomeClips, state: ClipState) -> None:
        clip = some_clips(state=state)[0]
        assert store.claim(clip.id, EXPORTS, [export_key(clip)]) is None
        assert store.load(clip.id) == clip

    def test_a_retired_clip_cannot_be_claimed(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.REVIEW_APPROVED)[0]
        store.replace_cuts(clip.source_video_id, new_clips(0, 50, 100), 100)
        assert store.claim(clip.id, EXPORTS, [export_key(clip)]) is None

    def test_the_key_of_another_clip_cannot_be_claimed(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        one, other = some_clips(50, state=C.REVIEW_APPROVED)
        assert store.claim(one.id, EXPORTS, [export_key(one)])
        with pytest.raises(PermanentError, match="belongs to another clip"):
            store.claim(other.id, EXPORTS, [export_key(one)])
        assert store.load(other.id).state == C.REVIEW_APPROVED

    def test_work_that_was_killed_is_claimed_again(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        claimed = store.claim(clip.id, EXPORTS, [export_key(clip)])
        assert claimed is not None
        assert store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(clip), 1, {})])
        assert artifact_states(database) == {export_key(clip): "live"}

    @pytest.mark.parametrize("decision", [C.REVIEW_ARCHIVED, C.REVIEW_APPROVED, C.PENDING_REVIEW])
    def test_a_decision_made_meanwhile_stands(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None], decision: ClipState
    ) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        decide(clip, decision)
        assert not store.finish(clip.id, EXPORTS, clip.cut_point_version, [MadeObject(export_key(clip), 1, {})])
        after = store.load(clip.id)
        assert (after.state, after.is_virtual, after.clip_filepath) == (decision, True, None)
        assert artifact_states(database) == {export_key(clip): "obsolete"}

    def test_an_object_that_was_not_claimed_is_not_taken(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        with pytest.raises(PermanentError, match="was not claimed"):
            store.finish(clip.id, EXPORTS, clip.cut_point_version, [MadeObject("final_clips/other.mp4", 1, {})])
        assert store.load(clip.id) == clip

    def test_exporting_again_uses_the_key_again(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EMBEDDED)[0]
        decide(clip, C.REVIEW_APPROVED)
        assert set(artifact_states(database).values()) == {"obsolete"}
        claimed = store.claim(clip.id, EXPORTS, [export_key(clip)])
        assert claimed is not None
        assert store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(clip), 9, {})])
        assert artifact_states(database)[export_key(clip)] == "live"

    def test_of_two_that_claim_at_once_both_see_the_clip_and_one_finishes(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.REVIEW_APPROVED)[0]
        outcomes: list[bool] = []

        def export() -> None:
            claimed = store.claim(clip.id, EXPORTS, [export_key(clip)])
            outcomes.append(
                claimed is not None and store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(clip), 1, {})])
            )

        threads = [threading.Thread(target=export) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(True) == 1
        assert store.load(clip.id).state == C.EXPORTED


class TestExportAgain:
    """With the same profile: the file that the clip has stays until the new one is there."""

    @pytest.fixture
    def asked(self, database: Database, some_clips: SomeClips) -> Clip:
        return ExportStore(database).request(some_clips(state=C.KEYFRAMED)[0].id, "stream_copy")

    def nothing_goes(self, store: ClipStore, clip: Clip) -> bool:
        return store.obsolete_artifacts() == [] and store.clean_up(clip.id, lambda key: pytest.fail(f"deleted {key}")) == []

    def test_the_clip_keeps_its_files_when_it_fails(self, store: ClipStore, asked: Clip) -> None:
        before = store.artifacts(asked.id)
        assert store.claim(asked.id, EXPORTS, [export_key(asked)])
        assert self.nothing_goes(store, asked)
        store.fail(asked.id, EXPORTS, "the gold master is in cold storage", transient=False)
        after = store.load(asked.id)
        assert (after.is_virtual, after.clip_filepath) == (False, export_key(asked))
        assert [(one.key, one.byte_size, one.manifest) for one in store.artifacts(asked.id)] == [
            (one.key, one.byte_size, one.manifest) for one in before
        ]
        assert {artifact.kind for artifact in before} == {"export", "keyframe"}
        assert self.nothing_goes(store, asked)

    def test_the_new_file_takes_the_place_of_the_old(self, store: ClipStore, asked: Clip) -> None:
        claimed = store.claim(asked.id, EXPORTS, [export_key(asked)])
        assert claimed is not None
        assert store.finish(asked.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(asked), 77, {"profile": "stream_copy"})])
        assert [(one.byte_size, one.manifest) for one in store.artifacts(asked.id, kind="export")] == [(77, {"profile": "stream_copy"})]
        assert store.load(asked.id).state == C.EXPORTED

    def test_the_file_outlives_a_process_that_died_and_another_request(self, database: Database, store: ClipStore, asked: Clip) -> None:
        assert store.claim(asked.id, EXPORTS, [export_key(asked)])
        ExportStore(database).request(asked.id, "stream_copy")
        assert self.nothing_goes(store, asked)

    def test_a_file_of_a_version_before_serves_until_the_next_one(self, database: Database, store: ClipStore, asked: Clip) -> None:
        claimed = store.claim(asked.id, EXPORTS, [export_key(asked)])
        assert claimed is not None
        ExportStore(database).request(asked.id, "stream_copy")
        assert not store.finish(
            asked.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(asked), 77, {"profile": "stream_copy"})]
        )
        assert [(one.byte_size, one.manifest) for one in store.artifacts(asked.id, kind="export")] == [(77, {"profile": "stream_copy"})]
        assert self.nothing_goes(store, asked)

    def test_an_archive_meanwhile_makes_all_files_go(
        self, store: ClipStore, asked: Clip, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        claimed = store.claim(asked.id, EXPORTS, [export_key(asked)])
        assert claimed is not None
        decide(asked, C.REVIEW_ARCHIVED)
        assert not store.finish(asked.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(asked), 77, {})])
        assert len(store.clean_up(asked.id, lambda key: True)) == 2
        assert store.artifacts(asked.id) == []


class TestKeyframes:
    def keys(self, clip: Clip, *tags: str) -> list[str]:
        return [keyframe_key(clip.source_video_id, clip.sequence, tag) for tag in tags]

    def test_several_pictures_become_live_together(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        keys = self.keys(clip, "p25", "p75")
        claimed = store.claim(clip.id, KEYFRAMES, keys)
        assert claimed is not None
        assert store.finish(clip.id, KEYFRAMES, claimed.cut_point_version, [MadeObject(key, 10, {"frame": 3}) for key in keys])
        assert store.load(clip.id).state == C.KEYFRAMED
        assert store.live_artifact_keys(clip.id, "keyframe") == keys
        assert store.live_artifact_keys(clip.id, "export") == [export_key(clip)]

    def test_pictures_of_an_earlier_choice_become_obsolete(self, database: Database, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.KEYFRAMED)[0]
        store.advance(clip.id, C.KEYFRAMING, C.KEYFRAMED)
        keys = self.keys(clip, "p25")
        claimed = store.claim(clip.id, KEYFRAMES, keys)
        assert claimed is not None
        assert store.finish(clip.id, KEYFRAMES, claimed.cut_point_version, [MadeObject(keys[0], 10, {})])
        assert store.live_artifact_keys(clip.id, "keyframe") == keys
        assert artifact_states(database)[self.keys(clip, "mid")[0]] == "obsolete"

    def test_an_archived_clip_gets_no_pictures(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.KEYFRAMING)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        assert not store.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(key, 10, {}) for key in self.keys(clip, "mid")])
        assert set(artifact_states(database).values()) == {"obsolete"}


class TestFailures:
    @pytest.mark.parametrize("failed", sorted(CLIP_RETRY))
    def test_retry_goes_back_before_the_stage_with_all_tries(self, store: ClipStore, some_clips: SomeClips, failed: ClipState) -> None:
        clip = some_clips(state=failed)[0]
        assert (clip.error, clip.attempts) == ("made to fail", MAX_ATTEMPTS)
        again = store.retry(clip.id)
        assert (again.state, again.error, again.attempts) == (CLIP_RETRY[failed], None, 0)

    @pytest.mark.parametrize("state", sorted(set(ClipState) - set(CLIP_RETRY)))
    def test_there_is_nothing_to_retry_when_nothing_failed(self, store: ClipStore, some_clips: SomeClips, state: ClipState) -> None:
        clip = some_clips(state=state)[0]
        with pytest.raises(IllegalTransitionError, match=rf"has not failed \(its state: {state}\)"):
            store.retry(clip.id)

    def test_a_failure_does_not_overwrite_a_decision(
        self, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        assert store.fail(clip.id, EXPORTS, "late", transient=True) is None
        assert store.load(clip.id).state == C.REVIEW_ARCHIVED

    def test_a_failure_is_not_put_on_a_newer_version(
        self, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        decide(clip, C.REVIEW_APPROVED)
        assert store.fail(clip.id, EXPORTS, "late", transient=False, expected_version=clip.cut_point_version) is None
        assert (store.load(clip.id).state, store.load(clip.id).attempts) == (C.REVIEW_APPROVED, 0)

    def test_success_forgets_the_failed_tries(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        failed = store.fail(clip.id, EXPORTS, "disk full", transient=True)
        assert failed is not None
        assert (failed.attempts, failed.error) == (1, "disk full")
        claimed = store.claim(clip.id, EXPORTS, [export_key(clip)])
        assert claimed is not None
        assert (claimed.attempts, claimed.error) == (1, None)
        store.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(export_key(clip), 1, {})])
        assert store.load(clip.id).attempts == 0


class TestAdvance:
    def test_a_clip_in_another_state_is_stale(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        with pytest.raises(StaleClipError, match="has the state pending_review; this needs the state embedded or keyframed"):
            store.advance(clip.id, C.EMBEDDING, {C.KEYFRAMED, C.EMBEDDED})

    def test_a_retired_clip_is_stale(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        store.replace_cuts(clip.source_video_id, new_clips(0, 50, 100), 100)
        with pytest.raises(StaleClipError, match="has the state replaced by other cuts"):
            store.advance(clip.id, C.PENDING_REVIEW, C.REVIEW_ARCHIVED)

    def test_only_legal_ways_are_open(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        for state in set(ClipState) - CLIP_TRANSITIONS[C.PENDING_REVIEW]:
            with pytest.raises(IllegalTransitionError):
                store.advance(clip.id, state, C.PENDING_REVIEW)


class TestCleanUp:
    def test_what_is_obsolete_goes_and_what_is_live_stays(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        kept, archived = some_clips(50, state=C.KEYFRAMED)
        decide(archived, C.REVIEW_ARCHIVED)
        deleted: list[str] = []
        obsolete = store.obsolete_artifacts(archived.source_video_id)
        assert {artifact.clip_id for artifact in obsolete} == {archived.id}
        for clip in (kept, archived):
            store.clean_up(clip.id, deleted.append)
        assert sorted(deleted) == sorted(artifact.key for artifact in obsolete)
        assert store.obsolete_artifacts() == []
        assert [artifact_states(database)[key] for key in deleted] == ["deleted"] * 2
        assert len(store.artifacts(kept.id)) == 2

    def test_a_second_time_deletes_nothing(
        self, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        assert store.clean_up(clip.id, lambda key: True) == [export_key(clip)]
        assert store.clean_up(clip.id, lambda key: pytest.fail(f"deleted {key} twice")) == []

    def test_a_store_that_fails_leaves_the_work_for_later(
        self, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        decide(clip, C.REVIEW_ARCHIVED)

        def fail(key: str) -> None:
            raise ConnectionError(key)

        with pytest.raises(ConnectionError):
            store.clean_up(clip.id, fail)
        assert [artifact.key for artifact in store.obsolete_artifacts()] == [export_key(clip)]

    def test_a_reviewer_never_waits_for_the_store_and_a_stage_waits_for_its_key(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        claimed: list[Clip | None] = []
        stage = threading.Thread(target=lambda: claimed.append(store.claim(clip.id, EXPORTS, [export_key(clip)])))

        def delete(key: str) -> None:
            decide(store.load(clip.id), C.REVIEW_APPROVED)  # would wait for ever if the row were locked
            stage.start()
            stage.join(0.3)
            assert stage.is_alive(), "its object is being deleted"

        assert store.clean_up(clip.id, delete) == [export_key(clip)]
        stage.join(20)
        assert [one.state for one in claimed if one is not None] == [C.EXPORTING]
        assert artifact_states(database)[export_key(clip)] == "writing"

    def test_what_a_clip_is_still_to_write_is_left_alone(self, store: ClipStore, some_clips: SomeClips) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        assert store.obsolete_artifacts() == []
        assert store.clean_up(clip.id, lambda key: pytest.fail(f"deleted {key}")) == []

    def test_what_a_dead_process_left_half_written_goes(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        assert artifact_states(database) == {export_key(clip): "writing"}
        assert [artifact.key for artifact in store.obsolete_artifacts()] == [export_key(clip)]
        assert store.clean_up(clip.id, lambda key: True) == [export_key(clip)]

    def test_what_a_living_process_is_writing_is_left_to_it(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTING)[0]
        decide(clip, C.REVIEW_ARCHIVED)
        with database.stage_lock("exports", clip.source_video_id):
            assert store.clean_up(clip.id, lambda key: pytest.fail(f"deleted {key}")) == []
            assert not store.finish(clip.id, EXPORTS, clip.cut_point_version, [MadeObject(export_key(clip), 1, {})])
            assert store.clean_up(clip.id, lambda key: True) == [export_key(clip)]

    def test_no_claim_gets_in_while_its_object_goes(
        self, database: Database, store: ClipStore, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
    ) -> None:
        clip = some_clips(state=C.EXPORTED)[0]
        decide(clip, C.REVIEW_APPROVED)
        order: list[str] = []

        def claim() -> None:
            assert store.claim(clip.id, EXPORTS, [export_key(clip)])
            order.append("claimed")

        thread = threading.Thread(target=claim)

        def delete(key: str) -> None:
            thread.start()
            time.sleep(0.2)
            order.append("deleted")

        store.clean_up(clip.id, delete)
        thread.join()
        assert order == ["deleted", "claimed"]
        assert artifact_states(database) == {export_key(clip): "writing"}


def test_embeddings_go_with_the_files_they_were_made_from(
    database: Database, some_clips: SomeClips, decide: Callable[[Clip, ClipState], None]
) -> None:
    kept, changed = some_clips(50, state=C.EMBEDDED)
    with database.begin() as connection:
        connection.execute(
            text("insert into embeddings (clip_id, model, strategy, dimensions, embedding) select id, 'm', 's', 2, '[1,0]' from clips")
        )
    decide(changed, C.REVIEW_SKIPPED)
    with database.read() as connection:
        assert connection.scalars(text("select clip_id from embeddings")).all() == [kept.id]
