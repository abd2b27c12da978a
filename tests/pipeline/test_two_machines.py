"""Two machines: processes with homes, host names and clocks of their own, which share the database and the bucket and nothing else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.run_tags import LOST_TAG
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.settings import Settings, child_environment
from resources.object_store.interface import ObjectStore
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit
from tests.leased import expire
from tests.media_files import make_video
from tests.warm_process import WarmProcess, started

pytestmark = pytest.mark.bucket

PROXY = "review_proxies/video_1_proxy.mp4"

#: `heaters process` on another machine, whose clock is wrong. Before its proxy becomes visible it waits for a file, then gets a signal.
PROCESS = """
import os, signal, sys, time
from pathlib import Path
sign, seconds_off, folder = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.settings import Settings
from resources.object_store.s3 import S3ObjectStore
right, put_file = time.time, S3ObjectStore.put_file
time.time = lambda: right() + seconds_off
def waits(store, key, *arguments, **options):
    if key.startswith("review_proxies/"):
        (folder / "works").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.Signals[sign])
    return put_file(store, key, *arguments, **options)
S3ObjectStore.put_file = waits
process_due(Settings.from_environment(), ended=lambda run: print(run.job, run.error, flush=True))
"""


@pytest.fixture
def machines(settings: Settings, tmp_path: Path) -> tuple[Settings, Settings]:
    quick = replace(
        settings,
        detector="adaptive",
        embedding_model="no-such-model",
        embedding_fallback=True,
        run_lease_seconds=5,
        gold_master_storage_class="STANDARD",
    )
    return replace(quick, home=tmp_path / "alpha", host_name="alpha"), replace(quick, home=tmp_path / "beta", host_name="beta")


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def working(machine: Settings, folder: Path, sign: str, *, seconds_off: float) -> Iterator[WarmProcess]:
    """The process, when it works on a proxy."""
    process = started(PROCESS, sign, str(seconds_off), str(folder), environment=child_environment(machine))
    try:
        until((folder / "works").exists, "no proxy was made")
        yield process
    finally:
        process.kill()


def state_of(process: WarmProcess) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def run_of(machine: Settings, assets: set[str]) -> dg.DagsterRun:
    with open_instance(machine) as instance:
        (run,) = [run for run in instance.get_runs() if {key.to_user_string() for key in run.asset_selection or ()} >= assets]
    return run


def all_written(machine: Settings, database: Database, objects: ObjectStore) -> list[object]:
    """All that is said of the video: its row, its objects, and Dagster's events of its runs."""
    with open_instance(machine) as instance:
        events = {run.run_id: (run.status, len(instance.all_logs(run.run_id))) for run in instance.get_runs()}
    objects_now = {info.key: objects.get_bytes(info.key) for info in objects.list()}
    return [SourceVideoStore(database).load(1), objects_now, events]


@pytest.mark.slow
def test_a_process_that_stands_still_loses_its_run_and_damages_nothing_when_it_goes_on(
    machines: tuple[Settings, Settings], database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    """First it works for longer than a lease holds, and the other machine lets it. Its clock is a day fast."""
    alpha, beta = machines
    SourceVideoStore(database).add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    with working(alpha, tmp_path, "SIGSTOP", seconds_off=86_400) as process:
        with open_instance(beta) as instance:
            until_then = time.monotonic() + alpha.run_lease_seconds + 1
            while time.monotonic() < until_then:
                outlook = settled_look(instance, beta, database, is_daemon=False)
                assert (outlook.wanted, outlook.runs.dead) == ((), ())
                time.sleep(0.5)
        (tmp_path / "go").touch()
        until(lambda: state_of(process) == "T", "it was not stopped")

        said: list[str] = []
        assert process_due(beta, say=said.append).failures == []
        assert said == ["waiting for the runs of other processes"]
        before = all_written(beta, database, object_store)
        assert SourceVideoStore(database).load(1).state is SourceVideoState.SCENES_DETECTED
        with open_instance(beta) as instance:
            (lost,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert lost.tags[PARTITION_NAME_TAG] == "1"
        assert "on alpha gives no sign of life" in lost.tags[LOST_TAG]

        os.kill(process.pid, signal.SIGCONT)
        told = process.stdout.read()
        assert process.wait() == 0
        assert told == "ingest this process had stood still for too long, so its run was ended, and the work given to the next\n"
        assert all_written(beta, database, object_store) == before
        assert audit(database, object_store) == []


@pytest.mark.slow
def test_a_process_that_is_killed_counts_a_try_and_another_machine_goes_on_when_its_lease_has_expired(
    machines: tuple[Settings, Settings], database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    """Its clock is a day slow. What it held is free: the place for an encode, and the run's place in the limits."""
    alpha, beta = machines
    SourceVideoStore(database).add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    with working(alpha, tmp_path, "SIGKILL", seconds_off=-86_400) as process:
        (tmp_path / "go").touch()
        assert process.wait() == -signal.SIGKILL
    with open_instance(beta) as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.STARTED
        instance.event_log_storage.set_concurrency_slots("encode", 1)
        instance.event_log_storage.claim_concurrency_slot("encode", run.run_id, "proxy")
        expire(database, run.run_id)
        (wanted,) = settled_look(instance, beta, database, is_daemon=False).wanted
        assert "proxy" in wanted.assets
        row = SourceVideoStore(database).load(1)
        assert (row.state, row.attempts) == (SourceVideoState.PREPROCESSING, 1)
        assert run.run_id not in instance.event_log_storage.get_concurrency_info("encode").active_run_ids
        instance.event_log_storage.delete_concurrency_limit("encode")
    assert process_due(beta).failures == []
    row = SourceVideoStore(database).load(1)
    assert (row.state, row.attempts) == (SourceVideoState.SCENES_DETECTED, 0)
    assert audit(database, object_store) == []


#: A daemon's election on another machine.
ELECTION = """
import signal, sys, time
from heaters_dagster.commands.up.daemon import Election
from heaters_dagster.settings import Settings
from resources.orchestrator.leased_runs import leases_of
signal.signal(signal.SIGTERM, signal.default_int_handler)
election = Election(leases_of(Settings.from_environment()), lambda text: print(text, flush=True))
election.wait(ready=lambda: None)
print("elected", flush=True)
try:
    while True:
        time.sleep(0.1)
except KeyboardInterrupt:
    print("lost" if election.was_lost else "ended", flush=True)
finally:
    election.end()
"""


@pytest.mark.slow
def test_one_daemon_schedules_and_another_machine_takes_over(machines: tuple[Settings, Settings], database: Database) -> None:
    alpha, beta = (child_environment(replace(machine, run_lease_seconds=3)) for machine in machines)
    first = started(ELECTION, environment=alpha)
    assert first.stdout.readline() == "elected\n"
    second = started(ELECTION, environment=beta)
    assert second.stdout.readline().startswith("another machine, alpha, does the scheduling: it looks for work and starts the runs. ")
    os.kill(first.pid, signal.SIGSTOP)
    assert second.stdout.readline() == "beta does the scheduling from now on\n"
    assert second.stdout.readline() == "elected\n"
    os.kill(first.pid, signal.SIGCONT)
    assert first.stdout.readline() == "lost\n"
    assert first.wait() == 0
    third = started(ELECTION, environment=alpha)
    assert third.stdout.readline().startswith("another machine, beta, does the scheduling")
    os.kill(second.pid, signal.SIGTERM)
    assert second.stdout.readline() == "ended\n"
    assert third.stdout.readline() == "alpha does the scheduling from now on\n"
    for process in (second, third):
        process.kill()
        process.wait()
