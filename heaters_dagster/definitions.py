"""The one place where assets, checks, jobs, sensors, schedules and resources meet."""

import dagster as dg

from assets.archived_clips import archived_clips
from assets.embeddings import embeddings
from assets.exports import exports
from assets.gold_master import gold_master
from assets.keyframes import keyframes
from assets.proxy import proxy_and_keyframe_offsets
from assets.source_video import source_video
from assets.virtual_clips import virtual_clips
from assets.work_waiting import work_waiting
from heaters_dagster.checks import CHECKS
from heaters_dagster.jobs import ASSET_JOBS, MAINTENANCE_JOBS
from heaters_dagster.schedules import SCHEDULES
from heaters_dagster.sensors import SENSORS
from heaters_dagster.settings import Settings
from resources.dagster_resources import dagster_resources

ASSETS = (
    source_video,
    proxy_and_keyframe_offsets,
    gold_master,
    virtual_clips,
    exports,
    keyframes,
    embeddings,
    archived_clips,
)

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
    return dg.Definitions(
        assets=dg.map_asset_specs(
            lambda spec: spec.replace_attributes(owners=[_OWNERS[spec.group_name or "ingest"]]), [*ASSETS, work_waiting]
        ),
        asset_checks=CHECKS,
        jobs=[*ASSET_JOBS.values(), *MAINTENANCE_JOBS],
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources=dagster_resources(settings),
        executor=dg.in_process_executor,
    )


defs = heaters_definitions()
