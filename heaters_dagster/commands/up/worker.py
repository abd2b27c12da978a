"""`heaters worker`: this machine executes runs that the queue of another machine hands out over Redis."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Collection
from pathlib import Path

from heaters_dagster.commands.metrics import served_metrics
from heaters_dagster.commands.up.part_lines import OURS, shown_lines
from heaters_dagster.commands.up.start import signals_stop
from heaters_dagster.commands.up.supervisor import Part, Supervisor
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.run_queues import OTHER, OTHER_RUNS, QUEUES
from heaters_dagster.settings import Settings, child_environment

#: How long runs may take to end after Ctrl-C; an interrupted step writes its end to the database.
_PATIENCE_SECONDS = 15.0


def run_worker(settings: Settings, kinds: Collection[str]) -> int:
    """Execute runs of these kinds, all of them when there are none, until Ctrl-C, SIGTERM or SIGHUP; returns the exit code.

    Each kind has processes of its own, so that a run of one kind never waits behind a run of another. Raises SettingsError when a setting
    is missing that machines must share.
    """
    check_shared(settings)
    unknown = sorted(set(kinds) - set(QUEUES))
    if unknown:
        raise SettingsError(f"{unknown[0]} is no kind of work: write some of {', '.join(QUEUES)}, or nothing for all of them")
    from heaters_dagster.orchestration.instance import prepare_dagster_home
    from resources.object_store.work_folder import WorkFolder
    from resources.postgres.database import open_database
    from resources.upkeep.leftovers import sweep_leftovers

    shown = shown_lines(settings)

    def say(name: str, text: str) -> None:
        shown(name, settings.without_secrets(text))

    open_database(settings).dispose()
    sweep_leftovers(settings)
    home = prepare_dagster_home(settings)
    runs = {**settings.runs_at_once, OTHER: OTHER_RUNS}
    served = [kind for kind in QUEUES if kind in kinds or not kinds]
    with WorkFolder(settings.work_folder).attempt("worker") as folder:
        environment = child_environment(settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1")
        parts = [_part(kind, runs[kind], folder) for kind in served]
        supervisor = Supervisor(parts, environment=environment, say=say, folder=settings.home, patience_seconds=_PATIENCE_SECONDS)
        told = ", ".join(f"{kind} {runs[kind]}" for kind in served)
        with signals_stop(supervisor), served_metrics(settings):
            code = supervisor.run(when_ready=lambda: say(OURS, f"{socket.gethostname()} waits for work; runs at once: {told}"))
    say(OURS, "everything has ended")
    return code


def check_shared(settings: Settings) -> None:
    """Raise SettingsError for the first setting that a machine lacks which works for others."""
    shared = {
        "HEATERS_BROKER_URL": settings.broker_url,
        "HEATERS_DATABASE_URL": settings.database_url,
        "S3_BUCKET_NAME": settings.object_bucket,
        "HEATERS_SECRET_KEY": settings.secret_key,
    }
    if missing := [name for name, value in shared.items() if not value]:
        raise SettingsError(
            f"{missing[0]} is not set: machines share the broker, the database, the bucket and the secret key, so set "
            f"{', '.join(shared)} to the same on all of them"
        )
    if importlib.util.find_spec("dagster_celery") is None:
        raise SettingsError("Celery is not installed: type pip install 'heaters[celery]'")


def _part(kind: str, runs: int, folder: Path) -> Part:
    ready = folder / f"{kind}.ready"
    command = (sys.executable, "-m", "heaters_dagster.commands.up.worker_node", kind, str(runs), str(ready))
    return Part(kind, command, ready=ready.exists)
