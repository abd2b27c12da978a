"""`python -m heaters_dagster.commands.up.worker_node KIND RUNS READY`: Celery's worker for one kind of work.

It loads Dagster and the assets once; each run is executed in a fork, so that it begins at once. READY: a file that it makes when it
listens.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from heaters_dagster import event_log
from heaters_dagster.commands.up.code_server import WARM_MODULES
from heaters_dagster.domain.run_queues import QUEUES
from heaters_dagster.settings import load_settings


def main() -> int:
    kind, runs, ready = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    from celery.signals import worker_ready

    from resources.orchestrator.celery_worker import worker_app

    for module in WARM_MODULES:
        importlib.import_module(module)

    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def listens(**_: object) -> None:
        ready.touch()

    settings = load_settings()
    event_log.set_up(settings, "run")
    app = worker_app(settings)
    if event_log.is_json():
        app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    app.worker_main(
        [
            "worker",
            f"--queues={','.join(QUEUES[kind])}",
            f"--concurrency={runs}",
            f"--hostname={kind}.{os.getpid()}@%h",
            "--pool=prefork",
            "--loglevel=warning",
            "--without-gossip",
            "--without-mingle",
        ]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
