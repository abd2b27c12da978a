"""`python -m heaters_dagster.commands.up.daemon WORKSPACE [READY]`: Dagster's daemon, which waits for nudges while there is nothing to do.

Dagster's own ticks every sensor every five seconds, asks for queued runs every second and looks after runs every ten, whether anything
happens or not. Here they do so while runs are unfinished and for two minutes after the last nudge; otherwise they wait a minute, and a
nudge ends the wait at once. A nudge that was lost costs that minute. READY: a file that it makes when it works or stands by.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from heaters_dagster import event_log
from heaters_dagster.commands.metrics import served_metrics
from heaters_dagster.commands.up.silent_code_server import SilentCodeServer, say_in_words
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.run_leases import SCHEDULER
from heaters_dagster.orchestration.janitor import end_lost_in_broker
from heaters_dagster.settings import Settings, load_settings
from resources.orchestrator.dagster_daemon_private import (
    DagsterDaemon,
    IWorkspaceProcessContext,
    MonitoringDaemon,
    QueuedRunCoordinatorDaemon,
    SensorDaemon,
    WorkspaceFileTarget,
    capture_interrupts,
    create_daemon_of_type,
    daemon_controller_from_instance,
    raise_interrupts_as,
    server_watcher,
    setup_interrupt_handlers,
)
from resources.orchestrator.dagster_private import CODE_SERVER_WATCH_SECONDS, NOT_FINISHED_STATUSES
from resources.orchestrator.dagster_resources import shared_database
from resources.orchestrator.leased_runs import leases_of
from resources.postgres.nudges import Nudge, Nudges
from resources.postgres.run_keeper import RunKeeper
from resources.postgres.run_leases import RunLeases

_Rounds = Generator[Any, None, None]

#: Longer than the waits in `domain/due.py`: what failed for a temporary reason is tried again, and what waits for company goes on.
BUSY_AFTERWARDS_SECONDS = 120.0
_SENSORS_BUSY_SECONDS, _QUEUE_BUSY_SECONDS = 5.0, 1.0
QUIET_SECONDS = 60.0
#: A sensor that was in the middle of its tick when the nudge came, or had begun one less than a second before, is ticked again after this.
_SECOND_ROUND_SECONDS = 1.1
_SHORTEST_PAUSE_SECONDS = 0.5
_COUNTED_EVERY_SECONDS = 4.0

_ASKED_EVERY_SECONDS = 2.0


class Pace:
    """Whether anything happens: there were nudges a short time ago, or runs are unfinished, or nobody would tell us."""

    def __init__(self, instance: dg.DagsterInstance, nudges: Nudges, *, busy_afterwards_seconds: float = BUSY_AFTERWARDS_SECONDS) -> None:
        self._instance, self._nudges, self._afterwards = instance, nudges, busy_afterwards_seconds
        self._lock = threading.Lock()
        self._counted_at = self._unfinished_at = time.monotonic()

    def is_quiet(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now - self._counted_at >= _COUNTED_EVERY_SECONDS:
                self._counted_at = now
                if self._instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
                    self._unfinished_at = now
            quiet_for = min(now - self._unfinished_at, self._nudges.seconds_since_last())
            return self._nudges.listening and quiet_for > self._afterwards


class Pause(threading.Event):
    """Stands for the event that ends a daemon, where its loop waits for the next round: as long as the pace says, or until a nudge."""

    def __init__(
        self,
        end: threading.Event,
        nudges: Nudges,
        kind: Nudge,
        pace: Pace,
        *,
        busy_seconds: float,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        super().__init__()
        self._end, self._nudges, self._kind, self._pace = end, nudges, kind, pace
        self._busy_seconds, self._quiet_seconds = busy_seconds, quiet_seconds
        self._heard, self._was_nudged = nudges.heard(kind), False
        threading.Thread(target=self._wake_at_the_end, name="end of a daemon", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """timeout: what Dagster would wait; not used. Returns whether the daemon is to end."""
        if self._end.wait(_SHORTEST_PAUSE_SECONDS):
            return True
        seconds = self._quiet_seconds if self._pace.is_quiet() else self._busy_seconds
        left = (min(seconds, _SECOND_ROUND_SECONDS) if self._was_nudged else seconds) - _SHORTEST_PAUSE_SECONDS
        self._was_nudged = self._nudges.wait(self._kind, self._heard, max(left, 0.0), until=self._end.is_set)
        self._heard = self._nudges.heard(self._kind)
        return self._end.is_set()

    def _wake_at_the_end(self) -> None:
        self._end.wait()
        self._nudges.wake()


class NudgedSensors(SensorDaemon):
    """Dagster's daemon of sensors, with `Pause` for its waits."""

    def __init__(self, settings: Any, nudges: Nudges, pace: Pace) -> None:
        super().__init__(settings)
        self._nudges, self._pace = nudges, pace

    def core_loop(self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event) -> _Rounds:
        settings = load_settings()
        quiet = min(QUIET_SECONDS, max(settings.watch_seconds, _SENSORS_BUSY_SECONDS)) if settings.watch else QUIET_SECONDS
        busy = _SENSORS_BUSY_SECONDS
        pause = Pause(shutdown_event, self._nudges, Nudge.ROWS, self._pace, busy_seconds=busy, quiet_seconds=quiet)
        yield from super().core_loop(workspace_process_context, pause)


class NudgedQueue(QueuedRunCoordinatorDaemon):
    """Dagster's daemon that starts queued runs, with `Pause` for its waits."""

    def __init__(self, nudges: Nudges, pace: Pace) -> None:
        super().__init__(interval_seconds=0.01)  # one wait between two rounds, however long that is
        self._nudges, self._pace = nudges, pace

    def core_loop(self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event) -> _Rounds:
        pause = Pause(shutdown_event, self._nudges, Nudge.RUNS, self._pace, busy_seconds=_QUEUE_BUSY_SECONDS)
        while not shutdown_event.is_set():
            yield from self.run_iteration(workspace_process_context)
            pause.wait()
            yield None


class NudgedMonitoring(MonitoringDaemon):
    """Dagster's daemon that looks after runs, with `Pause` for its waits."""

    def __init__(self, interval_seconds: float, nudges: Nudges, pace: Pace) -> None:
        super().__init__(interval_seconds)
        self._nudges, self._pace = nudges, pace

    def core_loop(self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event) -> _Rounds:
        pause = Pause(shutdown_event, self._nudges, Nudge.RUNS, self._pace, busy_seconds=self.interval_seconds)
        while not shutdown_event.is_set():
            yield from self.run_iteration(workspace_process_context)
            with suppress(HeatersError):
                end_lost_in_broker(workspace_process_context.instance, shared_database(load_settings()).stage_is_busy)
            pause.wait()
            yield None


def daemons_of(instance: dg.DagsterInstance, nudges: Nudges) -> list[DagsterDaemon[Any]]:
    """All daemons that the instance needs, three of them ours."""
    pace = Pace(instance, nudges)
    ours: dict[str, Callable[[], DagsterDaemon[Any]]] = {
        SensorDaemon.daemon_type(): lambda: NudgedSensors(instance.get_sensor_settings(), nudges, pace),
        QueuedRunCoordinatorDaemon.daemon_type(): lambda: NudgedQueue(nudges, pace),
        MonitoringDaemon.daemon_type(): lambda: NudgedMonitoring(instance.run_monitoring_poll_interval_seconds, nudges, pace),
    }
    return [ours[kind]() if kind in ours else create_daemon_of_type(kind, instance) for kind in instance.get_required_daemon_types()]


class Election:
    """On all machines together one daemon starts runs and looks for work. The others stand by, and take over when it ends.

    The elected one holds a lease like that of a run: it is renewed, and lost when its process stands still.
    """

    def __init__(self, leases: RunLeases, say: Callable[[str], object]) -> None:
        self._leases, self._say = leases, say
        self._keeper = RunKeeper(leases)

    def wait(self, *, ready: Callable[[], object]) -> None:
        """Return when this process is elected. ready: called when it stands by, or is elected."""
        named = ""
        while (holder := self._leases.begin_or_say_who(SCHEDULER)) is not None:
            if holder.host != named:
                named = holder.host
                where = f"another machine, {named}," if named != self._leases.host else "another heaters up on this machine"
                self._say(
                    f"{where} does the scheduling: it looks for work and starts the runs. This heaters up goes on with its Dagster UI and "
                    "review app, and takes over when that one ends"
                )
            ready()
            time.sleep(_ASKED_EVERY_SECONDS)
        self._keeper.begin(SCHEDULER)
        if named:
            self._say(f"{self._leases.host} does the scheduling from now on")
        ready()

    @property
    def was_lost(self) -> bool:
        return self._keeper.was_taken_away(SCHEDULER)

    def end(self) -> None:
        self._keeper.end(SCHEDULER)


def main() -> int:
    setup_interrupt_handlers()
    server_watcher.WATCH_INTERVAL = CODE_SERVER_WATCH_SECONDS
    settings = load_settings()
    event_log.set_up(settings, "daemon", owns_output=True)
    nudges, silent = Nudges(settings), SilentCodeServer()
    silent.take_warnings()

    def ready() -> None:
        for name in sys.argv[2:]:
            Path(name).touch()

    try:
        with capture_interrupts(), served_metrics(settings), dg.DagsterInstance.get() as instance:
            while _schedule(instance, settings, nudges, ready, silent):
                print("this machine had stood still for too long, so its scheduling was taken over", flush=True)
    except KeyboardInterrupt:
        pass
    return 0


def _schedule(
    instance: dg.DagsterInstance, settings: Settings, nudges: Nudges, ready: Callable[[], object], silent: SilentCodeServer
) -> bool:
    """Run the daemons while this process is elected; True when that was lost. Raises KeyboardInterrupt."""
    election = Election(leases_of(settings), lambda text: print(text, flush=True))
    with raise_interrupts_as(KeyboardInterrupt):
        election.wait(ready=ready)
    try:
        with daemon_controller_from_instance(
            instance,
            workspace_load_target=WorkspaceFileTarget(paths=[sys.argv[1]]),
            gen_daemons=lambda given: daemons_of(given, nudges),
            log_level="warning",
        ) as controller:
            event_log.set_up(settings)  # Dagster has made its loggers
            say_in_words(silent)
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        if not election.was_lost:
            raise
    finally:
        election.end()
    return True


if __name__ == "__main__":
    sys.exit(main())
