"""What Dagster knows about Heaters' runs: which are queued or running, and which are dead although Dagster believes that they are alive.

A dead run matters because it blocks others: what is in flight is not requested again, and its pool slots are taken. By itself Dagster
notices only a worker that died while its code server lives. A killed `heaters process`, a killed `dagster asset materialize` and a
machine that was switched off leave runs that look started for ever.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.failures import CANCELED
from heaters_dagster.domain.due import RunWanted
from heaters_dagster.domain.run_tags import ENDED_TAG, REASON_TAG, tags_of_work
from heaters_dagster.settings import Settings
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_private import (
    GRPC_INFO_TAG,
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    RUN_FAILURE_REASON_TAG,
    RunFailureReason,
    RunRecord,
)
from resources.orchestrator.dagster_storage import assets_of

#: `host:folder`, the held work folder of the `heaters process` that executes the run.
PROCESS_TAG = "heaters/process"

#: On a run that a person canceled: its rows say so.
SETTLED_TAG = "heaters/settled"

#: A run is dead when it has written nothing for this long, nobody holds a lock for it, and its process is not on this machine.
SILENCE = timedelta(seconds=60)

StageIsBusy = Callable[[str, int], bool]
"""(asset, source video id) -> whether a living process works on it; `Database.stage_is_busy` is such a function."""


def run_tags(run: RunWanted) -> dict[str, str]:
    """Tags by which the queue limits and orders runs, and people find them."""
    return {**tags_of_work(run.assets, run.partition_key), REASON_TAG: run.reason}


def partition_of(run: dg.DagsterRun) -> str | None:
    """The partition key of a run; None when it has no partition of Heaters."""
    key = run.tags.get(PARTITION_NAME_TAG)
    return key if key is not None and key.isdigit() else None


def unfinished(instance: dg.DagsterInstance) -> list[RunRecord]:
    """Records of the runs that are queued, starting or running, as far as Dagster knows."""
    return list(instance.get_run_records(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)))


def assets_in_flight(records: Iterable[RunRecord]) -> set[tuple[str, str]]:
    """(asset, partition key) of what these runs make."""
    runs = [record.dagster_run for record in records]
    return {(asset, key) for run in runs if (key := partition_of(run)) is not None for asset in assets_of(run)}


def dead_among(records: Iterable[RunRecord], instance: dg.DagsterInstance, settings: Settings, is_busy: StageIsBusy) -> list[RunRecord]:
    """Of the records of unfinished runs, those of runs whose process is gone."""
    work = WorkFolder(settings.work_folder)
    return [record for record in records if _is_dead(record, instance, work, is_busy)]


def death(run: dg.DagsterRun) -> tuple[str, bool] | None:
    """Why a run that ended left a row in its working state, and whether that is temporary; None when it is no fault of the work.

    An interrupt, and an end of the whole program, are no failures: the row is due again and no failed try is counted. A killed or
    crashed process counts one, so that work that always exhausts the memory is not tried for ever. After a person's cancellation the row
    waits until a person retries.
    """
    if run.status is dg.DagsterRunStatus.CANCELED and ENDED_TAG not in run.tags:
        return CANCELED, False
    interrupted = run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value
    if run.status is dg.DagsterRunStatus.FAILURE and not interrupted and ENDED_TAG not in run.tags:
        return "the process that worked on this ended without a message: it was killed, crashed, or ran out of memory", True
    return None


def canceled_by_people(instance: dg.DagsterInstance, *, within: timedelta = timedelta(days=1)) -> list[RunRecord]:
    """Runs that a person canceled, as far as is known, where the rows do not say so yet."""
    since = datetime.now(UTC) - within
    records = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELED], updated_after=since), limit=200)
    return [record for record in records if not {ENDED_TAG, SETTLED_TAG} & set(record.dagster_run.tags)]


def process_tag(folder_name: str) -> str:
    return f"{socket.gethostname()}:{folder_name}"


def process_lives(pid: int, *, since: float) -> bool:
    """Whether the process that had this id on this machine at `since` (Unix time) still lives; a later one with that id does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to another user
    try:
        # Field 22, after the name in parentheses: when the process started, in clock ticks after the machine did.
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return not Path("/proc/self").exists()  # gone meanwhile, or a system without /proc
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK") <= since + 1


def _is_dead(record: RunRecord, instance: dg.DagsterInstance, work: WorkFolder, is_busy: StageIsBusy) -> bool:
    run = record.dagster_run
    if run.status in {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.SUSPENDED}:
        return False
    if (tag := run.tags.get(PROCESS_TAG)) is not None:
        host, _, folder = tag.rpartition(":")
        return host == socket.gethostname() and not work.is_held(folder)
    if GRPC_INFO_TAG in run.tags:
        return not _code_server_answers(run.tags[GRPC_INFO_TAG]) and not _any_busy(record, is_busy)
    silent = datetime.now(UTC) - record.update_timestamp.replace(tzinfo=UTC) > SILENCE
    return silent and not _any_busy(record, is_busy) and not _executed_here(instance, run.run_id)


def _executed_here(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a process lives that Dagster noted as executing the run; one that waits for its pool, or checks an asset, holds no lock."""
    events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in events:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None and process_lives(int(str(pid.value)), since=record.timestamp):
            return True
    return False


def _any_busy(record: RunRecord, is_busy: StageIsBusy) -> bool:
    key = partition_of(record.dagster_run)
    return key is not None and any(is_busy(asset, int(key)) for asset in assets_of(record.dagster_run))


def _code_server_answers(info: str) -> bool:
    """info: Dagster's own tag, where the server that started the run's worker listens."""
    place = json.loads(info)
    try:
        if "socket" in place:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(place["socket"])
        else:
            socket.create_connection((place["host"], place["port"]), timeout=2).close()
    except OSError:
        return False
    return True
