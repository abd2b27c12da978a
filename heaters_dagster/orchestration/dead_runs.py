"""What Dagster knows about Heaters' runs: which are queued or running, and which are dead although Dagster believes that they are alive.

A dead run matters because it blocks others: what is in flight is not requested again, and its pool slots are taken. Dagster by itself
notices few deaths. Here a run belongs to who holds its lease (`domain/run_leases.py`): only its own machine, or a lease that has expired,
ends it. Silence, and what another machine cannot reach, say nothing.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.failures import CANCELED
from heaters_dagster.domain.due import RunWanted, piece_of
from heaters_dagster.domain.run_leases import WAITING, LeaseState, RunLease
from heaters_dagster.domain.run_tags import ENDED_TAG, LOST_TAG, PIECE_TAG, REASON_TAG, tags_of_work
from resources.files.this_process import process_is_gone
from resources.orchestrator.dagster_private import (
    GRPC_INFO_TAG,
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    RUN_FAILURE_REASON_TAG,
    RunFailureReason,
    RunRecord,
)
from resources.orchestrator.dagster_storage import assets_of
from resources.postgres.run_leases import RunLeases

#: `host:folder`, the held work folder of the `heaters process` that executes the run.
PROCESS_TAG = "heaters/process"

#: On a run that a person canceled: its rows say so.
SETTLED_TAG = "heaters/settled"

StageIsBusy = Callable[[str, int], bool]
"""(asset, source video id) -> whether a living process works on it; `Database.stage_is_busy` is such a function."""

_WAITING_STATUSES = {dg.DagsterRunStatus.QUEUED: LeaseState.QUEUED, dg.DagsterRunStatus.STARTING: LeaseState.LAUNCHED}


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run that may be ended. is_gone: its own machine knows that its process has ended; else its lease has expired or was taken away."""

    record: RunRecord
    lease: RunLease
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Responsibility:
    """Who is responsible for the unfinished runs.

    dead: those that may be ended. unleased: ids of runs that nobody has a lease of. waiting: id -> state of those that wait in the queue or
    in a broker. unattended: of those, the ids that no scheduler looks after.
    """

    dead: tuple[DeadRun, ...] = ()
    unleased: tuple[str, ...] = ()
    waiting: Mapping[str, LeaseState] = field(default_factory=dict)
    unattended: frozenset[str] = frozenset()


def run_tags(run: RunWanted) -> dict[str, str]:
    """Tags by which the queue limits and orders runs, and people find them."""
    return {**tags_of_work(run.assets, run.partition_key, run.piece), REASON_TAG: run.reason}


def partition_of(run: dg.DagsterRun) -> str | None:
    """The partition key of a run; None when it has no partition of Heaters."""
    key = run.tags.get(PARTITION_NAME_TAG)
    return key if key is not None and key.isdigit() else None


def unfinished(instance: dg.DagsterInstance) -> list[RunRecord]:
    """Records of the runs that are queued, starting or running, as far as Dagster knows."""
    return list(instance.get_run_records(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)))


def assets_in_flight(records: Iterable[RunRecord]) -> set[tuple[str, str]]:
    """(asset, partition key) of what these runs make; of one that makes a piece, the asset is named with it."""
    runs = [record.dagster_run for record in records]
    return {(asset, key) for run in runs if (key := partition_of(run)) is not None for asset in _made_by(run)}


def _made_by(run: dg.DagsterRun) -> tuple[str, ...]:
    piece = run.tags.get(PIECE_TAG, "")
    return tuple(piece_of(asset, int(piece)) for asset in assets_of(run)) if piece.isdigit() else assets_of(run)


def responsibility(records: Iterable[RunRecord], leases: RunLeases, is_busy: StageIsBusy) -> Responsibility:
    """Who is responsible for these unfinished runs; nothing is changed."""
    records = list(records)
    known = leases.load([record.dagster_run.run_id for record in records])
    dead, unleased = [], []
    waiting: dict[str, LeaseState] = {}
    unattended = set()
    for record in records:
        run, lease = record.dagster_run, known.get(record.dagster_run.run_id)
        waits = _WAITING_STATUSES.get(run.status)
        if waits is not None and (lease is None or lease.state in WAITING):
            waiting[run.run_id] = waits
            if lease is None or lease.is_expired:
                unattended.add(run.run_id)
        if run.status in {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.SUSPENDED}:
            continue
        if lease is None:
            if waits is None:
                unleased.append(run.run_id)
            continue
        gone = _is_gone(run, lease, leases.host)
        is_of_older_heaters_at_work = lease.host == "" and _any_busy(record, is_busy)
        if (gone or lease.is_over(process_is_gone=gone)) and not is_of_older_heaters_at_work:
            dead.append(DeadRun(record, lease, gone))
    return Responsibility(tuple(dead), tuple(unleased), waiting, frozenset(unattended))


def death(run: dg.DagsterRun) -> tuple[str, bool] | None:
    """Why a run that ended left a row in its working state, and whether that is temporary; None when it is no fault of the work, or when
    its rows know it already.

    An interrupt, and an end of the whole program, are no failures: the row is due again and no failed try is counted. A killed or
    crashed process counts one, so that work that always exhausts the memory is not tried for ever; for a run whose lease was lost the
    janitor counted it when it ended the run. After a person's cancellation the row waits until a person retries.
    """
    if LOST_TAG in run.tags:
        return None
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


def process_tag(host: str, folder_name: str) -> str:
    return f"{host}:{folder_name}"


def _is_gone(run: dg.DagsterRun, lease: RunLease, host: str) -> bool:
    """Whether the process that is responsible was on this machine and has certainly ended."""
    if lease.host != host:
        return False
    if lease.state is LeaseState.WORKING:
        return process_is_gone(lease.process)
    # The worker would have been a child of the code server, so it never began.
    return lease.state is LeaseState.LAUNCHED and GRPC_INFO_TAG in run.tags and not _code_server_answers(run.tags[GRPC_INFO_TAG])


def _any_busy(record: RunRecord, is_busy: StageIsBusy) -> bool:
    key = partition_of(record.dagster_run)
    return key is not None and any(is_busy(asset, int(key)) for asset in assets_of(record.dagster_run))


def _code_server_answers(info: str) -> bool:
    """info: Dagster's own tag, where the server on this machine that started the run's worker listens."""
    place = json.loads(info)
    if "socket" not in place:  # an address of a network: another one may not reach it
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(place["socket"])
        except OSError:
            return False
    return True


def begun_assets(run: dg.DagsterRun, instance: dg.DagsterInstance) -> tuple[str, ...]:
    """The assets of a run whose step has begun. One that waits for its pool has not."""
    if run.execution_plan_snapshot_id is None:
        return assets_of(run)
    made_by, begun = steps_of(instance, run)
    return tuple(asset for asset in assets_of(run) if made_by.get(dg.AssetKey(asset)) in begun)


def steps_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[dict[dg.AssetKey, str], set[str | None]]:
    """(asset -> the step of the run that makes it, the steps that have begun). A step that waits for its pool has not begun."""
    events = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_START).records
    made_by = {
        output.properties.asset_key: step.key
        for step in instance.get_execution_plan_snapshot(str(run.execution_plan_snapshot_id)).steps
        for output in step.outputs
        if output.properties is not None and output.properties.asset_key is not None
    }
    return made_by, {event.event_log_entry.step_key for event in events}
