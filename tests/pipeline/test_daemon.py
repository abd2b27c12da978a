"""The daemon of `heaters up`: it waits long only while nothing happens, and a nudge ends the wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import dagster as dg
import pytest

from heaters_dagster.commands.up.daemon import NudgedMonitoring, NudgedQueue, NudgedSensors, Pace, Pause, daemons_of
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.nudges import Nudge, Nudges
from resources.postgres.source_video_store import SourceVideoStore

_PATIENCE_SECONDS = 30.0
pytestmark = pytest.mark.folder


@pytest.fixture
def nudges(settings: Settings) -> Iterator[Nudges]:
    nudges = Nudges(settings)
    assert nudges.wait(Nudge.ROWS, 0, _PATIENCE_SECONDS)
    yield nudges
    nudges.close()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as instance:
        yield instance


def test_it_is_quiet_only_when_nothing_happened_and_no_run_is_unfinished(
    instance: dg.DagsterInstance, nudges: Nudges, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heaters_dagster.commands.up.daemon._COUNTED_EVERY_SECONDS", 0.0)
    assert not Pace(instance, nudges).is_quiet(), "just begun"
    pace = Pace(instance, nudges, busy_afterwards_seconds=0.0)
    assert pace.is_quiet()

    @dg.op
    def nothing() -> None: ...

    @dg.job
    def a_job() -> None:
        nothing()

    run = instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED)
    assert not pace.is_quiet()
    instance.report_run_canceled(run)
    assert pace.is_quiet()
    nudges.close()
    assert not pace.is_quiet(), "nobody would tell"


def test_a_nudge_ends_the_wait_and_so_does_the_end(instance: dg.DagsterInstance, nudges: Nudges, database: Database) -> None:
    end, pace = threading.Event(), Pace(instance, nudges, busy_afterwards_seconds=0.0)
    pause = Pause(end, nudges, Nudge.ROWS, pace, busy_seconds=3600.0, quiet_seconds=3600.0)
    threading.Timer(1.0, lambda: SourceVideoStore(database).add("film.mp4", "film")).start()
    assert pause.wait(5) is False
    assert pause.wait(5) is False, "once more soon afterwards, for a sensor that was in the middle of its tick"
    (video,) = SourceVideoStore(database).load_all()
    SourceVideoStore(database).set_state(video.id, SourceVideoState.DOWNLOADING)  # before the wait: heard all the same
    assert pause.wait(5) is False
    assert pause.wait(5) is False
    threading.Timer(1.0, end.set).start()
    assert pause.wait(5) is True


def test_a_nudge_that_was_lost_costs_the_quiet_wait_and_no_more(instance: dg.DagsterInstance, nudges: Nudges, database: Database) -> None:
    pace = Pace(instance, nudges, busy_afterwards_seconds=0.0)
    pause = Pause(threading.Event(), nudges, Nudge.ROWS, pace, busy_seconds=3600.0, quiet_seconds=1.0)
    assert pause.wait(5) is False, "nobody nudged it"
    nudges.close()
    pause = Pause(threading.Event(), nudges, Nudge.ROWS, pace, busy_seconds=1.0, quiet_seconds=3600.0)
    assert pause.wait(5) is False, "nobody could"


def test_three_of_the_daemons_are_ours_and_none_is_for_what_heaters_does_not_have(instance: dg.DagsterInstance, nudges: Nudges) -> None:
    daemons = {daemon.daemon_type(): type(daemon) for daemon in daemons_of(instance, nudges)}
    assert set(daemons) == {"SENSOR", "QUEUED_RUN_COORDINATOR", "SCHEDULER", "BACKFILL", "MONITORING"}
    assert daemons["SENSOR"] is NudgedSensors
    assert daemons["QUEUED_RUN_COORDINATOR"] is NudgedQueue
    assert daemons["MONITORING"] is NudgedMonitoring
