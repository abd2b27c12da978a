"""Runs between the queue and the workers, on a Redis of its own: what it has lost is found, and what it gives out twice is begun once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
import redis
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG

from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.run_queues import lock_of_run
from heaters_dagster.orchestration.instance import prepare_dagster_home
from heaters_dagster.orchestration.janitor import end_lost_in_broker
from heaters_dagster.settings import Settings
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.celery_broker import BrokerUnavailableError, listening, lost_messages
from resources.orchestrator.celery_launcher import HeatersCeleryLauncher, open_celery
from resources.orchestrator.celery_worker import execute
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG, LaunchRunContext
from resources.orchestrator.dagster_storage import opened_with
from resources.postgres.database import Database, lock_key
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.this_machine import eventually
from tests.two_hosts import Broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "redis") as broker:
        yield broker


@pytest.fixture
def shared(settings: Settings, broker: Broker) -> Settings:
    return replace(settings, broker_url=broker.url, broker_visibility_seconds=60)


@pytest.fixture
def instance(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """With the launcher of Celery, opened as a worker opens it."""
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_dagster_home(shared)))
    monkeypatch.setenv("HEATERS_BROKER_URL", str(shared.broker_url))
    with opened_with(shared), dg.DagsterInstance.get() as instance:
        launcher = HeatersCeleryLauncher(shared)
        launcher.register_instance(instance)
        instance._run_launcher = launcher
        yield instance


def launched(instance: dg.DagsterInstance, job: str = "export") -> dg.DagsterRun:
    run = instance.create_run_for_job(nothing, tags={"heaters/job": job}, status=dg.DagsterRunStatus.NOT_STARTED)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run_id=run.run_id)
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.STARTING
    return found


@dg.op
def does_nothing() -> None:
    pass


@dg.job
def nothing() -> None:
    does_nothing()


def test_a_run_waits_on_the_queue_of_its_kind_and_is_ended_when_redis_has_lost_it(
    instance: dg.DagsterInstance, broker: Broker, database: Database
) -> None:
    export, master = launched(instance), launched(instance, "archive_master")
    assert [run.tags[DAGSTER_CELERY_QUEUE_TAG] for run in (export, master)] == ["export", "archive_master"]
    with redis.Redis.from_url(broker.url) as client:
        assert (client.llen("export"), client.llen("archive_master")) == (1, 1)
        # Taken by a worker that has not acknowledged it: kombu keeps it elsewhere.
        client.hset("unacked", "1", client.lpop("archive_master") or b"")
        assert lost_messages([export, master], broker.url) == []
        assert end_lost_in_broker(instance, database.stage_is_busy) == []
        client.flushall()
    assert lost_messages([export, master], broker.url) == [export, master]
    assert end_lost_in_broker(instance, database.stage_is_busy) == [], "a worker may just have taken it, so two looks must agree"
    with database.first_free_lock([lock_key(lock_of_run(master.run_id), 0)]):  # a worker has taken it, and is slow to begin
        assert end_lost_in_broker(instance, database.stage_is_busy) == [export.run_id]
    assert end_lost_in_broker(instance, database.stage_is_busy) == [master.run_id]
    ended = instance.get_run_by_id(export.run_id)
    assert ended is not None
    assert (ended.status, "heaters/ended" in ended.tags) == (dg.DagsterRunStatus.CANCELED, True), "no try is counted, and nobody is told"
    assert end_lost_in_broker(instance, database.stage_is_busy) == []


def test_while_redis_does_not_answer_nothing_is_lost_and_the_doctor_says_so(shared: Settings, broker: Broker) -> None:
    run = dg.DagsterRun(job_name="export", run_id="0" * 32, tags={"heaters/job": "export"})
    assert lost_messages([run], broker.url) == [run]
    assert listening(open_celery(shared)) == {}
    broker.stop()
    assert lost_messages([run], broker.url) == []
    celery = open_celery(shared)
    celery.conf.broker_connection_timeout = celery.conf.broker_transport_options["max_retries"] = 1
    with pytest.raises(BrokerUnavailableError, match="Redis at HEATERS_BROKER_URL does not answer"):
        listening(celery)
    broker.start()


def test_a_message_that_redis_gives_out_twice_begins_its_run_once(
    instance: dg.DagsterInstance, shared: Settings, database: Database
) -> None:
    run = launched(instance)
    before = len(instance.all_logs(run.run_id))
    with database.first_free_lock([lock_key(lock_of_run(run.run_id), 0)]):  # another worker has it now
        assert execute(run.run_id, shared) == 0
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run_id=run.run_id)  # another had it, and died
    assert execute(run.run_id, shared) == 0
    assert len(instance.all_logs(run.run_id)) == before + 1


def test_a_worker_whose_disk_is_full_leaves_the_runs_to_others_until_there_is_room(
    instance: dg.DagsterInstance, shared: Settings, database: Database, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    """A worker without room is always free, and would take each run before those that work."""
    root = logging.getLogger()
    request.addfinalizer(partial(root.setLevel, root.level))
    root.setLevel(logging.ERROR)  # as Celery sets it in a worker
    video, work = SourceVideoStore(database).add("film.mp4", "film"), WorkFolder.of(shared)
    tags = {"heaters/job": "ingest", PARTITION_NAME_TAG: str(video.id)}
    run = instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
    free = work.room.free_bytes()
    wait = RoomWait("proxy", free // 2, 0)
    found_elsewhere = RoomWaitStore(database, host="another")
    found_elsewhere.put({video.id: [wait]})
    assert execute(run.run_id, shared) == 0, "the disk of another machine is full"
    RoomWaitStore(database, host=shared.host_name).put({video.id: [wait]})
    with ThreadPoolExecutor(1) as process:
        with work.attempt("export-1", bytes_needed=free * 4 // 5):
            working = process.submit(copy_context().run, execute, run.run_id, shared)  # with its settings
            assert eventually(lambda: "This process takes no more runs until there is room" in caplog.text)
            assert f"source video {video.id} waits for room on the disk: needs" in caplog.text
            with pytest.raises(TimeoutError):
                working.result(timeout=1)
        assert working.result(timeout=60) == 0
    assert "has room again" in caplog.text
    logging.getLogger("resources.media.ffmpeg").warning("film.mp4: ffmpeg (proxy) ended with code 1")
    assert "film.mp4: ffmpeg (proxy) ended with code 1" in caplog.text, "what ffmpeg said is shown by a worker too"
