"""Ties leases to runs: Dagster's own events say who is responsible for a run, whatever launched or executes it.

A process that writes that a run was queued or launched is responsible for it; one that writes that it starts works on it from then on; and
whoever writes that it has ended ends its lease. A process whose lease was taken away writes no more events of the run.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from datetime import datetime
from typing import Any

import dagster as dg

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.run_leases import LeaseState
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_private import DagsterStorage
from resources.orchestrator.dagster_resources import shared_database
from resources.postgres.run_keeper import RunKeeper, interrupt_thread
from resources.postgres.run_leases import RunLeases

_WAITS = {dg.DagsterEventType.PIPELINE_ENQUEUED: LeaseState.QUEUED, dg.DagsterEventType.PIPELINE_STARTING: LeaseState.LAUNCHED}
_ENDS = {dg.DagsterEventType.PIPELINE_SUCCESS, dg.DagsterEventType.PIPELINE_FAILURE, dg.DagsterEventType.PIPELINE_CANCELED}

#: Part of the path of the modules by which Dagster executes runs.
_EXECUTION = os.path.join("dagster", "_core", "execution", "")

_keepers: dict[str, RunKeeper] = {}
_making = threading.Lock()


def leases_of(settings: Settings) -> RunLeases:
    """The leases of runs, as a machine with these settings sees them."""
    return RunLeases(shared_database(settings), seconds=settings.run_lease_seconds)


def keeper_of(settings: Settings) -> RunKeeper:
    """The keeper of this process for the leases of these settings."""
    leases = leases_of(settings)
    address = f"{settings.host_name} {leases.address}"
    with _making:
        keeper = _keepers.get(address)
        if keeper is None or not keeper.is_of_this_process:
            keeper = _keepers[address] = RunKeeper(leases, stop=_interrupt_run)
        return keeper


def _interrupt_run(thread: int) -> None:
    """Interrupt a thread that executes a run. One that has only said that a run began, or whose run has crashed, does something else."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if _EXECUTION in frame.f_code.co_filename:
            interrupt_thread(thread)
            return
        frame = frame.f_back


def tie_leases(storage: DagsterStorage[Any], settings: Settings) -> None:
    """Let this storage keep the leases of the runs whose events it stores."""
    events, runs = storage.event_log_storage, storage.run_storage
    store_event, handle_run_event = events.store_event, runs.handle_run_event

    def leased_store_event(event: dg.EventLogEntry) -> None:
        kind = event.dagster_event.event_type if event.dagster_event is not None else None
        if _belongs_to_another(event.run_id):
            return
        if kind is dg.DagsterEventType.PIPELINE_START:
            keeper_of(settings).begin(event.run_id)
        try:
            store_event(event)
        except BaseException:
            if kind in _ENDS:  # the work is over here, though nobody can be told: the lease expires
                _end_here(event.run_id)
            raise
        if kind in _WAITS:
            with suppress(HeatersError):  # the scheduler gives it one at its next look
                leases_of(settings).wait([event.run_id], _WAITS[kind])

    def leased_handle_run_event(run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None) -> None:
        if _belongs_to_another(run_id):
            if event.event_type in _ENDS:
                _end_here(run_id)
            return
        was_here = False
        try:
            handle_run_event(run_id, event, update_timestamp)
        finally:
            if event.event_type in _ENDS:
                was_here = _end_here(run_id)
        if event.event_type in _ENDS and not was_here:
            with suppress(HeatersError):
                leases_of(settings).close(run_id)

    events.store_event = leased_store_event  # type: ignore[method-assign]
    runs.handle_run_event = leased_handle_run_event  # type: ignore[method-assign]


def _mine() -> list[RunKeeper]:
    return [keeper for keeper in list(_keepers.values()) if keeper.is_of_this_process]


def _belongs_to_another(run_id: str) -> bool:
    return any(keeper.was_taken_away(run_id) for keeper in _mine())


def _end_here(run_id: str) -> bool:
    """Whether this process had begun the run, whose work is over now."""
    return any(keeper.end(run_id) for keeper in _mine())
