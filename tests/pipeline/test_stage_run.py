"""What Dagster shows of a stage: the reason with the video's title, no red where nothing was tried, the same words for a cancellation.

On the persistent instance, because what the partitions show is what Dagster's tables in Postgres say.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetKey
from dagster._core.events import DagsterEvent
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from assets.failures import CANCELED
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.run_leases import LeaseState
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.janitor import settled_look, withdraw_unbegun
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_storage import HeatersRunCoordinator, assets_of
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.run_leases import RunLeases
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.leased import SHORT_LEASE_SECONDS, expire
from tests.pipeline_rows import cut_video, reviews, video_in

S, C = SourceVideoState, ClipState


class Operator:
    """Runs jobs as `heaters process` does, and looks at what Dagster has of them."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.definitions = heaters_definitions(settings)

    def run(self, job: str, video: SourceVideo, **options: object) -> dg.ExecuteInProcessResult:
        self.instance.add_dynamic_partitions("source_videos", [str(video.id)])
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=str(video.id), raise_on_error=False, **options
        )

    def colour(self, asset: str, key: str) -> str:
        """What the partition's dot says."""
        value = get_and_update_asset_status_cache_value(
            self.instance, AssetKey(asset), source_video_partitions, dynamic_partitions_loader=self.instance
        )
        if value is None:
            return "nothing"
        sets = {
            "failed": value.deserialize_failed_partition_subsets(source_video_partitions),
            "made": value.deserialize_materialized_partition_subsets(source_video_partitions),
        }
        return next((name for name, subset in sets.items() if key in subset.get_partition_keys()), "nothing")

    def planned_checks(self, run_id: str) -> list[str]:
        records = [
            record
            for key in self.definitions.resolve_asset_graph().asset_check_keys
            for record in self.instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        ]
        return [str(record.key.name) for record in records if record.run_id == run_id]


@pytest.fixture
def operator(settings: Settings) -> Iterator[Operator]:
    settings = replace(settings, detector="adaptive", allow_private_addresses=True)
    with open_instance(settings) as instance:
        yield Operator(settings, instance)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """What stands first on the run's failure line and on the step's."""
    (run_failure,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
    error = run_failure.job_failure_data.error
    assert error is not None
    return str(error.message).strip().removeprefix("dagster._core.definitions.events.Failure: ")


@pytest.mark.slow
def test_the_reason_stands_on_the_run_after_the_last_of_its_tries(operator: Operator, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    video = SourceVideoStore(database).add(f"http://127.0.0.1:{port}/closed.mp4", "closed")
    result = operator.run("ingest", video)
    reason = f"http://127.0.0.1:{port}/closed.mp4: the address does not answer"
    assert failure_of(result) == reason
    row = SourceVideoStore(database).load(video.id)
    assert (row.state, row.error, row.attempts) == (S.DOWNLOAD_FAILED, reason, 3)


def test_one_bad_file_paints_one_asset_red_and_says_why_there(operator: Operator, database: Database, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("these are notes, not a video\n" * 100)
    video = SourceVideoStore(database).add(str(notes), "Notes of May")
    RoomWaitStore(database, host="elsewhere").put({video.id: [RoomWait(asset, 1, 0) for asset in ("source_video", "gold_master")]})
    result = operator.run("ingest", video)
    assert set(RoomWaitStore(database).load()) == {(video.id, "gold_master")}, "a stage that has begun does not wait any more"
    key, reason = str(video.id), "Notes of May is not a video: it holds text"
    assert failure_of(result) == reason
    assert {asset: operator.colour(asset, key) for asset in ("source_video", "proxy", "keyframe_offsets", "virtual_clips")} == {
        "source_video": "failed",
        "proxy": "nothing",
        "keyframe_offsets": "nothing",
        "virtual_clips": "nothing",
    }
    assert operator.planned_checks(result.run_id) == []
    records = operator.instance.fetch_observations(dg.AssetRecordsFilter(AssetKey("source_video"), asset_partitions=[key]), limit=5).records
    (observation,) = [record.asset_observation for record in records]
    assert observation is not None
    assert {name: value.value for name, value in observation.metadata.items()} | {"state": ""} == {
        "source video": "Notes of May",
        "failed": reason,
        "state": "",
    }
    run = operator.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["heaters/title"] == "Notes of May"


def test_nothing_exported_while_clips_wait_is_not_green(operator: Operator, database: Database) -> None:
    clip, *_ = cut_video(database)
    video = SourceVideoStore(database).load(clip.source_video_id)
    result = operator.run("export", video)
    assert result.success
    assert operator.colour("exports", str(video.id)) == "nothing"
    reviews(database).skip([one.id for one in ClipStore(database).load_live(video.id)], reviewer="ada")
    assert operator.run("export", video).success
    assert operator.colour("exports", str(video.id)) == "made"


def submitted(operator: Operator, job: str, key: str, **options: object) -> dg.DagsterRun:
    """A run that a person started in the UI, or a backfill, as it comes out of the queue's submission."""
    by_hand = job == "__ASSET_JOB"
    definition = operator.definitions.resolve_implicit_global_asset_job_def() if by_hand else operator.definitions.resolve_job_def(job)
    new = dg.DagsterRunStatus.NOT_STARTED
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("heaters"), "__repository__"), definition.name)
    run = operator.instance.create_run_for_job(definition, tags={"dagster/partition": key}, status=new, remote_job_origin=origin, **options)
    coordinator = HeatersRunCoordinator(operator.settings)
    coordinator.register_instance(operator.instance)
    return coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type]


def test_a_run_made_by_hand_has_the_tags_that_the_limits_look_at(operator: Operator, database: Database) -> None:
    video = video_in(database, S.NEW)
    key = str(video.id)
    whole = submitted(operator, "ingest", key)
    assert (whole.status, whole.tags["heaters/job"], whole.tags["heaters/work"]) == (dg.DagsterRunStatus.QUEUED, "ingest", f"ingest:{key}")
    some = submitted(operator, "__ASSET_JOB", key, asset_selection=frozenset({AssetKey("gold_master"), AssetKey("exports")}))
    assert {name: some.tags[name] for name in ("heaters/job", "heaters/work", "heaters/title", "dagster/priority")} == {
        "heaters/job": "archive_master",
        "heaters/work": f"archive_master:{key}",
        "heaters/title": "test",
        "dagster/priority": "-20",
    }
    assert set(assets_of(some)) == {"gold_master", "exports"}


def test_a_queued_run_that_waits_longer_than_a_lease_holds_is_not_ended(operator: Operator, database: Database) -> None:
    run = submitted(operator, "ingest", str(video_in(database, S.NEW).id))
    leases = RunLeases(database, seconds=SHORT_LEASE_SECONDS)
    assert leases.load([run.run_id])[run.run_id].state is LeaseState.QUEUED
    expire(database, run.run_id)
    assert leases.load([run.run_id])[run.run_id].is_expired
    settled_look(operator.instance, replace(operator.settings, run_lease_seconds=SHORT_LEASE_SECONDS), database)
    assert not leases.load([run.run_id])[run.run_id].is_expired, "the scheduler has renewed it"
    waits = operator.instance.get_run_by_id(run.run_id)
    assert waits is not None
    assert waits.status is dg.DagsterRunStatus.QUEUED


@pytest.mark.parametrize("job", ["ingest", "archive_master"])
def test_a_run_that_is_canceled_in_the_queue_stays_away_until_a_person_retries(operator: Operator, database: Database, job: str) -> None:
    video = video_in(database, S.NEW) if job == "ingest" else video_in(database, S.DOWNLOADED, original_filepath="originals/x.mp4")
    run = submitted(operator, job, str(video.id))
    operator.instance.report_run_canceled(run)
    outlook = settled_look(operator.instance, operator.settings, database)
    assert job not in {wanted.job.value for wanted in outlook.wanted}
    row = SourceVideoStore(database).load(video.id)
    assert CANCELED in ((row.state, row.error)[1] or "", row.gold_master_error or "")
    SourceVideoStore(database).retry(video.id) if job == "ingest" else SourceVideoStore(database).retry_gold_master(video.id)
    again = {wanted.job.value for wanted in settled_look(operator.instance, operator.settings, database).wanted}
    assert "ingest" in again if job == "ingest" else True
    assert CANCELED not in (SourceVideoStore(database).load(video.id).error or "")


def test_what_a_killed_run_had_not_begun_is_not_red(operator: Operator, database: Database) -> None:
    video = video_in(database, S.NEW)
    key = str(video.id)
    operator.instance.add_dynamic_partitions("source_videos", [key])
    run = submitted(operator, "ingest", key)
    operator.instance.report_engine_event("started", run, step_key="source_video")
    start = DagsterEvent("STEP_START", run.job_name, step_key="source_video", message="started")
    operator.instance.report_dagster_event(start, run_id=run.run_id)
    operator.instance.report_run_failed(run)
    assets = ("source_video", "proxy", "virtual_clips")
    assert [operator.colour(asset, key) for asset in assets] == ["failed"] * 3
    withdraw_unbegun(operator.instance, run)
    assert [operator.colour(asset, key) for asset in assets] == ["failed", "nothing", "nothing"]
    assert operator.planned_checks(run.run_id) == []
