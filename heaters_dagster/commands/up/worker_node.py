"""`python -m heaters_dagster.commands.up.worker_node READY KIND=RUNS...`: Celery's workers, one for each kind of work.

Dagster and the assets are loaded once; the workers are forks of this process, and each run is executed in a fork of its worker, so that it
begins at once and all of them share their memory. A worker that ends is started again, while the others go on. READY: a folder; each worker
makes a file in it, called as its kind, when it listens.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path

from heaters_dagster import event_log
from heaters_dagster.commands.up.code_server import WARM_MODULES
from heaters_dagster.domain.run_queues import QUEUES
from heaters_dagster.settings import load_settings

_log = logging.getLogger("heaters.worker")
_RESTART_SECONDS = 2.0


def main() -> int:
    from celery.app.defaults import DEFAULT_PROCESS_LOG_FMT

    logging.basicConfig(format=DEFAULT_PROCESS_LOG_FMT)  # by it whoever shows these lines tells them from the rest of a run's event
    ready = Path(sys.argv[1])
    runs = {kind: int(most) for kind, _, most in (given.partition("=") for given in sys.argv[2:])}
    for module in ("resources.orchestrator.celery_worker", "celery.apps.worker", "celery.concurrency.prefork", *WARM_MODULES):
        importlib.import_module(module)
    kinds = {_forked(kind, most, ready): kind for kind, most in runs.items()}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # the whole group gets it
    while True:
        ended, _ = os.waitpid(-1, 0)
        if (kind := kinds.pop(ended, None)) is not None:
            _log.warning("the worker for %s has ended; starting it again", kind)
            time.sleep(_RESTART_SECONDS)
            kinds[_forked(kind, runs[kind], ready)] = kind


def _forked(kind: str, most: int, ready: Path) -> int:
    """Start the worker for this kind of work; returns its process id."""
    sys.stdout.flush()
    if process_id := os.fork():
        return process_id
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _work(kind, most, ready / kind)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _work(kind: str, most: int, listens: Path) -> None:
    from celery.exceptions import SecurityWarning
    from celery.signals import worker_ready

    from resources.orchestrator.celery_worker import worker_app

    worker_ready.connect(lambda **_: listens.touch(), weak=False)
    settings = load_settings()
    event_log.set_up(settings, "run")
    # For root, which may run all of Heaters, Celery warns in many lines at each start, because a message in another form than JSON
    # could run what it says. This worker takes JSON only, and of it the id of a run.
    warnings.filterwarnings("ignore", "(?s).*superuser privileges", SecurityWarning)
    worker_app(settings).worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={','.join(QUEUES[kind])}",
            f"--concurrency={most}",
            f"--hostname={kind}.{os.getpid()}@%h",
            "--pool=prefork",
            "--loglevel=error",
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
