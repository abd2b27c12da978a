"""A code location with the jobs, sensors, checks and schedules of Heaters, and stages that make nothing and only move the rows on.

`python -m benchmarks.stages_that_do_nothing SOCKET` is its code server, as `heaters up` starts its own.
"""

import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
from sqlalchemy import text

from heaters_dagster.commands.up import code_server
from heaters_dagster.definitions import ASSETS
from heaters_dagster.orchestration.checks import CHECKS
from heaters_dagster.orchestration.jobs import ASSET_JOBS, MAINTENANCE_JOBS
from heaters_dagster.orchestration.schedules import SCHEDULES
from heaters_dagster.orchestration.sensors import SENSORS
from heaters_dagster.partitions import source_video_partitions
from resources.orchestrator.dagster_resources import dagster_resources

CLIPS = 3
_CLIP_FRAMES = 100

#: Past the triggers, which would have each step of the way.
_INGESTED = """
set local session_replication_role = replica;
update source_videos set state = 'scenes_detected', original_filepath = 'originals/' || id, original_bytes = 1000,
    proxy_filepath = 'proxy/' || id, frame_index_filepath = 'index/' || id, frame_count = {frames}, duration_seconds = {frames} / 25.0,
    scenes_filepath = 'scenes/' || id, next_clip_sequence = {clips} + 1 where id = {id};
insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, state, is_virtual, confidence)
select {id}, n, (n - 1) * {long}, n * {long}, (n - 1) * {long} / 25.0, n * {long} / 25.0, 'review_approved', true, 0.5
from generate_series(1, {clips}) n;
insert into clip_count_changes (source_video_id, confidence_percent, state, clips) values ({id}, 50, 'review_approved', {clips});
"""
_MOVED = "update clips set state = '{state}' where source_video_id = {id}"
_FILED = "update clips set state = 'exported', is_virtual = false, clip_filepath = 'clip/' || id where source_video_id = {id}"

#: What a run leaves in the rows of its source video, by the asset that is made last of those with an entry here.
_LEAVES = {
    "source_video": [_INGESTED],
    "gold_master": ["update source_videos set gold_master_filepath = 'master/' || id where id = {id}"],
    "exports": [_MOVED.replace("{state}", "exporting"), _FILED],
    "keyframes": [_MOVED.replace("{state}", state) for state in ("keyframing", "keyframed")],
    "embeddings": [_MOVED.replace("{state}", state) for state in ("embedding", "embedded")],
}


def _doing_nothing(one: dg.AssetsDefinition) -> dg.AssetsDefinition:
    name = one.op.name

    @dg.multi_asset(
        name=name,
        specs=list(one.specs),
        partitions_def=source_video_partitions,
        can_subset=True,
        required_resource_keys={"database"},
        pool=one.op.pool,
    )
    def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        keys = {key.to_user_string() for key in context.selected_asset_keys}
        given = {"id": int(context.partition_key), "clips": CLIPS, "long": _CLIP_FRAMES, "frames": CLIPS * _CLIP_FRAMES}
        with context.resources.database.get().begin() as connection:
            for key in sorted(keys & _LEAVES.keys()):
                for statement in _LEAVES[key]:
                    connection.execute(text(statement.format(**given)))
        for spec in one.specs:
            if spec.key.to_user_string() in keys:
                yield dg.MaterializeResult(asset_key=spec.key)

    return made


def _passing(spec: dg.AssetCheckSpec) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=spec.asset_key, name=spec.name)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


_JOBS: list[Any] = [*ASSET_JOBS.values(), *MAINTENANCE_JOBS]

defs = dg.Definitions(
    assets=[_doing_nothing(one) for one in ASSETS],
    asset_checks=[_passing(spec) for check in CHECKS for spec in check.check_specs],
    jobs=_JOBS,
    sensors=[sensor for sensor in SENSORS if sensor.name not in {"what_waits", "alerts"}],
    schedules=[schedule for schedule in SCHEDULES if schedule.job_name in {job.name for job in _JOBS}],
    resources=dagster_resources(),
    executor=dg.in_process_executor,
)

if __name__ == "__main__":
    sys.exit(code_server.main("benchmarks.stages_that_do_nothing"))
