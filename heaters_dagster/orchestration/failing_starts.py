"""Holds back a job whose runs fail before their work begins, as with a half-renewed installation or a package that is missing.

No row knows of such a run: it has no try less, and stays due. Without a pause each look would start it anew, thousands of times in a night.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from heaters_dagster.domain.due import pause_after_failed_starts
from heaters_dagster.domain.stages import Job
from heaters_dagster.domain.words import counted
from heaters_dagster.orchestration.dead_runs import begun_assets

_LOOKED_AT = timedelta(hours=1)
_MOST_RUNS = 12


@dataclass(frozen=True, slots=True)
class FailingStarts:
    """runs: how many of the newest runs failed so, one after the other. seconds: until the next is tried, 0 when one may be tried now.

    error: of the newest, its first line.
    """

    runs: int
    seconds: float
    error: str

    @property
    def words(self) -> str:
        what = f"the last {counted(self.runs, 'run')} of this job failed before the work began ({self.error})"
        return f"{what}; the next is tried in {counted(math.ceil(self.seconds), 'second')}" if self.seconds > 0 else what


def failing_starts(instance: dg.DagsterInstance, job: Job) -> FailingStarts | None:
    """None while runs of the job begin their work, or nobody has tried within an hour."""
    ended = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    recent = dg.RunsFilter(job_name=job.value, statuses=ended, updated_after=datetime.now(UTC) - _LOOKED_AT)
    records = sorted(instance.get_run_records(recent, limit=_MOST_RUNS), key=lambda record: record.update_timestamp, reverse=True)
    failed = 0
    for record in records:
        if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS or begun_assets(record.dagster_run, instance):
            break
        failed += 1
    pause = pause_after_failed_starts(failed)
    if pause is None:
        return None
    age = (datetime.now(UTC) - records[0].update_timestamp.replace(tzinfo=UTC)).total_seconds()
    return FailingStarts(failed, max(0.0, pause - age), _error(instance, records[0].dagster_run))


def _error(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE).records
    event = records[-1].event_log_entry.dagster_event if records else None
    if event is None:
        return "no reason is known"
    error = getattr(event.event_specific_data, "error", None)
    said = str(error.message) if error is not None else event.message or ""
    return next(iter(said.strip().splitlines()), "no reason is known")
