"""Holds back a job whose runs fail before their work begins.

Without a pause each look would start them anew, thousands of times in a night. People are told by `resources/postgres/failing_starts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from heaters_dagster.domain.failing_starts import LOOKED_AT_SECONDS, MOST_RUNS, EndedRun, FailingStarts
from heaters_dagster.domain.failing_starts import failing_starts as failing
from heaters_dagster.domain.stages import Job
from heaters_dagster.orchestration.dead_runs import begun_assets


def failing_starts(instance: dg.DagsterInstance, job: Job) -> FailingStarts | None:
    """None while runs of the job begin their work, or nobody has tried within an hour."""
    return failing(job, _ended(instance, job))


def _ended(instance: dg.DagsterInstance, job: Job) -> Iterator[EndedRun]:
    now = datetime.now(UTC)
    ended = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    recent = dg.RunsFilter(job_name=job.value, statuses=ended, updated_after=now - timedelta(seconds=LOOKED_AT_SECONDS))
    records = instance.get_run_records(recent, limit=MOST_RUNS)
    for number, record in enumerate(sorted(records, key=lambda one: one.update_timestamp, reverse=True)):
        begun = record.dagster_run.status is dg.DagsterRunStatus.SUCCESS or bool(begun_assets(record.dagster_run, instance))
        ago = (now - record.update_timestamp.replace(tzinfo=UTC)).total_seconds()
        yield EndedRun(begun, ago, _error(instance, record.dagster_run) if number == 0 and not begun else "")


def _error(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE).records
    event = records[-1].event_log_entry.dagster_event if records else None
    if event is None:
        return ""
    error = getattr(event.event_specific_data, "error", None)
    return str(error.message) if error is not None else event.message or ""
