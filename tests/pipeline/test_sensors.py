"""Sensors on real rows and real run records: one look asks for what is due, and for nothing that is in flight."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance.types import CachingDynamicPartitionsLoader
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.tags import GRPC_INFO_TAG
from sqlalchemy import text

from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.due import FAILED_STARTS_BEFORE_A_PAUSE, pause_after_failed_starts
from heaters_dagster.domain.run_tags import ENDED_TAG, LOST_TAG
from heaters_dagster.domain.stages import EXPORTS, MAX_ATTEMPTS, Job
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.orchestration import janitor
from heaters_dagster.orchestration import outlook as facts
from heaters_dagster.orchestration.dead_runs import unfinished
from heaters_dagster.orchestration.janitor import cancel_running, end_dead_runs, settle_failed_run, settled_look
from heaters_dagster.orchestration.outlook import Outlook, SharedLook, look
from heaters_dagster.orchestration.sensors import MAX_IN_FLIGHT, MAX_IN_TICK
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.orchestrator.partition_names import add_partitions, remove_partitions
from resources.orchestrator.retired_partitions import retire_partitions
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.run_leases import RunLeases
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.source_video_removal import delete_source_video, finish_deletion
from tests.begun_steps import begin_step
from tests.conftest import SomeClips
from tests.leased import SHORT_LEASE_SECONDS, expire, held
from tests.pipeline_rows import cut_video, exported, reviews, video_in

S, C = SourceVideoState, ClipState
Status = dg.DagsterRunStatus


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Daemon:
    """Ticks sensors as the daemon does: partitions are added, runs are created."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        self.instance = instance
        self.definitions = heaters_definitions(settings)

    def tick(self, sensor: str, *, carry_out: bool = True) -> list[tuple[str, str, list[str]]]:
        """(job, partition key, assets) of the runs that one tick asks for; the daemon's part is done when `carry_out`."""
        repository = self.definitions.get_repository_def()
        context = dg.SensorEvaluationContext(
            instance_ref=None,
            instance=self.instance,
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=None,
            repository_name=repository.name,
            repository_def=repository,
            sensor_name=sensor,
            resources=repository.get_top_level_resources(),
        )
        # Dagster makes it only for an instance that has a reference; without it partitions added in the same tick are not seen.
        vars(context)["caching_dynamic_partitions_loader"] = CachingDynamicPartitionsLoader(self.instance)
        with context:
            data = repository.get_sensor_def(sensor).evaluate_tick(context)
        self.skip_message = data.skip_message
        asked = []
        for request in data.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        for request in data.run_requests or []:
            assert request.job_name is not None
            assert request.partition_key is not None
            assets = [key.to_user_string() for key in request.asset_selection or []]
            asked.append((request.job_name, request.partition_key, sorted(assets)))
            if carry_out:
                self.run_of(request.job_name, request.partition_key, assets, tags=dict(request.tags))
        return asked

    def run_of(
        self, job: str, key: str, assets: list[str], *, tags: dict[str, str] | None = None, status: dg.DagsterRunStatus = Status.STARTING
    ) -> dg.DagsterRun:
        return self.instance.create_run_for_job(
            self.definitions.resolve_job_def(job),
            tags={"dagster/partition": key, **(tags or {})},
            asset_selection=frozenset(dg.AssetKey(asset) for asset in assets),
            status=status,
        )


@pytest.fixture
def daemon(instance: dg.DagsterInstance, settings: Settings) -> Daemon:
    return Daemon(instance, settings)


def test_a_new_source_video_gets_its_partition_and_its_run_in_one_tick(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.NEW)
    assert daemon.tick("new_source_videos") == [
        ("ingest", str(video.id), ["keyframe_offsets", "proxy", "source_video", "virtual_clips"]),
    ]
    assert daemon.instance.get_dynamic_partitions("source_videos") == [str(video.id)]


def test_downloads_of_one_site_take_turns_and_why_they_wait_is_said(daemon: Daemon, database: Database) -> None:
    videos, turns = SourceVideoStore(database), SiteTurns(database, per_site=1, pause_seconds=0)
    first, second, other = (videos.add(f"https://{host}.org/{host}", host).id for host in ("one", "www.one", "other"))
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == [str(first), str(other)]
    for video_id in (first, other):
        videos.set_state(video_id, S.DOWNLOADING)
        videos.record_failure(video_id, S.DOWNLOAD_FAILED, "gone", transient=False)
    turns.refused("one.org", "its site answers 429", None)
    assert daemon.tick("new_source_videos") == []
    assert re.match(r"1 download must wait; the first waits until .* \(1 minute\): its site answers 429", daemon.skip_message)
    assert videos.load(second).state is S.NEW


def test_what_is_queued_is_not_asked_for_again(daemon: Daemon, database: Database) -> None:
    video_in(database, S.NEW)
    assert daemon.tick("new_source_videos")
    assert daemon.tick("new_source_videos") == []
    assert daemon.skip_message == "no source video waits to be ingested; queued or running: 1"


def test_a_row_that_commits_late_is_not_missed(daemon: Daemon, database: Database) -> None:
    first, late = video_in(database, S.NEW), video_in(database, S.NEW)
    with database.begin() as connection:
        connection.execute(text("delete from source_videos where id = :id"), {"id": first.id})
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == [str(late.id)]
    with database.begin() as connection:
        connection.execute(
            text("insert into source_videos (id, source, title) overriding system value values (:id, 'a', 'a')"), {"id": first.id}
        )
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == [str(first.id)]


def test_many_new_source_videos_are_asked_for_some_at_a_time(daemon: Daemon, database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("insert into source_videos (source, title) select 'a', 'a' from generate_series(1, 60)"))
    assert len(daemon.tick("new_source_videos")) == MAX_IN_TICK
    assert sum(len(daemon.tick("new_source_videos")) for _ in range(4)) == MAX_IN_FLIGHT - MAX_IN_TICK
    assert daemon.tick("new_source_videos") == []
    assert (
        daemon.skip_message
        == f"{60 - MAX_IN_FLIGHT} runs are due; {MAX_IN_FLIGHT} are queued or running, and more are started when those are done"
    )


def test_an_approval_becomes_an_export_run(daemon: Daemon, database: Database) -> None:
    clip, *_ = cut_video(database)
    assert daemon.tick("approvals_to_exports") == []
    assert daemon.skip_message == "no approved clip waits for its file"
    reviews(database).approve([clip.id], reviewer="ada")
    assert daemon.tick("approvals_to_exports") == [("export", str(clip.source_video_id), ["exports"])]


def test_an_export_becomes_searchable(daemon: Daemon, database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    exported(database, clip, object_store)
    assert daemon.tick("exported_clips_to_search") == [("enrich", str(clip.source_video_id), ["embeddings", "keyframes"])]


def test_an_archive_leads_to_a_clean_up(daemon: Daemon, database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    exported(database, clip, object_store)
    assert daemon.tick("archives_to_clean_up") == []
    reviews(database).archive([clip.id], reviewer="ada")
    assert daemon.tick("archives_to_clean_up") == [("clean_up", str(clip.source_video_id), ["archived_clips"])]


def test_a_gold_master_waits_until_nothing_is_on_its_way_to_review(daemon: Daemon, database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    other = video_in(database, S.PREPROCESSED)
    assert daemon.tick("gold_masters") == []
    database_row = SourceVideoStore(database)
    database_row.record_failure(other.id, S.DETECT_SCENES_FAILED, "no", transient=False)
    assert daemon.tick("gold_masters") == [("archive_master", str(clip.source_video_id), ["gold_master"])]


def test_what_another_process_works_on_is_not_asked_for(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    with database.stage_lock("proxy", video.id):
        assert daemon.tick("new_source_videos") == []
    assert daemon.tick("new_source_videos") == [("ingest", str(video.id), ["keyframe_offsets", "proxy", "virtual_clips"])]


def test_a_killed_worker_leads_to_a_new_run_and_counts_as_a_try(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    run = daemon.run_of("ingest", str(video.id), ["proxy", "keyframe_offsets"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "the worker was killed")

    assert daemon.tick("new_source_videos") == []  # the row gets the reason first

    told = SourceVideoStore(database).load(video.id)
    assert (told.state, told.attempts) == (S.PREPROCESS_FAILED, 1)
    assert told.error == "the process that worked on this ended without a message: it was killed, crashed, or ran out of memory"
    dead = daemon.instance.get_run_by_id(run.run_id)
    assert dead is not None
    assert dead.tags[LOST_TAG] == told.error, "the alert counts it, whichever machine noticed"
    grow_older(database, video.id)
    assert daemon.tick("new_source_videos") == [("ingest", str(video.id), ["keyframe_offsets", "proxy", "virtual_clips"])]


def test_runs_that_fail_before_their_work_begins_are_tried_one_at_a_time_with_pauses(daemon: Daemon, database: Database) -> None:
    """As with an installation that is renewed by halves: no row learns of it, so each look would start the same runs anew."""
    videos = [video_in(database, S.NEW) for _ in range(2)]
    for failed in range(FAILED_STARTS_BEFORE_A_PAUSE):
        assert [key for _, key, _ in daemon.tick("new_source_videos", carry_out=False)] == [str(video.id) for video in videos], failed
        run = daemon.run_of("ingest", str(videos[0].id), ["source_video"], status=Status.STARTED)
        daemon.instance.report_run_failed(run, "cannot import name 'Later' from 'heaters'\nTraceback")
    assert daemon.tick("new_source_videos") == []
    said = r"2 runs are due, but the last 3 runs of this job failed before the work began \(cannot import name 'Later' from 'heaters'\)"
    assert re.fullmatch(said + r"; the next is tried in 1?\d seconds?", daemon.skip_message), daemon.skip_message
    assert [SourceVideoStore(database).load(video.id).attempts for video in videos] == [0, 0]
    assert [pause_after_failed_starts(runs) for runs in (0, 2, 3, 4, 7, 8, 99)] == [None, None, 15, 30, 240, 300, 300]

    end_earlier(daemon.instance, seconds=60)
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == [str(videos[0].id)]
    assert daemon.tick("new_source_videos") == []  # that one shows whether it is over
    (begun,) = [record.dagster_run for record in unfinished(daemon.instance)]
    begin_step(daemon.instance, begun, "source_video")
    daemon.instance.report_run_failed(begun, "its site answers 404")
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == [str(video.id) for video in videos]


def test_a_worker_that_dies_again_and_again_is_given_up(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.DOWNLOADED)
    for _ in range(MAX_ATTEMPTS):
        SourceVideoStore(database).set_state(video.id, S.PREPROCESSING)
        run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
        daemon.instance.report_run_failed(run, "out of memory")
        assert settle_failed_run(daemon.instance.get_run_by_id(run.run_id) or run, daemon.instance, database)
        grow_older(database, video.id)
    assert daemon.tick("new_source_videos") == []
    assert SourceVideoStore(database).load(video.id).attempts == MAX_ATTEMPTS


def test_a_run_that_said_why_it_failed_is_not_told_again(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    SourceVideoStore(database).record_failure(video.id, S.PREPROCESS_FAILED, "a.mp4: no frame decodes", transient=False)
    run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "step failed")
    assert settle_failed_run(daemon.instance.get_run_by_id(run.run_id) or run, daemon.instance, database) == []
    assert SourceVideoStore(database).load(video.id).error == "a.mp4: no frame decodes"


def test_a_row_that_was_taken_up_again_is_left_alone(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "the worker was killed")
    with database.stage_lock("proxy", video.id):
        assert settle_failed_run(daemon.instance.get_run_by_id(run.run_id) or run, daemon.instance, database) == []
    assert SourceVideoStore(database).load(video.id).state is S.PREPROCESSING


def test_a_killed_further_export_has_the_reason_and_its_clip_stays_as_it_is(
    daemon: Daemon, database: Database, some_clips: SomeClips
) -> None:
    clip, store = some_clips(state=ClipState.EMBEDDED)[0], ExportStore(database)
    store.request(clip.id, "delivery")
    assert store.claim(clip.id, "delivery", f"final_clips/video_{clip.source_video_id}_clip_001_delivery.mp4")
    run = daemon.run_of("export", str(clip.source_video_id), ["exports"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "out of memory")
    assert daemon.tick("approvals_to_exports") == []
    (failed,) = [one for one in store.of_clips([clip.id])[clip.id] if one.profile == "delivery"]
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert "ended without a message" in str(failed.error)
    assert ClipStore(database).load(clip.id) == clip
    ClipStore(database).retry(clip.id)
    assert daemon.tick("approvals_to_exports") == [("export", str(clip.source_video_id), ["exports"])]


def test_a_killed_export_tells_its_clip(daemon: Daemon, database: Database) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve([clip.id], reviewer="ada")
    ClipStore(database).claim(clip.id, EXPORTS, ["final_clips/video_1_clip_001.mp4"])
    run = daemon.run_of("export", str(clip.source_video_id), ["exports"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "the worker was killed")
    assert daemon.tick("approvals_to_exports") == []
    told = ClipStore(database).load(clip.id)
    assert (told.state, told.attempts) == (C.EXPORT_FAILED, 1)


def test_a_slow_look_still_finds_the_run_that_was_killed_at_once(
    daemon: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve([clip.id], reviewer="ada")
    ClipStore(database).claim(clip.id, EXPORTS, ["final_clips/video_1_clip_001.mp4"])
    run = daemon.run_of("export", str(clip.source_video_id), ["exports"], status=Status.STARTED)
    daemon.instance.report_run_failed(run, "the worker was killed")
    load = facts.load_video_facts

    def slowly(*arguments: Any, **options: Any) -> Any:
        found = load(*arguments, **options)
        time.sleep(2)
        return found

    monkeypatch.setattr(facts, "load_video_facts", slowly)
    assert daemon.tick("approvals_to_exports") == []
    assert ClipStore(database).load(clip.id).state == C.EXPORT_FAILED


def test_a_person_who_cancels_a_run_is_heeded(daemon: Daemon, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
    daemon.instance.report_run_canceled(run)
    assert daemon.tick("new_source_videos") == []
    told = SourceVideoStore(database).load(video.id)
    assert (told.state, told.attempts) == (S.PREPROCESS_FAILED, MAX_ATTEMPTS)
    assert told.error == "canceled in Dagster by a person; heaters retry starts it again"


def test_gold_masters_that_die_again_and_again_wait_for_a_person(daemon: Daemon, database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    videos, key = SourceVideoStore(database), str(clip.source_video_id)
    for number in range(MAX_ATTEMPTS):
        assert videos.load(clip.source_video_id).gold_master_attempts == number
        if number:
            assert daemon.tick("gold_masters") == [], "not at once"
            grow_older(database, clip.source_video_id)
        assert daemon.tick("gold_masters")
        (run,) = daemon.instance.get_runs(dg.RunsFilter(statuses=[Status.STARTING], tags={"dagster/partition": key}))
        begin_step(daemon.instance, run, "gold_master")
        daemon.instance.report_run_failed(run, "the worker was killed")
        settle_failed_run(daemon.instance.get_run_by_id(run.run_id) or run, daemon.instance, database)
    assert "ended without a message" in str(videos.load(clip.source_video_id).gold_master_error)
    assert daemon.tick("gold_masters") == []


def test_a_run_whose_lease_was_lost_counts_a_try_of_what_it_had_begun_and_is_due_at_once(
    daemon: Daemon, database: Database, leased: Settings
) -> None:
    """A machine that was switched off, a process that ran out of memory: who knows? Its pool slots are free, its work is done again."""
    video = video_in(database, S.PREPROCESSING)
    run = daemon.run_of("ingest", str(video.id), ["proxy", "keyframe_offsets"], status=Status.STARTED)
    begin_step(daemon.instance, run, "proxy")
    daemon.instance.event_log_storage.set_concurrency_slots("encode", 1)
    assert daemon.instance.event_log_storage.claim_concurrency_slot("encode", run.run_id, "proxy").is_claimed
    held(database, run.run_id, host="worker-7")
    assert settled_look(daemon.instance, leased, database).wanted == (), "as long as it holds, nobody else's machine ends it"
    expire(database, run.run_id)
    for tries in range(1, MAX_ATTEMPTS):
        (wanted,) = settled_look(daemon.instance, leased, database).wanted
        assert wanted.partition_key == str(video.id)
        told = SourceVideoStore(database).load(video.id)
        assert (told.state, told.attempts, told.error) == (S.PREPROCESSING, tries, None)
        assert settle_failed_run(daemon.instance.get_run_by_id(run.run_id) or run, daemon.instance, database) == []
        run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
        begin_step(daemon.instance, run, "proxy")
        held(database, run.run_id, host="worker-7")
        expire(database, run.run_id)
    assert settled_look(daemon.instance, leased, database).wanted == (), "it would go round for ever"
    told = SourceVideoStore(database).load(video.id)
    assert (told.state, told.attempts) == (S.PREPROCESS_FAILED, MAX_ATTEMPTS)
    assert str(told.error).startswith("the process that worked on this on worker-7 gives no sign of life: it was killed, crashed")
    statuses = {daemon.instance.get_run_by_id(record.run_id).status for record in daemon.instance.get_runs()}  # type: ignore[union-attr]
    assert statuses == {Status.FAILURE}
    assert not daemon.instance.event_log_storage.get_concurrency_info("encode").active_run_ids


def test_a_lease_that_was_lost_before_the_work_began_counts_nothing(daemon: Daemon, database: Database, leased: Settings) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    waits_for_its_pool = daemon.run_of("archive_master", str(clip.source_video_id), ["gold_master"], status=Status.STARTED)
    held(database, waits_for_its_pool.run_id)
    expire(database, waits_for_its_pool.run_id)
    assert [run.job for run in settled_look(daemon.instance, leased, database).wanted] == ["archive_master"]
    assert SourceVideoStore(database).load(clip.source_video_id).gold_master_attempts == 0
    makes_it = daemon.run_of("archive_master", str(clip.source_video_id), ["gold_master"], status=Status.STARTED)
    begin_step(daemon.instance, makes_it, "gold_master")
    held(database, makes_it.run_id)
    expire(database, makes_it.run_id)
    assert [run.job for run in settled_look(daemon.instance, leased, database).wanted] == ["archive_master"]
    assert SourceVideoStore(database).load(clip.source_video_id).gold_master_attempts == 1


def test_a_clip_whose_export_was_lost_counts_a_try_and_is_exported_again(daemon: Daemon, database: Database, leased: Settings) -> None:
    clip, *_ = cut_video(database)
    reviews(database).approve([clip.id], reviewer="ada")
    ClipStore(database).claim(clip.id, EXPORTS, ["final_clips/video_1_clip_001.mp4"])
    ExportStore(database).request(clip.id, "delivery")
    run = daemon.run_of("export", str(clip.source_video_id), ["exports"], status=Status.STARTED)
    begin_step(daemon.instance, run, "exports")
    held(database, run.run_id)
    expire(database, run.run_id)
    assert [(run.job, run.assets) for run in settled_look(daemon.instance, leased, database).wanted] == [("export", ("exports",))]
    told = ClipStore(database).load(clip.id)
    assert (told.state, told.attempts, ClipStore(database).attempts(clip.id, EXPORTS)) == (C.EXPORTING, 1, 1)


def test_a_run_that_waits_is_not_dead_however_long_nobody_hears_of_it(daemon: Daemon, database: Database, leased: Settings) -> None:
    """As in a broker. `heaters process` waits for it only while a scheduler looks after it."""
    video = video_in(database, S.NEW)
    run = daemon.run_of("ingest", str(video.id), ["source_video"], status=Status.STARTING)
    held(database, run.run_id, state="launched")
    expire(database, run.run_id)
    of_nobody = settled_look(daemon.instance, leased, database, is_daemon=False)
    assert [wanted.partition_key for wanted in of_nobody.wanted] == [str(video.id)]
    assert settled_look(daemon.instance, leased, database).wanted == ()
    assert settled_look(daemon.instance, leased, database, is_daemon=False).wanted == (), "the scheduler has renewed it"
    waits = daemon.instance.get_run_by_id(run.run_id)
    assert waits is not None
    assert waits.status is Status.STARTING


def test_a_look_says_what_is_to_be_settled_and_changes_nothing(daemon: Daemon, database: Database, leased: Settings) -> None:
    killed, canceled, switched_off = (video_in(database, S.PREPROCESSING) for _ in range(3))
    runs = [
        daemon.run_of("ingest", str(video.id), ["proxy"], tags=tags, status=Status.STARTED)
        for video, tags in (
            (killed, {}),
            (canceled, {}),
            (switched_off, {}),
        )
    ]
    held(database, runs[2].run_id)
    expire(database, runs[2].run_id)
    daemon.instance.report_run_failed(runs[0], "the worker was killed")
    daemon.instance.report_run_canceled(runs[1])

    def stored() -> list[Any]:
        rows = [(video.state, video.attempts, video.error) for video in SourceVideoStore(database).load_all()]
        records = [daemon.instance.get_run_by_id(run.run_id) for run in runs]
        return rows + [(record.status, record.tags) for record in records if record is not None]

    before = stored()
    for _ in range(2):
        outlook = look(daemon.instance, leased, database)
        assert outlook.wanted == (), "what is to be settled comes first"
        assert {run.run_id for run in outlook.ended} == {runs[0].run_id, runs[1].run_id}
        assert [record.dagster_run.run_id for record in outlook.canceled] == [runs[1].run_id]
        assert [dead.record.dagster_run.run_id for dead in outlook.runs.dead] == [runs[2].run_id]
    assert stored() == before

    outlook = settled_look(daemon.instance, leased, database)
    assert [run.partition_key for run in outlook.wanted] == [str(switched_off.id)]
    assert (outlook.runs.dead, outlook.canceled, outlook.ended) == ((), (), ())
    states = {video.id: (video.state, video.attempts) for video in SourceVideoStore(database).load_all()}
    assert states == {
        killed.id: (S.PREPROCESS_FAILED, 1),
        canceled.id: (S.PREPROCESS_FAILED, MAX_ATTEMPTS),
        switched_off.id: (S.PREPROCESSING, 0),
    }


def test_a_run_is_ended_by_its_own_machine_as_soon_as_its_process_has_ended(daemon: Daemon, database: Database, settings: Settings) -> None:
    video, host = video_in(database, S.PREPROCESSING), database.host
    mark = "import sys; from resources.files.this_process import process_mark; print(process_mark(), flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    its_mark = process.stdout.readline().strip()
    run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
    held(database, run.run_id, host=host, process=its_mark)
    assert end_dead_runs(daemon.instance, settings, database) == []
    process.communicate()
    held(database, run.run_id, host="another", process=its_mark)
    assert end_dead_runs(daemon.instance, settings, database) == [], "of another machine nothing is known"
    held(database, run.run_id, host=host, process=its_mark)
    assert end_dead_runs(daemon.instance, settings, database) == [run.run_id]


def test_a_run_that_was_launched_here_ends_with_its_code_server(daemon: Daemon, database: Database, settings: Settings) -> None:
    video, host = video_in(database, S.NEW), database.host
    gone = {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/nowhere/code.sock"}'}
    run = daemon.run_of("ingest", str(video.id), ["source_video"], tags=gone)
    held(database, run.run_id, state="launched")
    assert end_dead_runs(daemon.instance, settings, database) == []
    held(database, run.run_id, state="launched", host=host)
    assert daemon.tick("new_source_videos")
    ended = daemon.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is Status.CANCELED
    assert ENDED_TAG in ended.tags


def test_the_end_of_heaters_up_cancels_the_runs_that_it_started_and_no_others(
    daemon: Daemon, database: Database, settings: Settings, tmp_path: Path
) -> None:
    code_socket, runs = tmp_path / "code.sock", []
    for host, socket in ((database.host, code_socket), ("another", code_socket), (database.host, tmp_path / "another.sock")):
        tags = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": str(socket)})}
        runs.append(daemon.run_of("ingest", str(video_in(database, S.NEW).id), ["source_video"], tags=tags, status=Status.STARTED))
        held(database, runs[-1].run_id, host=host)
    leases = RunLeases(database, seconds=settings.run_lease_seconds)
    assert cancel_running(daemon.instance, "heaters up was ended", leases=leases, code_socket=code_socket) == [runs[0].run_id]
    ended = [daemon.instance.get_run_by_id(run.run_id) for run in runs]
    assert [run.status for run in ended if run is not None] == [Status.CANCELING, Status.STARTED, Status.STARTED]


def test_a_run_without_a_lease_gets_one_that_nobody_renews(daemon: Daemon, database: Database, leased: Settings) -> None:
    """A run that an older Heaters began: it ends unless its process still holds a lock."""
    video = video_in(database, S.PREPROCESSING)
    run = daemon.run_of("ingest", str(video.id), ["proxy"], status=Status.STARTED)
    assert settled_look(daemon.instance, leased, database).wanted == ()
    expire(database, run.run_id)
    with database.stage_lock("proxy", video.id):
        assert end_dead_runs(daemon.instance, leased, database) == []
    assert end_dead_runs(daemon.instance, leased, database) == [run.run_id]


def test_every_sensor_runs_by_itself_and_looks_whenever_the_daemon_does(daemon: Daemon) -> None:
    sensors = daemon.definitions.get_repository_def().sensor_defs
    assert {sensor.name for sensor in sensors} == {
        "new_source_videos",
        "approvals_to_exports",
        "exported_clips_to_search",
        "archives_to_clean_up",
        "gold_masters",
        "run_failures",
        "watched_places",
        "what_waits",
        "alerts",
        "due_subscriptions",
    }
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}
    assert {sensor.minimum_interval_seconds for sensor in sensors if sensor.name not in {"what_waits", "alerts"}} == {1}


def grow_older(database: Database, source_video_id: int) -> None:
    """As if the row had been in its state, and its gold master failed, for an hour."""
    with database.begin() as connection:
        connection.execute(text("alter table source_videos disable trigger user"))
        connection.execute(
            text(
                "update source_videos set state_changed_at = state_changed_at - interval '1 hour', "
                "gold_master_failed_at = gold_master_failed_at - interval '1 hour' where id = :id"
            ),
            {"id": source_video_id},
        )
        connection.execute(text("alter table source_videos enable trigger user"))


def end_earlier(instance: dg.DagsterInstance, *, seconds: float) -> None:
    """As if the runs that have ended had done so `seconds` earlier."""
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        connection.execute(RunsTable.update().values(update_timestamp=datetime.now(UTC) - timedelta(seconds=seconds)))


@pytest.fixture
def leased(settings: Settings) -> Settings:
    """Settings of a machine on which leases expire: see `tests.leased`."""
    return replace(settings, run_lease_seconds=SHORT_LEASE_SECONDS)


def test_the_partition_of_a_deleted_source_video_goes_and_stays_away(daemon: Daemon, database: Database, object_store: ObjectStore) -> None:
    def partitions() -> list[str]:
        return sorted(daemon.instance.get_dynamic_partitions("source_videos"))

    videos = [video_in(database, S.NEW).id for _ in range(3)]
    daemon.tick("new_source_videos", carry_out=False)
    kept, gone, half = (str(video_id) for video_id in videos)
    assert partitions() == [kept, gone, half]
    for video_id in videos[1:]:
        delete_source_video(video_id, reviewer="ada", database=database, objects=object_store)  # as the page does
    with database.begin() as connection:  # one that was killed before its objects were gone
        connection.execute(text("update source_videos set original_filepath = 'originals/x.mp4' where id = :id"), {"id": videos[2]})
    for sensor in ("new_source_videos", "archives_to_clean_up"):
        daemon.tick(sensor, carry_out=False)
        assert partitions() == [kept, half], "its clean-up needs it"
    finish_deletion(videos[2], database=database, objects=object_store)
    daemon.tick("archives_to_clean_up", carry_out=False)
    assert partitions() == [kept]
    daemon.instance.add_dynamic_partitions("source_videos", [gone])  # as after a kill between the deletion and here
    grow_older(database, videos[1])
    daemon.tick("new_source_videos", carry_out=False)
    assert partitions() == [kept, gone], "a process looks at an old deletion once"
    janitor._seen_deletions.cache_clear()
    for sensor in ("new_source_videos", "archives_to_clean_up", "new_source_videos"):
        daemon.tick(sensor, carry_out=False)
        assert partitions() == [kept]


def test_partitions_with_nothing_to_do_retire_and_come_back_with_work(daemon: Daemon, database: Database) -> None:
    def partitions() -> list[int]:
        return sorted(int(key) for key in daemon.instance.get_dynamic_partitions("source_videos"))

    decided, in_review, approved, new = cut_video(database), cut_video(database), cut_video(database), video_in(database, S.NEW)
    without_master = cut_video(database, gold_master=False)
    reviews(database).skip([clip.id for clip in decided], reviewer="ada")
    reviews(database).approve([approved[0].id], reviewer="ada")
    ids = [*(clips[0].source_video_id for clips in (decided, in_review, approved, without_master)), new.id]
    daemon.instance.add_dynamic_partitions("source_videos", [str(one) for one in ids])
    retire = partial(retire_partitions, daemon.instance, database)
    assert retire(most=5) == []
    assert retire(most=4, in_flight={ids[0]}) == [ids[1]]
    daemon.instance.add_dynamic_partitions("source_videos", [str(ids[1])])
    assert retire(most=4) == [ids[0]], "first the one on which everything is decided"
    assert retire(most=0) == [ids[1]], "then the one in review; what has work stays"
    assert partitions() == sorted(ids[2:])

    reviews(database).approve([decided[1].id], reviewer="bo")
    assert ("export", str(ids[0])) in {(job, key) for job, key, _ in daemon.tick("approvals_to_exports")}
    assert partitions() == sorted([ids[0], *ids[2:]])


def test_thousands_of_partitions_are_added_and_removed_and_others_stay(daemon: Daemon) -> None:
    names = partial(daemon.instance.get_dynamic_partitions, "source_videos")
    daemon.instance.add_dynamic_partitions("others", ["7"])
    add_partitions(daemon.instance, range(1, 2_502))
    add_partitions(daemon.instance, range(1, 3))
    assert names() == [str(one) for one in range(1, 2_502)]
    assert remove_partitions(daemon.instance, range(7, 4_000)) == list(range(7, 2_502))
    assert names() == ["1", "2", "3", "4", "5", "6"]
    assert daemon.instance.get_dynamic_partitions("others") == ["7"]


def test_what_waits_is_reported_when_it_changes(daemon: Daemon, database: Database) -> None:
    video_in(database, S.NEW)
    repository = daemon.definitions.get_repository_def()

    def report(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=daemon.instance, cursor=cursor, resources={"database": repository.get_top_level_resources()["database"]}
        )
        return repository.get_sensor_def("what_waits")(context)  # type: ignore[return-value]

    told = report(None)
    assert isinstance(told, dg.SensorResult)
    (observation,) = told.asset_events
    assert observation.metadata["source videos that wait"].value == 1
    assert "| 1 source video | to be fetched |" in str(observation.metadata["report"].value)
    assert isinstance(report(told.cursor), dg.SkipReason)
    cut_video(database)
    assert isinstance(report(told.cursor), dg.SensorResult)


def test_sensors_share_a_look_but_none_acts_on_one_from_before_its_own_runs(
    instance: dg.DagsterInstance, settings: Settings, database: Database
) -> None:
    shared = SharedLook()
    made: list[Outlook] = []

    def anew() -> Outlook:
        made.append(settled_look(instance, settings, database))
        return made[-1]

    def ticks(jobs: Iterable[Job], asking: Job | None = None) -> int:
        """How many looks these sensors take, one after the other."""
        before = len(made)
        for job in jobs:
            assert shared.for_job(job, anew) is made[-1]
            shared.asked(job, 3 if job is asking else 0)
        return len(made) - before

    assert ticks(Job) == len(Job), "nobody knows yet what they asked for before"
    assert ticks([Job.INGEST]) == 0
    assert ticks([Job.INGEST]) == 1, "not the same one twice"
    assert ticks([Job.EXPORT, Job.ENRICH, Job.CLEAN_UP, Job.ARCHIVE_MASTER], asking=Job.EXPORT) == 0
    assert ticks([Job.INGEST, Job.EXPORT]) == 2, "runs that it asked for may not have been there when another one looked"
    assert ticks([Job.INGEST]) == 0
    time.sleep(SharedLook.FRESH_SECONDS)
    assert ticks([Job.ENRICH, *set(Job) - {Job.ENRICH}]) == 1


def test_a_run_without_room_on_the_disk_waits_and_is_asked_for_when_there_is_room(
    instance: dg.DagsterInstance, settings: Settings, database: Database
) -> None:
    video = video_in(database, S.NEW, source_bytes=3 * 10**9)
    small = video_in(database, S.NEW)
    full = Daemon(instance, replace(settings, keep_free_mb=10**8))
    assert [key for _, key, _ in full.tick("new_source_videos")] == [str(small.id)], "nobody knows yet what it needs"
    for _ in range(2):
        assert full.tick("new_source_videos") == []
        assert full.skip_message == "1 run waits for room; source video 1 waits for room on the disk: needs 3 GB, nothing is free"
    assert (SourceVideoStore(database).load(video.id).state, SourceVideoStore(database).load(video.id).attempts) == (S.NEW, 0)
    lists, waits = SourceVideoLists(database), RoomWaitStore(database)
    assert [one.waits["source_video"].words for one in lists.newest(limit=9) if one.waits] == [
        waits.load()[video.id, "source_video"].wait.words
    ]
    # A stage of the other run finds no room: what it says stays while its run has not ended, and counts afterwards.
    waits.put({small.id: [RoomWait("source_video", 5 * 10**9, 0)]})
    full.tick("new_source_videos")
    assert set(waits.load()) == {(video.id, "source_video"), (small.id, "source_video")}
    assert [key for _, key, _ in Daemon(instance, settings).tick("new_source_videos")] == [str(video.id)]
    assert set(waits.load()) == {(small.id, "source_video")}


def test_what_another_machine_found_to_have_no_room_is_tried_again_after_a_while(
    instance: dg.DagsterInstance, settings: Settings, database: Database
) -> None:
    video = video_in(database, S.NEW)
    RoomWaitStore(database, host="elsewhere").put({video.id: [RoomWait("source_video", 5 * 10**9, 0)]})
    assert settled_look(instance, settings, database).wanted == ()
    with database.begin() as connection:
        connection.execute(text("update room_waits set seen_at = seen_at - interval '2 minutes'"))
    assert [run.partition_key for run in settled_look(instance, settings, database).wanted] == [str(video.id)]
    assert RoomWaitStore(database).load() == {}


def test_with_a_broker_what_one_worker_has_no_room_for_is_asked_for_again_at_once(
    instance: dg.DagsterInstance, settings: Settings, database: Database
) -> None:
    """The worker without room takes no more, so that another does it. What it said stays until one begins, or nothing is to be done."""
    settings = replace(settings, broker_url="redis://elsewhere")
    video, done = video_in(database, S.NEW), video_in(database, S.DOWNLOADED)
    waits, here = RoomWaitStore(database, host="elsewhere"), RoomWaitStore(database)
    waits.put({one.id: [RoomWait("source_video", 5 * 10**9, 0)] for one in (video, done)})
    for _ in range(2):
        assert (video.id, "source_video") in [
            (int(run.partition_key), run.assets[0]) for run in settled_look(instance, settings, database).wanted
        ]
        assert set(here.load()) == {(video.id, "source_video")}


def test_a_watched_folder_brings_source_videos_with_their_partitions(
    instance: dg.DagsterInstance, settings: Settings, database: Database, tmp_path: Path
) -> None:
    daemon = Daemon(instance, settings)
    daemon.tick("watched_places")
    assert daemon.skip_message == "no place is watched: HEATERS_WATCH is not set"
    folder = tmp_path / "incoming"
    daemon = Daemon(instance, replace(settings, watch=(str(folder),), watch_seconds=1))
    daemon.tick("watched_places")
    assert str(daemon.skip_message).startswith(f"{folder} cannot be read (No such file or directory). Is its disk connected?")
    daemon.tick("watched_places")
    assert daemon.skip_message == "looked a moment ago"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"video")
    for _ in range(2):
        with database.begin() as connection:
            connection.execute(text("update watched_places set looked_at = looked_at - interval '1 minute'"))
        daemon.tick("watched_places")
    assert instance.get_dynamic_partitions("source_videos") == ["1"]
    assert [key for _, key, _ in daemon.tick("new_source_videos")] == ["1"]
