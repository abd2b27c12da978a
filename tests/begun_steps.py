"""Runs of Dagster of which a step has begun."""

from __future__ import annotations

import dagster as dg


def begin_step(instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str) -> None:
    """A worker begins the step that makes the asset."""
    assert run.execution_plan_snapshot_id is not None
    steps = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).steps
    outputs = {step.key: [output.properties.asset_key for output in step.outputs if output.properties is not None] for step in steps}
    (key,) = [key for key, keys in outputs.items() if dg.AssetKey(asset) in keys]
    started = dg.DagsterEvent(dg.DagsterEventType.STEP_START.value, run.job_name, step_key=key)
    instance.report_dagster_event(started, run.run_id)
