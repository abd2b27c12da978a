"""Resources in real runs: made from the settings they were given, and progress that goes where it is watched."""

from dataclasses import replace
from pathlib import Path

import dagster as dg

from heaters_dagster.domain.progress import Progress
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_resources import (
    MachineResource,
    ProgressResource,
    dagster_resources,
    logged,
    progress_shown_by,
    shared_database,
)


def test_resources_carry_the_settings_into_the_run(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, keyframe_percentages=(10.0, 90.0), webcodecs_enabled=False)
    seen: list[Settings] = []

    @dg.asset
    def stage(machine: MachineResource) -> None:
        seen.append(machine.get().settings)
        assert machine.get().work.root == settings.work_folder

    assert dg.materialize([stage], resources=dagster_resources(settings)).success
    assert seen == [settings]


def test_one_database_serves_all_who_have_the_same_settings(settings: Settings) -> None:
    first, same = (shared_database(one) for one in (settings, replace(settings)))
    assert first is same
    assert first is not shared_database(replace(settings, detector="adaptive"))


def test_no_resource_has_configuration(settings: Settings) -> None:
    for resource in dagster_resources(settings).values():
        assert isinstance(resource, dg.ConfigurableResource)
        schema = resource.get_resource_definition().config_schema
        assert not schema.default_provided or schema.default_value == {}
        assert schema.config_type is not None
        assert not getattr(schema.config_type, "fields", None)


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, msg: object, /) -> None:
        self.lines.append(str(msg))


def reading(done: float, stage: str = "proxy") -> Progress:
    return Progress(stage, done, 100, "frames", 1.0)


def test_the_log_gets_a_line_every_five_seconds_and_the_end() -> None:
    log, now = Lines(), [0.0]
    report = logged(log, clock=lambda: now[0])
    for second in range(12):
        now[0] = float(second)
        report(reading(second))
    report(reading(100))
    assert [line.split(",")[0] for line in log.lines] == ["proxy 5 %", "proxy 10 %", "proxy 100 %"]


def test_stages_report_apart() -> None:
    log, now = Lines(), [0.0]
    report = logged(log, clock=lambda: now[0])
    report(reading(1, "proxy"))
    report(reading(1, "upload"))
    now[0] = 6.0
    report(reading(2, "proxy"))
    report(reading(2, "upload"))
    assert [line.split()[0] for line in log.lines] == ["proxy", "upload"]


def test_bars_take_the_place_of_the_log_while_they_are_shown() -> None:
    log, shown = Lines(), []
    with progress_shown_by(shown.append):
        ProgressResource().report_to(log)(reading(100))
    ProgressResource().report_to(log)(reading(100))
    assert shown == [reading(100)]
    assert len(log.lines) == 1
