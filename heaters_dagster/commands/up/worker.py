"""`heaters worker`: this machine executes runs that the queue of another machine hands out over Redis."""

from __future__ import annotations

import sys
from collections.abc import Collection

from heaters_dagster.commands.metrics import served_metrics
from heaters_dagster.commands.up.machines import check_shared
from heaters_dagster.commands.up.part_lines import OURS, shown_lines
from heaters_dagster.commands.up.start import signals_stop
from heaters_dagster.commands.up.supervisor import Part, Supervisor
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.run_queues import OTHER, OTHER_RUNS, QUEUES
from heaters_dagster.settings import Settings, child_environment

#: How long runs may take to end after Ctrl-C; an interrupted step writes its end to the database.
PATIENCE_SECONDS = 15.0


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
        wanted = [f"{kind}={runs[kind]}" for kind in served]
        command = (sys.executable, "-m", "heaters_dagster.commands.up.worker_node", str(folder), *wanted)
        parts = [Part("runs", command, ready=lambda: all((folder / kind).exists() for kind in served))]
        supervisor = Supervisor(parts, environment=environment, say=say, folder=settings.home, patience_seconds=PATIENCE_SECONDS)
        told = ", ".join(f"{kind} {runs[kind]}" for kind in served)
        with signals_stop(supervisor), served_metrics(settings):
            code = supervisor.run(when_ready=lambda: say(OURS, f"{settings.host_name} waits for work; runs at once: {told}"))
    say(OURS, "everything has ended")
    return code
