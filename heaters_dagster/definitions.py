"""The one place where assets, checks, jobs, sensors, schedules and resources meet."""

from importlib import import_module
from typing import Any

import dagster as dg

from assets.detector_evaluation import detector_evaluation
from assets.made_with import code_version
from assets.work_waiting import work_waiting
from heaters_dagster.domain.stages import STAGES, Stage
from heaters_dagster.orchestration.checks import CHECKS
from heaters_dagster.orchestration.jobs import ASSET_JOBS, MAINTENANCE_JOBS, evaluate_detector
from heaters_dagster.orchestration.schedules import SCHEDULES
from heaters_dagster.orchestration.sensors import SENSORS
from heaters_dagster.settings import Settings, load_settings
from resources.orchestrator.dagster_resources import dagster_resources


def _assets_of(stage: Stage[Any]) -> dg.AssetsDefinition:
    """What the module of a stage defines. Raises when it does not define exactly its assets."""
    module = import_module(f"assets.{stage.asset}")
    defined = [one for one in vars(module).values() if isinstance(one, dg.AssetsDefinition)]
    made = {key.to_user_string() for one in defined for key in one.keys}
    if len(defined) != 1 or made != set(stage.makes):
        raise dg.DagsterInvalidDefinitionError(
            f"assets/{stage.asset}.py defines {sorted(made)}; domain/stages.py says {sorted(stage.makes)}"
        )
    return defined[0]


ASSETS = tuple(_assets_of(stage) for stage in STAGES)

#: Owners of the assets of a group.
_OWNERS = {
    "ingest": "team:operators",
    "archive": "team:operators",
    "review": "team:reviewers",
    "delivery": "team:operators",
    "search": "team:operators",
}


def heaters_definitions(settings: Settings | None = None) -> dg.Definitions:
    """All that Heaters gives to Dagster. settings: None for those of the process."""
    known = settings or load_settings()
    made = {name for stage in STAGES for name in stage.makes}

    def with_owner_and_version(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.to_user_string()
        version = code_version(name, known) if name in made else None
        return spec.replace_attributes(owners=[_OWNERS[spec.group_name or "ingest"]], code_version=version)

    return dg.Definitions(
        assets=dg.map_asset_specs(with_owner_and_version, [*ASSETS, detector_evaluation, work_waiting]),
        asset_checks=CHECKS,
        jobs=[*ASSET_JOBS.values(), evaluate_detector, *MAINTENANCE_JOBS],
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources=dagster_resources(settings),
        executor=dg.in_process_executor,
    )


defs = heaters_definitions()
