"""What a worker does with a run that Celery gives it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from celery import Celery

from heaters_dagster.domain.run_queues import lock_of_run
from heaters_dagster.settings import Settings
from resources.orchestrator.celery_launcher import EXECUTE_RUN, open_celery
from resources.orchestrator.dagster_resources import shared_database
from resources.orchestrator.dagster_run_private import capture_interrupts, execute_run_by_id
from resources.postgres.database import lock_key

_BEGINS = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING})
_log = logging.getLogger("heaters.worker")


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
    """
    with shared_database(settings).first_free_lock([lock_key(lock_of_run(run_id), 0)]) as is_first, dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id) if is_first else None
        if run is None or run.status not in _BEGINS:
            _log.warning("run %s was given out again, and is not begun again", run_id)
            return 0
        with _interruptible():
            return execute_run_by_id(run_id, instance, lambda event: None, set_exit_code_on_failure=True)


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
