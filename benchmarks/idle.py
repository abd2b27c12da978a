"""What `heaters up` costs while there is nothing to do: processor time of each part, with everything that part started."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most
from heaters_dagster.commands.up.start import heaters_parts
from heaters_dagster.commands.up.supervisor import Supervisor
from heaters_dagster.orchestration.instance import open_instance, prepare_dagster_home
from heaters_dagster.settings import Settings, child_environment
from resources.postgres.database import keep_running

_SECONDS = float(os.environ.get("IDLE_SECONDS", "300"))
_PATIENCE_SECONDS = 300.0
#: After the start, the daemons' first rounds and the first looks are over.
_SETTLING_SECONDS = float(os.environ.get("IDLE_SETTLING_SECONDS", "180"))
_SUPERVISOR = "supervisor"


def run() -> list[Row]:
    with scratch_database() as (settings, _):
        spent = _spent_while_idle(settings)
    percent = {part: 100 * seconds / _SECONDS for part, seconds in spent.items()}
    load = f"{_SECONDS:.0f} s; load of the machine {os.getloadavg()[1]:.1f}"
    total = at_most("all parts without Postgres, of one core", sum(percent.values()), "%", 2, load)
    return [total, *(Row(f"{part}, of one core", value, "%") for part, value in sorted(percent.items()))]


def _spent_while_idle(settings: Settings) -> dict[str, float]:
    """Seconds of processor time by part."""
    ready = threading.Event()
    with tempfile.TemporaryDirectory(prefix="heaters-") as folder, open_instance(settings):
        environment = child_environment(settings, DAGSTER_HOME=str(prepare_dagster_home(settings)))
        parts = heaters_parts(settings, Path(folder))
        supervisor = Supervisor(parts, environment=environment, say=lambda part, text: None)
        ways = {"when_ready": ready.set, "meanwhile": lambda: keep_running(settings)}
        running = threading.Thread(target=supervisor.run, kwargs=ways)
        running.start()
        try:
            if not ready.wait(_PATIENCE_SECONDS):
                raise RuntimeError("heaters up did not start")
            time.sleep(_SETTLING_SECONDS)
            before = _seconds_by_part(supervisor)
            time.sleep(_SECONDS)
            after = _seconds_by_part(supervisor)
        finally:
            supervisor.stop()
            running.join()
    return {part: after[part] - before[part] for part in after}


def _seconds_by_part(supervisor: Supervisor) -> Counter[str]:
    """Every part leads a process group; time of processes that have ended is in that of the process that started them."""
    groups = {running.process.pid: name for name, running in supervisor._running.items()}
    groups[os.getpid()] = _SUPERVISOR
    ticks: Counter[str] = Counter()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        group = pid if pid == os.getpid() else int(rest[2])
        if group in groups and (pid == os.getpid() or group != os.getpgrp()):
            ticks[groups[group]] += sum(int(one) for one in (rest[11:13] if pid == os.getpid() else rest[11:15]))
    return Counter({name: count / os.sysconf("SC_CLK_TCK") for name, count in ticks.items()})
