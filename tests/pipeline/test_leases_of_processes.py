"""Runs of real processes: one that a person starts by `dagster asset materialize` and that waits for a pool; one of a code server that
is told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._cli.job import execute_launch_command
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster_shared.cli import WorkspaceOpts
from sqlalchemy import text

from heaters_dagster.commands import health
from heaters_dagster.domain.run_tags import ENDED_TAG, LOST_TAG
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import open_instance, prepare_dagster_home
from heaters_dagster.orchestration.janitor import end_dead_runs, settled_look
from heaters_dagster.settings import Settings, child_environment, load_settings
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG
from resources.orchestrator.leased_runs import keeper_of, leases_of
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from tests.leased import SHORT_LEASE_SECONDS
from tests.media_files import ffmpeg, make_video
from tests.pipeline_rows import video_in
from tests.this_machine import eventually, free_port
from tests.warm_process import started

pytestmark = pytest.mark.folder

MATERIALIZE = """
import sys
from dagster._cli.asset import asset_materialize_command
asset_materialize_command(["--select", "gold_master", "--partition", sys.argv[1], "-m", "heaters_dagster.definitions"])
"""


@pytest.mark.slow
def test_dagster_asset_materialize_keeps_its_lease_while_it_waits_for_a_pool_and_loses_it_with_its_host(
    settings: Settings, database: Database
) -> None:
    alpha = replace(settings, run_lease_seconds=SHORT_LEASE_SECONDS, host_name="alpha")
    beta, of_beta = replace(alpha, host_name="beta"), Database.connect(database.url, host="beta")
    video = video_in(database, SourceVideoState.DOWNLOADED, original_filepath="originals/video_1.mp4")
    partition = str(video.id)
    with open_instance(beta) as instance:
        slots = instance.event_log_storage
        slots.set_concurrency_slots("gold_master", 1)
        assert slots.claim_concurrency_slot("gold_master", "another run", "gold_master").is_claimed
        instance.add_dynamic_partitions("source_videos", [partition])

        def waiting() -> set[str]:
            return {step.run_id for step in slots.get_concurrency_info("gold_master").pending_steps}

        environment = child_environment(alpha, DAGSTER_HOME=str(prepare_dagster_home(alpha)))
        process = started(MATERIALIZE, partition, environment=environment)
        try:
            assert eventually(lambda: len(waiting()) == 2, seconds=120), "it did not wait for the pool"
            (run,) = instance.get_runs()
            assert (run.status, waiting()) == (dg.DagsterRunStatus.STARTED, {"another run", run.run_id})

            def lease() -> tuple[str, str, timedelta]:
                with database.read() as connection:
                    row = connection.execute(text("select host, state, renewed_at - since as held from run_leases")).one()
                return row.host, row.state, row.held

            assert eventually(lambda: lease()[2] > timedelta(seconds=1.5 * SHORT_LEASE_SECONDS))
            assert lease()[:2] == ("alpha", "working")
            assert end_dead_runs(instance, beta, of_beta) == []
        finally:
            process.kill()
            process.wait()
        assert eventually(lambda: end_dead_runs(instance, beta, of_beta) == [run.run_id])
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert "on alpha gives no sign of life" in ended.tags[LOST_TAG]
        assert waiting() == {"another run"}
        assert SourceVideoStore(database).load(video.id).gold_master_attempts == 0, "it had not begun"
        slots.delete_concurrency_limit("gold_master")
    of_beta.dispose()


@pytest.mark.slow
def test_a_code_server_that_is_told_to_end_hands_its_runs_over(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`heaters serve code`, as a container or service ends it, with a proxy under way."""
    port = free_port()
    own = replace(settings, detector="adaptive", code_server=f"127.0.0.1:{port}")
    film, film_of_minutes = make_video(tmp_path / "film.mp4", frames=48), tmp_path / "long.mp4"
    ffmpeg(["-stream_loop", "250", "-i", str(film), "-c", "copy"], film_of_minutes)
    video = SourceVideoStore(database).add(str(film_of_minutes), "film")
    environment = child_environment(own, DAGSTER_HOME=str(prepare_dagster_home(own)))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()  # Dagster's command opens an instance of its own, with the settings of the environment
    command = [sys.executable, "-m", "heaters_dagster.commands.up.code_server", own.code_server]
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        assert health._problem("code", own, live=True) is not None, "it has just been started"
        assert eventually(lambda: health._problem("code", own, live=False) is None, seconds=120, pause=0.3)
        place = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name=f"grpc:{own.code_server}")
        with open_instance(own) as instance, WorkspaceProcessContext(instance, place) as process_context:
            instance.add_dynamic_partitions("source_videos", [str(video.id)])
            options = WorkspaceOpts(grpc_host="127.0.0.1", grpc_port=port)
            tags = json.dumps({PARTITION_NAME_TAG: str(video.id)})
            run = execute_launch_command(instance=instance, workspace_opts=options, job_name="ingest", tags=tags)
            instance.launch_run(run.run_id, process_context.create_request_context())
            videos = SourceVideoStore(database)
            assert eventually(lambda: videos.load(video.id).state is SourceVideoState.PREPROCESSING, seconds=120)
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
            ended = instance.get_run_by_id(run.run_id)
            assert ended is not None
            assert (ended.status, ended.tags[ENDED_TAG]) == (dg.DagsterRunStatus.CANCELED, "the code server was ended")
            row = videos.load(video.id)
            assert (row.state, row.attempts, row.error) == (SourceVideoState.PREPROCESSING, 0, None)
            with database.read() as connection:
                assert connection.scalar(text("select count(*) from run_leases where state = 'working'")) == 0
            (wanted,) = settled_look(instance, own, database, is_daemon=False).wanted
            assert wanted.partition_key == str(video.id), "whoever takes it up need not wait"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        load_settings.cache_clear()


def test_who_only_said_that_a_run_began_is_not_interrupted_when_it_is_ended(settings: Settings, database: Database) -> None:
    """A script that reports events, or a thread whose run crashed: by now it may do something else."""

    @dg.job
    def nothing() -> None: ...

    own = replace(settings, run_lease_seconds=600)
    with open_instance(own) as instance:
        run = instance.create_run_for_job(nothing)
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run_id=run.run_id)
        leases_of(own).close(run.run_id)
        try:
            keeper_of(own).renew()
            for _ in range(100):
                time.sleep(0.001)
        except KeyboardInterrupt:
            pytest.fail("it was interrupted")
        assert keeper_of(own).was_taken_away(run.run_id)
        keeper_of(own).end(run.run_id)
