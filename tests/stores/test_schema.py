"""What Postgres itself guarantees: every constraint, function and trigger of `sql/`, tried by breaking it."""

from __future__ import annotations

import threading
import time
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from heaters_dagster.domain.errors import CutError, HeatersError, IllegalTransitionError
from heaters_dagster.domain.states import REVIEW_STATES, ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_TRANSITIONS, SOURCE_VIDEO_TRANSITIONS, transition_function
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.conftest import ASourceVideo, SomeClips
from tests.pipeline_rows import reviews


def run(database: Database, *statements: str, **values: Any) -> None:
    """All statements in one transaction."""
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)


def broken_constraint(database: Database, *statements: str, **values: Any) -> str:
    """The constraint that refuses the statements."""
    with pytest.raises((IntegrityError, HeatersError)) as refusal:
        run(database, *statements, **values)
    error: BaseException | None = refusal.value
    while error is not None and not isinstance(error, psycopg.Error):
        error = getattr(error, "orig", None) or error.__cause__
    assert isinstance(error, psycopg.Error)
    return error.diag.constraint_name or error.diag.column_name or error.diag.message_primary or ""


def ranges(clips: list[Clip]) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in clips]


class TestCoverage:
    """At commit the live clips of a source video are [0, frame_count): no overlap, no gap."""

    def test_clips_cannot_overlap(self, database: Database, some_clips: SomeClips) -> None:
        clip = some_clips(30, 60)[1]
        with pytest.raises(CutError, match="two clips of a source video would overlap"):
            run(database, "update clips set start_frame = 29 where id = :id", id=clip.id)

    @pytest.mark.parametrize(
        "change",
        [
            "update clips set start_frame = 31 where id = :middle",
            "update clips set start_frame = 1 where id = :first",
            "update clips set end_frame = 99 where id = :last",
            "update clips set end_frame = 101 where id = :last",
            "update clips set is_live = false, state = 'review_archived' where id = :middle",
            "delete from clips where id = :middle",
            "delete from clips",
            "update clips set is_live = false, state = 'review_archived'",
            "update source_videos set frame_count = 99",
            "update source_videos set frame_count = 101",
            "truncate clips cascade",
        ],
    )
    def test_no_change_may_leave_a_gap_or_stick_out(self, database: Database, some_clips: SomeClips, change: str) -> None:
        first, middle, last = some_clips(30, 60, frame_count=100)
        with pytest.raises(CutError, match=r"must cover its frames 0\.\.\d+ without a gap|has its scenes detected but no clips"):
            run(database, change, first=first.id, middle=middle.id, last=last.id)
        assert ranges(ClipStore(database).load_live(first.source_video_id)) == [(0, 30), (30, 60), (60, 100)]

    def test_frames_cannot_be_unknown_while_there_are_clips(self, database: Database, some_clips: SomeClips) -> None:
        some_clips(30)
        assert broken_constraint(database, "update source_videos set frame_count = null") == "source_videos_frame_count_known_check"
        gap = "update source_videos set state = 'detecting_scenes', frame_count = null"
        assert broken_constraint(database, gap) == "clips_cover_source_video"

    def test_scenes_are_not_detected_without_clips(self, database: Database, a_source_video: ASourceVideo) -> None:
        a_source_video(state=SourceVideoState.DETECTING_SCENES)
        with pytest.raises(CutError, match="has its scenes detected but no clips"):
            run(database, "update source_videos set state = 'scenes_detected', frame_count = 10")

    def test_a_part_of_the_clips_cannot_be_inserted(self, database: Database, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=SourceVideoState.DETECTING_SCENES)
        part = (
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) "
            "values (:id, 1, 0, 9, 0, 1)"
        )
        prepared = "update source_videos set frame_count = 10, next_clip_sequence = 2"
        assert broken_constraint(database, prepared, part, id=video.id) == "clips_cover_source_video"
        assert (
            broken_constraint(database, "update source_videos set next_clip_sequence = 2", part, id=video.id) == "clips_cover_source_video"
        )
        run(database, "update source_videos set frame_count = 9, next_clip_sequence = 2", part, id=video.id)

    def test_a_cut_point_moves_in_one_statement_in_either_direction(self, database: Database, some_clips: SomeClips) -> None:
        left, right = some_clips(50)
        for frame in (20, 80):
            run(
                database,
                "update clips set end_frame = case id when :left then :frame else end_frame end, "
                "start_frame = case id when :right then :frame else start_frame end",
                left=left.id,
                right=right.id,
                frame=frame,
            )
            assert ranges(ClipStore(database).load_live(left.source_video_id)) == [(0, frame), (frame, 100)]

    @pytest.mark.parametrize(("frame", "kept"), [(45, (45, 90)), (91, (45, 90)), (92, (None, None)), (44, (None, None))])
    def test_a_program_that_knows_no_ranges_leaves_none_that_does_not_touch_its_cut(
        self, database: Database, some_clips: SomeClips, frame: int, kept: tuple[int | None, int | None]
    ) -> None:
        left, right = some_clips(50)
        run(database, "update clips set cut_kind = 'fade', cut_first_frame = 45, cut_last_frame = 90 where id = :id", id=right.id)
        run(
            database,
            "update clips set end_frame = case id when :left then :frame else end_frame end, "
            "start_frame = case id when :right then :frame else start_frame end",
            left=left.id,
            right=right.id,
            frame=frame,
        )
        moved = ClipStore(database).load(right.id)
        assert (moved.cut_kind, moved.cut_first_frame, moved.cut_last_frame) == ("fade", *kept)

    def test_a_cut_point_moves_in_two_statements_when_the_check_is_put_off(self, database: Database, some_clips: SomeClips) -> None:
        left, right = some_clips(50)
        moved = ("update clips set end_frame = 80 where id = :left", "update clips set start_frame = 80 where id = :right")
        assert broken_constraint(database, *moved, left=left.id, right=right.id) == "clips_no_overlap"
        run(database, "set constraints clips_no_overlap deferred", *moved, left=left.id, right=right.id)

    @pytest.mark.parametrize("start", [50, 2_147_483_000])
    def test_one_shared_frame_is_an_overlap_and_a_shared_edge_is_none(self, database: Database, some_clips: SomeClips, start: int) -> None:
        left = some_clips(50)[0]
        moved = (
            "update clips set start_frame = case id when :left then 0 else :start end, end_frame = case id when :left then {} else :end end"
        )
        numbers = {"left": left.id, "start": start, "end": start + 500}
        assert broken_constraint(database, moved.format(start + 1), **numbers) == "clips_no_overlap"
        assert broken_constraint(database, moved.format(start), **numbers) == "clips_cover_source_video"

    def test_putting_the_check_off_is_not_a_way_round_it(self, database: Database, some_clips: SomeClips) -> None:
        left, _ = some_clips(50)
        overlap = ("set constraints all deferred", "update clips set end_frame = 80 where id = :left")
        assert broken_constraint(database, *overlap, left=left.id) in {"clips_no_overlap", "clips_cover_source_video"}

    def test_checking_in_between_is_not_a_way_round_it(self, database: Database, some_clips: SomeClips) -> None:
        left, right = some_clips(50)
        steps = (
            "update clips set end_frame = 40 where id = :left",
            "update clips set start_frame = 40 where id = :right",
            "set constraints all immediate",
            "set constraints all deferred",
            "update clips set start_frame = 45 where id = :right",
        )
        assert broken_constraint(database, *steps, left=left.id, right=right.id) == "clips_cover_source_video"

    @pytest.mark.parametrize("undone", [True, False])
    def test_a_rolled_back_savepoint_neither_hides_nor_invents_a_gap(self, database: Database, some_clips: SomeClips, undone: bool) -> None:
        left, right = some_clips(50)
        gap = "update clips set end_frame = 40 where id = :left"
        close = "update clips set start_frame = 40 where id = :right"
        steps = ("savepoint s", gap, "rollback to s") if undone else (gap, "savepoint s", close, "rollback to s")
        if undone:
            run(database, *steps, left=left.id, right=right.id)
        else:
            assert broken_constraint(database, *steps, left=left.id, right=right.id) == "clips_cover_source_video"

    def test_retired_clips_do_not_count(self, database: Database, some_clips: SomeClips) -> None:
        first, second = some_clips(50)
        run(
            database,
            "update clips set is_live = false, state = 'review_archived' where id in (:first, :second)",
            "update source_videos set next_clip_sequence = 4",
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) "
            "values (:video, 3, 0, 100, 0, 4)",
            first=first.id,
            second=second.id,
            video=first.source_video_id,
        )
        assert ranges(ClipStore(database).load_live(first.source_video_id)) == [(0, 100)]

    def test_another_source_video_is_another_matter(self, database: Database, some_clips: SomeClips) -> None:
        one, other = some_clips(50), some_clips(20, frame_count=70)
        assert ranges(one) == [(0, 50), (50, 100)]
        assert ranges(other) == [(0, 20), (20, 70)]
        mixed = "update clips set end_frame = end_frame - 1 where end_frame in (70, 100)"
        assert broken_constraint(database, mixed) == "clips_cover_source_video"

    def test_the_list_of_checks_is_empty_after_every_transaction(self, database: Database, some_clips: SomeClips) -> None:
        clips = some_clips(50)
        broken_constraint(database, "delete from clips where id = :id", id=clips[0].id)
        run(database, "update clips set confidence = 0.5")
        with database.read() as connection:
            assert connection.scalar(text("select count(*) from clip_coverage_checks")) == 0

    def test_a_change_of_state_or_confidence_checks_nothing(self, database: Database, some_clips: SomeClips) -> None:
        some_clips(50)
        with database.begin() as connection:
            connection.execute(text("update clips set state = 'review_approved', confidence = 0.5"))
            assert connection.scalar(text("select count(*) from clip_coverage_checks")) == 0

    def test_two_thousand_clips_are_checked_once(self, database: Database, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=SourceVideoState.DETECTING_SCENES)
        insert = text(
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) "
            "values (:video, :n + 1, :n, :n + 1, :n, :n + 1)"
        )
        with database.begin() as connection:
            connection.execute(text("update source_videos set frame_count = 2000, next_clip_sequence = 2001"))
            for n in range(2000):
                connection.execute(insert, {"video": video.id, "n": n})
            assert connection.scalar(text("select count(*) from clip_coverage_checks")) == 1

    @pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    def test_two_transactions_together_cannot_make_a_gap_that_neither_makes(
        self, database: Database, some_clips: SomeClips, isolation: str
    ) -> None:
        clips = some_clips(20, 40, 60, 80)
        engine = database.engine.execution_options(isolation_level=isolation)
        with engine.connect() as one, engine.connect() as other:
            for connection in (one, other):
                connection.execute(text("select count(*) from clips"))
            move(one, clips[0], clips[1], 10)
            move(other, clips[2], clips[3], 70)
            one.commit()
            commit_or_roll_back(other)
        ClipStore(database).load_live(clips[0].source_video_id)
        run(database, "update source_videos set frame_count = frame_count")

    def test_two_that_move_one_cut_wait_for_each_other(self, database: Database, some_clips: SomeClips) -> None:
        clips = some_clips(20, 40)
        outcomes: list[str] = []

        def second() -> None:
            try:
                with database.begin() as connection:
                    move(connection, clips[1], clips[2], 50)
                outcomes.append("moved")
            except HeatersError as error:
                outcomes.append(type(error).__name__)

        with database.begin() as connection:
            move(connection, clips[0], clips[1], 10)
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.2)
            assert outcomes == []
        thread.join()
        assert outcomes == ["moved"]
        assert ranges(ClipStore(database).load_live(clips[0].source_video_id)) == [(0, 10), (10, 50), (50, 100)]


def move(connection: Connection, left: Clip, right: Clip, frame: int) -> None:
    connection.execute(
        text(
            "update clips set end_frame = case id when :left then :frame else end_frame end, "
            "start_frame = case id when :right then :frame else start_frame end where id in (:left, :right)"
        ),
        {"left": left.id, "right": right.id, "frame": frame},
    )


def commit_or_roll_back(connection: Connection) -> None:
    try:
        connection.commit()
    except DBAPIError:
        connection.rollback()


class TestTransitions:
    @pytest.mark.parametrize(
        ("function", "table", "states"),
        [
            ("heaters_legal_source_video_transition", SOURCE_VIDEO_TRANSITIONS, list(SourceVideoState)),
            ("heaters_legal_clip_transition", CLIP_TRANSITIONS, list(ClipState)),
        ],
    )
    def test_the_database_knows_the_same_table(self, database: Database, function: str, table: Any, states: list[Any]) -> None:
        with database.read() as connection:
            legal = {
                (old, new)
                for old, new in product(states, states)
                if connection.scalar(text(f"select {function}(:old, :new)"), {"old": old.value, "new": new.value})
            }
        assert legal == {(old, new) for old in states for new in table[old]}

    @pytest.mark.parametrize(("table", "states"), [(SOURCE_VIDEO_TRANSITIONS, list(SourceVideoState)), (CLIP_TRANSITIONS, list(ClipState))])
    def test_the_function_that_the_table_renders_says_the_same(self, database: Database, table: Any, states: list[Any]) -> None:
        with database.begin() as connection:
            connection.execute(text(transition_function("rendered", table)))
            ask = text("select rendered(:old, :new)")
            legal = {pair for pair in product(states, states) if connection.scalar(ask, {"old": pair[0].value, "new": pair[1].value})}
        assert legal == {(old, new) for old in states for new in table[old]}

    def test_an_illegal_change_of_a_source_video_is_refused(self, database: Database, a_source_video: ASourceVideo) -> None:
        video = a_source_video(state=SourceVideoState.DOWNLOADED)
        with pytest.raises(IllegalTransitionError, match=f"source video {video.id}, which is downloaded, cannot become preprocessed"):
            run(database, "update source_videos set state = 'preprocessed'")

    def test_an_illegal_change_of_a_clip_is_refused(self, database: Database, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        with pytest.raises(IllegalTransitionError, match=f"clip id:{clip.id}, which is pending_review, cannot become exporting"):
            run(database, "update clips set state = 'exporting'")

    def test_writing_the_same_state_again_is_no_change(self, database: Database, some_clips: SomeClips) -> None:
        some_clips(state=ClipState.EXPORTED)
        run(database, "update clips set state = 'exported'", "update source_videos set state = 'scenes_detected'")

    @pytest.mark.parametrize("state", [state for state in SourceVideoState if state != SourceVideoState.NEW])
    def test_a_source_video_begins_as_new(self, database: Database, state: SourceVideoState) -> None:
        insert = "insert into source_videos (source, title, state, frame_count) values ('x', 'x', :state, 1)"
        assert broken_constraint(database, insert, state=state.value) == "source_videos_legal_transition"

    @pytest.mark.parametrize("state", [state for state in ClipState if state not in REVIEW_STATES])
    def test_a_clip_begins_with_a_review_decision(self, database: Database, a_source_video: ASourceVideo, state: ClipState) -> None:
        video = a_source_video()
        insert = (
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, state, "
            "is_virtual, clip_filepath) values (:video, 1, 0, 1, 0, 1, :state, false, 'x')"
        )
        assert broken_constraint(database, insert, video=video.id, state=state.value) == "clips_legal_transition"


class TestSequences:
    def test_the_counter_never_goes_back(self, database: Database, some_clips: SomeClips) -> None:
        some_clips(50)
        assert broken_constraint(database, "update source_videos set next_clip_sequence = 2") == "source_videos_sequence_never_reused"

    def test_a_sequence_must_come_from_the_counter(self, database: Database, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        unclaimed = (
            "update clips set is_live = false, state = 'review_archived'",
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) "
            "values (:video, 2, 0, 100, 0, 4)",
        )
        assert broken_constraint(database, *unclaimed, video=clip.source_video_id) == "clips_sequence_never_reused"

    @pytest.mark.parametrize("column", ["sequence", "source_video_id"])
    def test_a_clip_keeps_its_identity(self, database: Database, some_clips: SomeClips, column: str) -> None:
        some_clips()
        assert broken_constraint(database, f"update clips set {column} = {column} + 1") == "clips_keep_identity"

    def test_two_clips_of_a_video_cannot_share_a_sequence(self, database: Database, some_clips: SomeClips) -> None:
        clip = some_clips()[0]
        twin = (
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) "
            "values (:video, 1, 0, 100, 0, 4)"
        )
        retire = "update clips set is_live = false, state = 'review_archived'"
        assert broken_constraint(database, retire, twin, video=clip.source_video_id) == "clips_source_video_id_sequence_key"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("update clips set start_frame = -1", "clips_frame_range_check"),
        ("update clips set end_frame = start_frame", "clips_frame_range_check"),
        ("update clips set end_time_seconds = -1", "clips_time_range_check"),
        ("update clips set end_time_seconds = start_time_seconds", "clips_time_range_check"),
        ("update clips set end_time_seconds = 'nan'", "clips_time_range_check"),
        ("update clips set start_time_seconds = 'nan'", "clips_time_range_check"),
        ("update clips set start_time_seconds = 'nan', end_time_seconds = 'nan'", "clips_time_range_check"),
        ("update clips set end_time_seconds = 'infinity'", "clips_time_range_check"),
        ("update source_videos set duration_seconds = 'nan'", "source_videos_duration_seconds_check"),
        ("update source_videos set duration_seconds = -1", "source_videos_duration_seconds_check"),
        ("update clips set grouped_with_clip_id = id", "clips_grouped_check"),
        ("update clips set cut_point_version = 2; update clips set cut_point_version = 1", "clips_version_only_rises"),
        ("insert into reviewers (name, oidc_subject) values ('Ann (Command line)', 's')", "reviewers_command_line_check"),
        ("update clips set is_virtual = false", "clips_filepath_required_when_physical_check"),
        ("update clips set is_live = false", "clips_retired_check"),
        ("update clips set confidence = 1.01", "clips_confidence_check"),
        ("update clips set confidence = 'nan'", "clips_confidence_check"),
        ("update clips set attempts = -1", "clips_attempts_check"),
        (
            "insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds,"
            " cut_point_version) select id, 9, 0, 1, 0, 1, 0 from source_videos",
            "clips_cut_point_version_check",
        ),
        ("update clips set export_profile = 'A GIF'", "clips_export_profile_check"),
        ("update clips set start_frame = 30, cut_kind = 'zoom'", "clips_cut_kind_check"),
        ("update clips set cut_kind = 'hard'", "clips_cut_end_check"),
        ("update clips set cut_first_frame = 0, cut_last_frame = 9", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = null, cut_first_frame = 30, cut_last_frame = 40", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = 'fade', cut_first_frame = 30", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = 'fade', cut_first_frame = 31, cut_last_frame = 40", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = 'fade', cut_first_frame = 20, cut_last_frame = 28", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = 'fade', cut_first_frame = 30, cut_last_frame = 29", "clips_cut_range_check"),
        ("update clips set start_frame = 30, cut_kind = 'fade', cut_first_frame = 20, cut_last_frame = 100", "clips_cut_range_check"),
        ("update clips set lease_expires_at = now()", "clips_lease_check"),
        ("update clips set leased_by_user_id = 1, lease_expires_at = now()", "clips_leased_by_user_id_fkey"),
        ("update clips set created_by_user_id = 1", "clips_created_by_user_id_fkey"),
        ("update clips set last_modified_by_user_id = 1", "clips_last_modified_by_user_id_fkey"),
        ("update clips set grouped_with_clip_id = 0", "clips_grouped_with_clip_id_fkey"),
        ("update source_videos set frame_count = 0", "source_videos_frame_count_check"),
        ("update source_videos set attempts = -1", "source_videos_attempts_check"),
        ("update source_videos set gold_master_attempts = -1", "source_videos_gold_master_attempts_check"),
        ("update source_videos set warnings = '{}'", "source_videos_warnings_check"),
        ("update source_videos set content_sha256 = 'ABC'", "source_videos_content_sha256_check"),
        ("update source_videos set duplicate_of_id = id", "source_videos_duplicate_check"),
        ("update source_videos set duplicate_of_id = 0", "source_videos_duplicate_check"),
        ("update source_videos set title = null", "title"),
        ("delete from source_videos", "clips_source_video_id_fkey"),
        ("insert into clip_work (clip_id, stage, version) values (0, 'exports', 1)", "clip_work_clip_id_fkey"),
        ("insert into master_restores values (0, now(), now(), 1, 0.1)", "master_restores_source_video_id_fkey"),
        (
            "insert into restore_agreements (source_video_id, storage_class, byte_size, wanted_at) values (0, 'GLACIER', 1, now())",
            "restore_agreements_source_video_id_fkey",
        ),
        (
            "insert into restore_agreements (source_video_id, wanted_at) select id, now() from source_videos",
            "restore_agreements_question_check",
        ),
        (
            "insert into restore_agreements (source_video_id, agreed_at) select id, now() from source_videos",
            "restore_agreements_agreed_check",
        ),
        ("insert into restore_agreements (source_video_id) select id from source_videos", "restore_agreements_said_check"),
        ("insert into clip_work (clip_id, stage, version, state) select id, 'exports', 1, 'lost' from clips", "clip_work_state_check"),
        ("insert into clip_work (clip_id, stage, version, attempts) select id, 'exports', 1, -1 from clips", "clip_work_attempts_check"),
        ("insert into clip_artifacts (clip_id, kind, key) select id, 'Poster 1', 'k' from clips", "clip_artifacts_kind_check"),
        (
            "insert into clip_artifacts (clip_id, kind, key, state) select id, 'export', 'k', 'lost' from clips",
            "clip_artifacts_state_check",
        ),
        ("insert into clip_artifacts (clip_id, kind, key) values (0, 'export', 'k')", "clip_artifacts_clip_id_fkey"),
        (
            "insert into clip_artifacts (clip_id, kind, key) select id, 'export', 'k' from clips, generate_series(1, 2)",
            "clip_artifacts_key_key",
        ),
        (
            "insert into embeddings (clip_id, model, strategy, dimensions, embedding) select id, 'm', 's', 3, '[1,2]' from clips",
            "embeddings_dimensions_check",
        ),
        (
            "insert into embeddings (clip_id, model, strategy, dimensions, embedding) "
            "select id, 'm', 's', 2, '[1,2]' from clips, generate_series(1, 2)",
            "embeddings_clip_id_model_strategy_key",
        ),
        (
            "insert into embeddings (clip_id, model, strategy, dimensions, embedding) values (0, 'm', 's', 2, '[1,2]')",
            "embeddings_clip_id_fkey",
        ),
        ("insert into clip_exports (clip_id, profile) values (0, 'delivery')", "clip_exports_clip_id_fkey"),
        ("insert into clip_exports (clip_id, profile) select id, 'A GIF' from clips", "clip_exports_profile_check"),
        ("insert into clip_exports (clip_id, profile, state) select id, 'a', 'lost' from clips", "clip_exports_state_check"),
        ("insert into clip_exports (clip_id, profile, attempts) select id, 'a', -1 from clips", "clip_exports_attempts_check"),
        ("insert into clip_exports (clip_id, profile, state) select id, 'a', 'done' from clips", "clip_exports_made_check"),
        ("insert into clip_exports (clip_id, profile, made_at) select id, 'a', now() from clips", "clip_exports_made_check"),
        ("insert into clip_exports (clip_id, profile, key) select id, 'a', 'no row' from clips", "clip_exports_key_fkey"),
        (
            "insert into clip_artifacts (clip_id, kind, key) select id, 'export', 'k' from clips;"
            "insert into clip_exports (clip_id, profile, key) select id, unnest('{a,b}'::text[]), 'k' from clips",
            "clip_exports_key_key",
        ),
        ("insert into reviewers (name) values ('Ann'), ('Ann')", "reviewers_name_key"),
        ("insert into reviewers (name, oidc_subject) values ('Ann', 's'), ('Bob', 's')", "reviewers_oidc_subject_key"),
    ],
)
def test_the_schema_refuses(database: Database, some_clips: SomeClips, change: str, constraint: str) -> None:
    some_clips()
    assert broken_constraint(database, change) == constraint


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"action": "'praise'"}, "review_actions_action_check"),
        ({"action": "'undo'"}, "review_actions_target_check"),
        ({"target_action_id": "0"}, "review_actions_target_check"),
        ({"action": "'undo'", "target_action_id": "0"}, "review_actions_target_action_id_fkey"),
        ({"reviewer_id": "0"}, "review_actions_reviewer_id_fkey"),
        ({"source_video_id": "0"}, "review_actions_source_video_id_fkey"),
        ({"before": "null"}, "before"),
        ({"request_key": "'used'"}, "review_actions_request_key_key"),
    ],
)
def test_the_ledger_refuses(database: Database, some_clips: SomeClips, columns: dict[str, str], constraint: str) -> None:
    clip = some_clips()[0]
    whole = {
        "reviewer_id": "(select id from reviewers)", "source_video_id": str(clip.source_video_id), "action": "'approve'",
        "clip_ids": "'{1}'", "before": "'{}'", "after": "'{}'", "target_action_id": "null", "request_key": "null",
    }  # fmt: skip
    insert = "insert into review_actions ({}) values ({})"
    run(database, "insert into reviewers (name) values ('Ann')", filled(insert, {**whole, "request_key": "'used'"}))
    assert broken_constraint(database, filled(insert, {**whole, **columns})) == constraint


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"operation_type": "'copy'"}, "cut_point_operations_operation_type_check"),
        ({"operation_type": "'move'"}, "cut_point_operations_old_frame_number_check"),
        ({"old_frame_number": "3"}, "cut_point_operations_old_frame_number_check"),
        ({"review_action_id": "0"}, "cut_point_operations_review_action_id_fkey"),
        ({"source_video_id": "0"}, "cut_point_operations_source_video_id_fkey"),
        ({"user_id": "0"}, "cut_point_operations_user_id_fkey"),
    ],
)
def test_the_cut_point_ledger_refuses(database: Database, some_clips: SomeClips, columns: dict[str, str], constraint: str) -> None:
    clip = some_clips()[0]
    whole = {
        "review_action_id": "(select id from review_actions)", "source_video_id": str(clip.source_video_id), "operation_type": "'add'",
        "frame_number": "5", "old_frame_number": "null", "user_id": "(select id from reviewers)", "affected_clip_ids": "'{1}'",
    }  # fmt: skip
    insert = "insert into cut_point_operations ({}) values ({})"
    run(
        database,
        "insert into reviewers (name) values ('Ann')",
        "insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after) "
        f"select id, {clip.source_video_id}, 'approve', '{{1}}', '{{}}', '{{}}' from reviewers",
        filled(insert, whole),
    )
    assert broken_constraint(database, filled(insert, {**whole, **columns})) == constraint


class TestLedger:
    """What was written to the ledger stays as it was written, whoever connects."""

    @pytest.fixture
    def written(self, database: Database, some_clips: SomeClips) -> int:
        """A cut, undone, and a decision; the video's id."""
        clip = some_clips(30)[0]
        review_store = reviews(database)
        review_store.add_cut_point(clip.source_video_id, 10, reviewer="Ann")
        review_store.undo("Ann")
        review_store.approve(clip.id, reviewer="Ann")
        return clip.source_video_id

    @pytest.mark.parametrize("table", ["review_actions", "cut_point_operations", "reviewers"])
    @pytest.mark.parametrize("change", ["delete from {}", "truncate {} cascade", "update {} set created_at = created_at + interval '1 s'"])
    def test_nothing_is_deleted_or_rewritten(self, database: Database, written: int, table: str, change: str) -> None:
        with database.read() as connection:
            before = connection.execute(text(f"select * from {table} order by id")).all()
        # A cascade empties what refers to the table first.
        assert broken_constraint(database, change.format(table)).endswith("_append_only")
        with database.read() as connection:
            assert connection.execute(text(f"select * from {table} order by id")).all() == before

    def test_of_a_ledger_row_no_column_changes_but_the_mark(self, database: Database, written: int) -> None:
        with database.read() as connection:
            columns = connection.execute(
                text(
                    "select attname, format_type(atttypid, null) from pg_attribute "
                    "where attrelid = 'review_actions'::regclass and attnum > 0 and not attisdropped"
                )
            ).all()
        others = {
            "bigint": "{0} * 0 + 7", "text": "'skip'", "bigint[]": "'{{9}}'", "jsonb": "'[1]'", "timestamp with time zone": "now()"
        }  # fmt: skip
        assert len(columns) > 10
        for name, kind in columns:
            if name not in {"undone", "id", "target_action_id"}:
                change = f"update review_actions set {name} = {others[kind].format(name)} where action = 'approve'"
                assert broken_constraint(database, change) == "review_actions_append_only", name

    def test_the_mark_says_what_the_undos_and_redos_in_the_ledger_say(self, database: Database, written: int) -> None:
        marks = "update review_actions set undone = {} where action = '{}'"
        assert broken_constraint(database, marks.format("true", "approve")) == "review_actions_undone"
        assert broken_constraint(database, marks.format("false", "add_cut_point")) == "review_actions_undone"
        review_store = reviews(database)
        review_store.undo("Ann")
        review_store.redo("Ann")
        assert broken_constraint(database, marks.format("true", "approve")) == "review_actions_undone"
        assert [entry.undone for entry in review_store.history() if entry.target_action_id is None] == [False, True]

    def test_a_reviewer_stays_who_they_are(self, database: Database, written: int) -> None:
        for change in ("name = 'Bob'", "oidc_subject = 's'"):
            assert broken_constraint(database, f"update reviewers set {change}") == "reviewers_append_only"
        run(database, "update reviewers set last_seen_at = now()")


def test_a_file_that_was_deleted_is_live_again_only_when_it_is_written_again(database: Database, some_clips: SomeClips) -> None:
    some_clips(state=ClipState.EXPORTED)
    for gone in ("obsolete", "deleted"):
        run(database, f"update clip_artifacts set state = '{gone}'")
        for wrong in {"live", "obsolete"} - {gone}:
            if (gone, wrong) != ("obsolete", "obsolete"):
                assert broken_constraint(database, f"update clip_artifacts set state = '{wrong}'") == "clip_artifacts_legal_transition"
    run(database, "update clip_artifacts set state = 'writing'", "update clip_artifacts set state = 'live'")


def test_times_follow_the_frames(database: Database, some_clips: SomeClips) -> None:
    first, second = some_clips(50)
    swapped = "update clips set start_time_seconds = case id when :first then 2 else 0 end, end_time_seconds = 5"
    with pytest.raises(CutError, match="begins at frame 50 begins at 0 s, not after the clip before it"):
        run(database, swapped, first=first.id)
    run(database, "update clips set start_time_seconds = 2.5, end_time_seconds = 5 where id = :second", second=second.id)


def test_a_pending_check_cannot_be_taken_away(database: Database, some_clips: SomeClips) -> None:
    some_clips(50)
    gap = "update clips set end_frame = 49 where start_frame = 0"
    for attempt in ("delete from clip_coverage_checks", "update clip_coverage_checks set source_video_id = 0"):
        assert broken_constraint(database, gap, attempt) == "clip_coverage_checks_stay"
    with pytest.raises(Exception, match="pending trigger events"):
        run(database, gap, "truncate clip_coverage_checks")
    run(database, "update clips set confidence = 0.5")


def filled(insert: str, columns: dict[str, str]) -> str:
    return insert.format(", ".join(columns), ", ".join(columns.values()))


def test_an_exported_clip_has_a_file(database: Database, some_clips: SomeClips) -> None:
    some_clips(state=ClipState.EXPORTED)
    assert broken_constraint(database, "update clips set is_virtual = true") == "clips_physical_when_exported_check"


def test_two_videos_cannot_hold_the_same_bytes_unless_one_is_said_to_be_a_duplicate(
    database: Database, a_source_video: ASourceVideo
) -> None:
    first, second = a_source_video(), a_source_video()
    same = "update source_videos set content_sha256 = repeat('a', 64)"
    assert broken_constraint(database, same) == "source_videos_content_sha256_key"
    run(database, "update source_videos set duplicate_of_id = :first where id = :second", same, first=first.id, second=second.id)


def test_a_duplicate_goes_no_further(database: Database, a_source_video: ASourceVideo) -> None:
    first, second = a_source_video(), a_source_video(state=SourceVideoState.DOWNLOADED)
    run(database, "update source_videos set duplicate_of_id = :first where id = :second", first=first.id, second=second.id)
    onwards = "update source_videos set state = 'preprocessing' where id = :second"
    assert broken_constraint(database, onwards, second=second.id) == "source_videos_duplicate_check"


def test_cut_points_read_as_json(database: Database, some_clips: SomeClips) -> None:
    clip = some_clips(30)[1]
    with database.read() as connection:
        found = connection.scalar(text("select cut_points from clips where id = :id"), {"id": clip.id})
    assert found == {"start_frame": 30, "end_frame": 100, "start_time_seconds": 1.2, "end_time_seconds": 4}
    assert clip.source_video_order == 30


@pytest.mark.parametrize("table", ["clips", "source_videos", "clip_artifacts"])
def test_the_time_of_a_change_is_kept(database: Database, some_clips: SomeClips, table: str) -> None:
    some_clips(state=ClipState.EXPORTED)
    with database.begin() as connection:
        before = connection.scalar(text(f"select updated_at from {table}"))
    run(database, f"update {table} set created_at = created_at")
    with database.begin() as connection:
        after = connection.scalar(text(f"select updated_at from {table}"))
        assert before is not None
        assert after is not None
        assert after > before


class TestStateAge:
    """`state_changed_at`: how long a row has been in its state, kept by a trigger."""

    def test_only_another_state_or_one_more_failed_try_begins_it_anew(self, database: Database, some_clips: SomeClips) -> None:
        (clip,) = some_clips(state=ClipState.REVIEW_APPROVED)
        for table in ("clips", "source_videos"):
            since = self.since(database, table)
            for change in ("created_at = created_at", "error = 'x'", "state = state", "attempts = 0", "state_changed_at = now()"):
                run(database, f"update {table} set {change}")
                assert self.since(database, table) == since, change
            run(database, f"update {table} set attempts = attempts + 1")
            assert self.since(database, table) > since
        since = self.since(database, "clips")
        ClipStore(database).advance(clip.id, ClipState.EXPORTING, ClipState.REVIEW_APPROVED)
        assert self.since(database, "clips") > since
        since = self.since(database, "source_videos")
        run(database, "update source_videos set state = 'detecting_scenes'")
        assert self.since(database, "source_videos") > since

    def test_the_last_failure_of_a_gold_master_has_its_own_time(self, database: Database, some_clips: SomeClips) -> None:
        some_clips()
        since = self.since(database, "source_videos")
        assert self.since(database, "source_videos", "gold_master_failed_at") is None
        run(database, "update source_videos set gold_master_attempts = 1")
        failed = self.since(database, "source_videos", "gold_master_failed_at")
        run(database, "update source_videos set gold_master_attempts = 0, gold_master_error = null")
        assert self.since(database, "source_videos", "gold_master_failed_at") == failed > since
        assert self.since(database, "source_videos") == since

    def since(self, database: Database, table: str, column: str = "state_changed_at") -> Any:
        with database.read() as connection:
            return connection.scalar(text(f"select {column} from {table}"))


def test_a_vector_search_uses_its_index(database: Database, some_clips: SomeClips) -> None:
    some_clips(*range(1, 100))
    run(
        database,
        "insert into embeddings (clip_id, model, strategy, dimensions, embedding) "
        "select id, 'm', 's', 512, (select array_agg(random()) from generate_series(1, 512) where id = id)::vector from clips",
        "analyze embeddings",
    )
    with database.begin() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        plan = connection.scalars(
            text(
                "explain select clip_id from embeddings where dimensions = 512 order by embedding::vector(512) <=> "
                "(select embedding::vector(512) from embeddings limit 1) limit 5"
            )
        )
        assert "embeddings_hnsw_512_idx" in "\n".join(plan)


def test_a_site_refuses_no_fewer_times_than_never(database: Database) -> None:
    insert = "insert into download_sites (site, not_before, refusals) values ('example.org', now(), -1)"
    assert broken_constraint(database, insert) == "download_sites_refusals_check"


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("(source_video_id, tags) values (:id, '{}')", "source_video_facts_tags_check"),
        ("(source_video_id, chapters) values (:id, '{}')", "source_video_facts_chapters_check"),
        ("(source_video_id, origins) values (:id, '[]')", "source_video_facts_origins_check"),
        ("(source_video_id, start_timecode) values (:id, '10 h')", "source_video_facts_start_timecode_check"),
        ("(source_video_id, timecode_rate) values (:id, '30/0')", "source_video_facts_timecode_rate_check"),
        ("(source_video_id) values (:id + 1)", "source_video_facts_source_video_id_fkey"),
    ],
)
def test_facts_have_their_shape_and_a_source_video(database: Database, values: str, constraint: str) -> None:
    video = SourceVideoStore(database).add("/a.mp4", "a")
    assert broken_constraint(database, f"insert into source_video_facts {values}", id=video.id) == constraint


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("('a.example', 'password', '', '', 'ada')", "site_access_part_check"),
        ("('A.example', 'cookies', '', '', 'ada')", "site_access_site_check"),
        ("('', 'cookies', '', '', 'ada')", "site_access_site_check"),
    ],
)
def test_what_is_stored_for_a_site_has_its_name_and_its_part(database: Database, values: str, constraint: str) -> None:
    assert broken_constraint(database, f"insert into site_access (site, part, sealed, told, changed_by) values {values}") == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("update subscriptions set every_seconds = 299", "subscriptions_every_check"),
        ("update subscriptions set limits = '[]'", "subscriptions_limits_check"),
        ("update subscriptions set address = repeat('x', 2001)", "subscriptions_address_check"),
        ("insert into subscriptions (address, title, every_seconds) values ('https://e.org/x', 'x', 300)", "subscriptions_address_key"),
        (
            "insert into subscription_members (subscription_id, member_sha256) values (99, 'x')",
            "subscription_members_subscription_id_fkey",
        ),
    ],
)
def test_a_subscription_has_its_shape(database: Database, change: str, constraint: str) -> None:
    run(database, "insert into subscriptions (address, title, every_seconds) values ('https://e.org/x', 'x', 300)")
    assert broken_constraint(database, change) == constraint


_NEW = "(source_video_id, looks_filepath, duration_seconds, frame_seconds, sample) values (:id + 9, 'k', 1, 1, '')"
_PIECE = "proxy_pieces (source_video_id, number, made_with, plan)"
_RELATED = "related_source_videos (source_video_id, other_id, kind"
_REPLACED = "source_video_replacements (new_id, old_id, asked_by_user_id"


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("source_video_making (source_video_id) values (:id + 9)", "source_video_making_source_video_id_fkey"),
        (f"{_PIECE} values (:id + 9, 0, 'm', '{{}}')", "proxy_pieces_source_video_id_fkey"),
        (f"{_PIECE} values (:id, -1, 'm', '{{}}')", "proxy_pieces_number_check"),
        (f"{_PIECE} values (:id, 0, 'm', '{{}}'), (:id, 0, 'm', '{{}}')", "proxy_pieces_source_video_id_number_key"),
        (f"source_video_looks {_NEW}", "source_video_looks_source_video_id_fkey"),
        (f"{_RELATED}) values (:id + 9, :id, 'again')", "related_source_videos_source_video_id_fkey"),
        (f"{_RELATED}) values (:id, :id + 9, 'again')", "related_source_videos_other_id_fkey"),
        (f"{_RELATED}, dismissed_by_user_id) values (:id, :other, 'again', 99)", "related_source_videos_dismissed_by_user_id_fkey"),
        (f"{_RELATED}) values (:id, :id, 'again')", "related_source_videos_other_check"),
        (f"{_RELATED}) values (:id, :other, 'friends')", "related_source_videos_kind_check"),
        (f"{_REPLACED}) values (:id + 9, :id, 1)", "source_video_replacements_new_id_fkey"),
        (f"{_REPLACED}) values (:id, :id + 9, 1)", "source_video_replacements_old_id_fkey"),
        (f"{_REPLACED}) values (:id, :other, 99)", "source_video_replacements_asked_by_user_id_fkey"),
        (f"{_REPLACED}) values (:id, :id, 1)", "source_video_replacements_other_check"),
        (f"{_REPLACED}, state) values (:id, :other, 1, 'perhaps')", "source_video_replacements_state_check"),
    ],
)
def test_what_belongs_to_two_source_videos_names_two_that_are_there(database: Database, values: str, constraint: str) -> None:
    other, video = (SourceVideoStore(database).add(path, "a") for path in ("/a.mp4", "/b.mp4"))
    ReviewerStore(database).named("ada")
    assert broken_constraint(database, f"insert into {values}", id=video.id, other=other.id) == constraint


A_TRANSCRIPT = (
    "insert into transcripts (source_video_id, kind, origin, subtitle_filepath, line_count, searchable) "
    "values (1, 'subtitle', 'site', 'a.vtt', 1, 'a')"
)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("update transcripts set kind = 'song'", "transcripts_kind_check"),
        ("update transcripts set origin = 'nobody'", "transcripts_origin_check"),
        ("update transcripts set source_video_id = 99", "transcripts_source_video_id_fkey"),
        (A_TRANSCRIPT, "transcripts_subtitle_filepath_key"),
        (
            "insert into transcript_lines (transcript_id, number, start_seconds, end_seconds, text) values (99, 1, 0, 1, 'a')",
            "transcript_lines_transcript_id_fkey",
        ),
        (
            "insert into transcript_lines (transcript_id, number, start_seconds, end_seconds, text) values (1, 1, 2, 1, 'a')",
            "transcript_lines_times_check",
        ),
        (
            "insert into given_thumbnails (source_video_id, thumbnail_filepath) values (99, 'thumbnails/a.png')",
            "given_thumbnails_source_video_id_fkey",
        ),
    ],
)
def test_a_transcript_and_what_a_person_gives_have_their_shape(database: Database, change: str, constraint: str) -> None:
    SourceVideoStore(database).add("/a.mp4", "a")
    run(database, A_TRANSCRIPT)
    assert broken_constraint(database, change) == constraint


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("(place, path, state, byte_size, version) values ('/in', '/in/a', 'lost', 1, '1')", "watched_files_state_check"),
        ("(place, path, state, byte_size, version) values ('/in', '/in/a', 'refused', 1, '1')", "watched_files_reason_check"),
        (
            "(place, path, state, byte_size, version, source_video_id) values ('/in', '/in/a', 'taken', 1, '1', 7)",
            "watched_files_source_video_id_fkey",
        ),
    ],
)
def test_a_watched_file_has_a_state_and_a_refused_one_its_reason(database: Database, values: str, constraint: str) -> None:
    assert broken_constraint(database, f"insert into watched_files {values}") == constraint


def test_what_is_measured_has_an_outcome(database: Database) -> None:
    change = "insert into measured_seconds values ('exports', 'perhaps', 1, 1, 1)"
    assert broken_constraint(database, change) == "measured_seconds_outcome_check"


def test_a_lease_of_a_run_has_a_state(database: Database) -> None:
    values = "values ('a', 'dead', 'here', 'w', 'p', now())"
    change = f"insert into run_leases (run_id, state, host, worker, process, expires_at) {values}"
    assert broken_constraint(database, change) == "run_leases_state_check"


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("(channel, subject, body, changes) values ('pigeon', 'a', 'b', '[]')", "alert_messages_channel_check"),
        (
            "(channel, subject, body, changes, sent_at, given_up_at) values ('mail', 'a', 'b', '[]', now(), now())",
            "alert_messages_end_check",
        ),
    ],
)
def test_a_message_about_alerts_has_a_channel_and_one_end(database: Database, values: str, constraint: str) -> None:
    assert broken_constraint(database, f"insert into alert_messages {values}") == constraint


def test_every_named_constraint_is_tried_here(database: Database) -> None:
    """A constraint that is added without a test makes this one fail. Primary keys and computed guards that cannot be broken are named."""
    unbreakable = {
        "clips_mece_ordering_check",  # source_video_order is computed from a column that cannot be null
        "clips_sequence_check",  # a sequence below 1 is never handed out
        "source_videos_next_clip_sequence_check",  # the counter only rises
        "clips_state_check",
        "source_videos_state_check",  # no illegal word is the end of a legal transition
        "source_videos_duplicate_of_id_fkey",
    }
    source = Path(__file__).read_text()
    with database.read() as connection:
        names = connection.scalars(
            text(
                "select conname from pg_constraint where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'u', 'x') "
                "and conrelid <> 0"
            )
        ).all()
    assert sorted(name for name in names if name not in source and name not in unbreakable) == []
