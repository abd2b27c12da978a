"""Writes the results of a look: it ends the runs whose process has ended, and gives rows the reason why their run ended.

It is called once in a round: by the first sensor of the round, by each round of `heaters process`, and by the sensor of failed runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import dagster as dg

from assets.failures import CANCELED
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.errors import BusyError, HeatersError, NotFoundError
from heaters_dagster.domain.run_leases import WAITING, RunLease
from heaters_dagster.domain.run_queues import lock_of_run
from heaters_dagster.domain.run_tags import ENDED_TAG, LOST_TAG
from heaters_dagster.orchestration.dead_runs import (
    SETTLED_TAG,
    DeadRun,
    Responsibility,
    StageIsBusy,
    begun_assets,
    death,
    partition_of,
    responsibility,
    steps_of,
    unfinished,
)
from heaters_dagster.orchestration.outlook import Outlook, look
from heaters_dagster.orchestration.settling import Ending, settle
from heaters_dagster.settings import Settings
from resources.files.price_table import restore_terms
from resources.object_store.open import shared_object_store
from resources.orchestrator.dagster_private import GRPC_INFO_TAG, IN_PROGRESS_RUN_STATUSES, RunRecord, SqlEventLogStorage
from resources.orchestrator.dagster_storage import assets_of, withdraw_plans
from resources.orchestrator.partition_names import remove_partitions
from resources.postgres.database import Database, lock_key
from resources.postgres.due_facts import deleted_since
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.run_leases import RunLeases
from resources.upkeep.cold_masters import notice_restored

#: The lock of the process that writes the results of its look, over all machines.
_JANITOR = "janitor"


def settled_look(
    instance: dg.DagsterInstance,
    settings: Settings,
    database: Database,
    *,
    is_daemon: bool = True,
    only: Collection[int] | None = None,
) -> Outlook:
    """One round: look; write what the look found dead or unsettled; look again when there was anything. Arguments as of `look`.

    On all machines together one process writes at a time. While another does, what is dead counts as in flight.
    """
    with suppress(HeatersError):  # the store cannot be opened, which the look says
        notice_restored(database, lambda: shared_object_store(settings), restore_terms(settings))
    outlook = look(instance, settings, database, is_daemon=is_daemon, only=only)
    _forget_deleted(instance, settings, database, busy={int(key) for _, key in outlook.in_flight})
    leases = RunLeases(database, seconds=settings.run_lease_seconds)
    leases.adopt(outlook.runs.unleased)
    if is_daemon:
        renew_waiting(outlook.runs, leases)
    if not (outlook.runs.dead or outlook.canceled or outlook.ended):
        settle_waits(outlook, database, only=only)
        return outlook
    settled: Set[str] = frozenset()
    with _as_the_janitor(database) as is_mine:
        if is_mine:
            end_runs(outlook.runs.dead, instance, database, leases)
            settle_cancellations(outlook.canceled, instance, database)
            for run in outlook.ended:
                settle_failed_run(run, instance, database)
            settled = {run.run_id for run in outlook.ended}
    outlook = look(instance, settings, database, is_daemon=is_daemon, only=only, settled=settled)
    settle_waits(outlook, database, only=only)
    return outlook


def renew_waiting(runs: Responsibility, leases: RunLeases) -> None:
    """For who starts queued runs: renew the leases of the runs that wait in the queue or in a broker, however long they wait."""
    for state in WAITING:
        leases.wait([run_id for run_id, waits in runs.waiting.items() if waits is state], state)


def settle_waits(outlook: Outlook, database: Database, *, only: Collection[int] | None = None) -> None:
    """Store which stages wait for room, where the words have changed, and forget those that do not wait any more.

    What a run that has not ended has stored stays: it may have found too little room a moment ago. So does what another machine has found
    a moment ago, until a stage begins there or elsewhere. only: the source videos of the look.
    """
    store, waits = RoomWaitStore(database), {(int(run.partition_key), wait.asset): wait for run, wait in outlook.waiting.items()}
    known = outlook.waits_known
    new: dict[int, list[RoomWait]] = {}
    for (source_video_id, asset), wait in waits.items():
        before = known.get((source_video_id, asset))
        if before is None or (before.is_here and before.wait.words != wait.words):
            new.setdefault(source_video_id, []).append(wait)
    store.put(new)
    if outlook.problem is None:
        stays = waits.keys() | {(int(key), asset) for asset, key in outlook.in_flight}
        wanted = {(int(run.partition_key), asset) for run in outlook.wanted for asset in run.assets}
        stays |= {key for key in wanted & known.keys() if known[key].was_just_found_elsewhere}
        store.forget([key for key in known if key not in stays and (only is None or key[0] in only)])


@dataclass(slots=True)
class _Seen:
    """until: the deletions up to then have been dealt with by this process; None: it has not looked yet."""

    until: datetime | None = None


@lru_cache(maxsize=8)
def _seen_deletions(settings: Settings) -> _Seen:
    return _Seen()


def _forget_deleted(instance: dg.DagsterInstance, settings: Settings, database: Database, *, busy: Set[int]) -> None:
    """Remove the partitions of source videos that were deleted, wherever that was: the review app cannot reach Dagster.

    busy: those with a run that has not ended; they wait for a later look. A process begins with all deletions there have been, because
    another may have been killed before it came to them; later it reads only the new ones.
    """
    seen = _seen_deletions(settings)
    deleted = deleted_since(database, seen.until)
    if deleted.gone:
        remove_partitions(instance, set(deleted.gone) - busy)
    if not busy & set(deleted.gone):
        seen.until = deleted.seen_until


def end_runs(dead: Iterable[DeadRun], instance: dg.DagsterInstance, database: Database, leases: RunLeases) -> list[str]:
    """End these runs, free their pool slots, and count a try where work had begun; returns the ids of those that were ended.

    A run whose lease was renewed in the last moment, or that another janitor has ended, is left alone.
    """
    ended = []
    for one in dead:
        run = one.record.dagster_run
        if not leases.take_away(one.lease, is_gone=one.is_gone):
            continue
        if run.status is dg.DagsterRunStatus.STARTED:
            why = _lost_words(one)
            instance.add_run_tags(run.run_id, {LOST_TAG: why})
            counted = _settle_lost(run, why, instance, database)
            instance.report_run_failed(run, ". ".join([why, *counted]))
        elif run.status is dg.DagsterRunStatus.CANCELING:  # as was asked for, and its tags say by whom
            instance.report_run_canceled(run, "The process that executed this run has ended.")
        else:
            instance.add_run_tags(run.run_id, {ENDED_TAG: "its process ended before the work began"})
            instance.report_run_canceled(run, "The process of this run ended before the work began.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


def end_lost_in_broker(instance: dg.DagsterInstance, is_busy: StageIsBusy) -> list[str]:
    """End the runs that were handed to a broker, which does not have them any more, before a worker had taken them; returns their ids.

    Their work is due again at once. Only a launcher with a broker has `lost_among`; two looks in a row must agree. is_busy: tells whether a
    worker has taken a run and not begun it yet.
    """
    lost_among: Callable[[list[dg.DagsterRun]], list[dg.DagsterRun]] | None = getattr(instance.run_launcher, "lost_among", None)
    if lost_among is None:
        return []
    lost = lost_among(list(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))))
    lost = [run for run in lost if not is_busy(lock_of_run(run.run_id), 0)]
    for run in lost:
        instance.add_run_tags(run.run_id, {ENDED_TAG: "the broker lost it before a worker had begun it"})
        instance.report_run_canceled(run, "The broker does not have this run any more, and no worker has begun it.")
    return [run.run_id for run in lost]


def end_dead_runs(instance: dg.DagsterInstance, settings: Settings, database: Database) -> list[str]:
    """End all runs that nobody works on any more, as far as is certain now; returns their ids. Nothing while another process does so."""
    leases = RunLeases(database, seconds=settings.run_lease_seconds)
    with _as_the_janitor(database) as is_mine:
        if not is_mine:
            return []
        return end_runs(responsibility(unfinished(instance), leases, database.stage_is_busy).dead, instance, database, leases)


@contextmanager
def _as_the_janitor(database: Database) -> Iterator[bool]:
    """Whether this process is the one that may end runs and settle rows now, on all machines together."""
    with database.first_free_lock([lock_key(_JANITOR, 0)]) as is_mine:
        yield is_mine


def _lost_words(one: DeadRun) -> str:
    if one.is_gone:
        return "the process that worked on this ended without a message: it was killed, crashed, or ran out of memory"
    where = f" on {one.lease.host}" if one.lease.host else ""
    return (
        f"the process that worked on this{where} gives no sign of life: it was killed, crashed, ran out of memory, stands still, or its "
        "machine is off or cut off"
    )


def _settle_lost(run: dg.DagsterRun, why: str, instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Count a try of what a run without its process was working on; returns what was written.

    It is due again at once, unless it has no try left: what always exhausts the memory must not go round for ever.
    """
    key, written = partition_of(run), []
    for asset in begun_assets(run, instance) if key is not None else ():
        with suppress(BusyError, NotFoundError), database.stage_lock(asset, int(key or 0)):
            written += settle(asset, int(key or 0), Ending(why, transient=True, at_once=True), database)
    return written


def cancel_running(instance: dg.DagsterInstance, why: str, *, leases: RunLeases, code_socket: Path) -> list[str]:
    """Tell Dagster that the interruption that follows is a cancellation and no failure; returns the ids of the runs.

    Only of the runs that this machine started through the code server at `code_socket`: all others go on.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
    held = leases.load([record.dagster_run.run_id for record in records])
    runs = [record.dagster_run for record in records if _is_ours(record.dagster_run, held, leases.host, code_socket)]
    for run in runs:
        announce_end(instance, run, why)
    return [run.run_id for run in runs]


def announce_end(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Tell Dagster that the interruption of this run, which follows, is a cancellation: no try is counted, and its work stays due."""
    instance.add_run_tags(run.run_id, {ENDED_TAG: why})
    instance.report_run_canceling(run, f"Canceled: {why}. The work starts again if it is still due.")


def _is_ours(run: dg.DagsterRun, leases: Mapping[str, RunLease], host: str, code_socket: Path) -> bool:
    place = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return run.run_id in leases and leases[run.run_id].host == host and place.get("socket") == str(code_socket)


def settle_failed_run(run: dg.DagsterRun, instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Write to the rows that a run left in a working state why it ended. Returns what was written; nothing when the rows have it already.

    A row stays unchanged while a living process holds the lock of its stage: its work has been resumed.
    """
    cause, key = death(run), partition_of(run)
    if cause is None or key is None:
        return []
    message, transient = cause
    written: list[str] = []
    for asset in assets_of(run):
        with suppress(BusyError), database.stage_lock(asset, int(key)):
            written += settle(asset, int(key), Ending(message, transient), database)
    if written and run.status is dg.DagsterRunStatus.FAILURE:  # for the alert on lost processes, as where the lease ran out
        instance.add_run_tags(run.run_id, {LOST_TAG: message})
    return written


def settle_cancellations(records: Iterable[RunRecord], instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Write to the rows that a person canceled their run. Returns what was written.

    Also to rows that no step had begun on: otherwise a run that was canceled while it waited in the queue, or for its pool, would be
    requested again at the next look. Rows that have moved on since, for example by `heaters retry`, stay unchanged.
    """
    written: list[str] = []
    for record in records:
        run, key = record.dagster_run, partition_of(record.dagster_run)
        canceled_at = record.update_timestamp.replace(tzinfo=UTC)
        for asset in assets_of(run) if key is not None else ():
            with suppress(BusyError, NotFoundError), database.stage_lock(asset, int(key or 0)):
                written += settle(asset, int(key or 0), Ending(CANCELED, transient=False, not_begun_before=canceled_at), database)
        instance.add_run_tags(run.run_id, {SETTLED_TAG: "the rows show that it was canceled"})
    return written


def withdraw_unbegun(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Of a run that failed, withdraw the plans of what it had not begun; a step that fails does so itself, a killed process cannot."""
    storage = instance.event_log_storage
    if run.execution_plan_snapshot_id is None or not isinstance(storage, SqlEventLogStorage):
        return
    made_by, begun = steps_of(instance, run)
    unbegun = [key for key, step in made_by.items() if step not in begun]
    if withdraw_plans(storage, run.run_id, unbegun, made_by):
        for key in unbegun:  # Dagster may have looked meanwhile, and remembers which assets it has seen failing
            instance.wipe_asset_cached_status([key])
