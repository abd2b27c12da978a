"""What a worker does with a run that Celery gives it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from celery import Celery

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.run_queues import lock_of_run
from heaters_dagster.settings import Settings
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.celery_launcher import EXECUTE_RUN, open_celery
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG
from resources.orchestrator.dagster_resources import shared_database
from resources.orchestrator.dagster_run_private import capture_interrupts, execute_run_by_id
from resources.postgres.database import lock_key
from resources.postgres.room_waits import RoomWaitStore

_BEGINS = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING})
_log = logging.getLogger("heaters.worker")
for _name in (_log.name, "assets", "resources"):  # Celery says errors only (`--loglevel=error`), and by that would keep theirs back as well
    logging.getLogger(_name).setLevel(logging.WARNING)

_LONGEST_WAIT_FOR_ROOM_SECONDS = 600.0
_LOOK_FOR_ROOM_SECONDS = 2.0


def worker_app(settings: Settings) -> Celery:
    """Celery with the task that executes runs."""
    app = open_celery(settings)

    @app.task(name=EXECUTE_RUN, track_started=True)  # type: ignore[untyped-decorator]
    def execute_run(run_id: str) -> int:
        return execute(run_id, settings)

    return app


def execute(run_id: str, settings: Settings) -> int:
    """Execute a run, unless another worker does or did; returns 0, or 1 when it failed.

    Redis may give out a message twice. Two that come at the same time are told apart by a lock, which ends with its process; one that comes
    later by the state of the run. So a run is begun once, and what a dead worker has left is for another run.

    When the run found too little room on the disk of this machine, the process takes no other one before there is room, or for ten
    minutes. Else a worker whose disk is full, which is always free, would take each run before the workers that can do it.
    """
    code = _executed(run_id, settings)
    _wait_for_room(run_id, settings)
    return code


def _executed(run_id: str, settings: Settings) -> int:
    with shared_database(settings).first_free_lock([lock_key(lock_of_run(run_id), 0)]) as is_first, dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id) if is_first else None
        if run is None or run.status not in _BEGINS:
            _log.warning("run %s was given out again, and is not begun again", run_id)
            return 0
        with _interruptible():
            return execute_run_by_id(run_id, instance, lambda event: None, set_exit_code_on_failure=True)


def _wait_for_room(run_id: str, settings: Settings) -> None:
    try:
        waits = RoomWaitStore(shared_database(settings)).load()
    except HeatersError:
        return
    here = [(str(source_video_id), one.wait) for (source_video_id, _), one in waits.items() if one.is_here]
    if not here:  # nearly always, and to open Dagster's instance again takes a while
        return
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
    key = run.tags.get(PARTITION_NAME_TAG, "") if run is not None else ""
    found = [wait for source_video_id, wait in here if source_video_id == key]
    needed = max((wait.bytes_needed for wait in found), default=0)
    room, until = WorkFolder.of(settings).room, time.monotonic() + _LONGEST_WAIT_FOR_ROOM_SECONDS
    if room.free_bytes() >= needed:
        return
    _log.warning(
        "the disk of %s has too little room: source video %s %s. Other workers take its work. This process takes no more runs until there "
        "is room under %s",
        settings.host_name,
        key,
        found[0].words,
        settings.home,
    )
    while time.monotonic() < until:
        time.sleep(_LOOK_FOR_ROOM_SECONDS)
        if room.free_bytes() >= needed:
            _log.warning("the disk of %s has room again", settings.host_name)
            return


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within this block SIGTERM interrupts the run, as it does with Dagster's own launcher: its row is due again, and no try is counted.

    Celery's processes ignore Ctrl-C and end at once at SIGTERM, which nobody could tell from a process that was killed.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with capture_interrupts():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
