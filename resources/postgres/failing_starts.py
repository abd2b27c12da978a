"""Which jobs cannot begin their runs, read from Dagster's tables: for people, in programs that do not load Dagster.

`orchestration/failing_starts.py` reads the same through an instance; tests/pipeline/test_alerts.py compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from heaters_dagster.domain.failing_starts import LOOKED_AT_SECONDS, MOST_RUNS, EndedRun, FailingStarts, failing_starts
from heaters_dagster.domain.stages import Job
from heaters_dagster.settings import Settings
from resources.postgres.server_figures import reading_dagster_tables

_HAS_RUNS = text("select to_regclass('runs') is not null and to_regclass('event_logs') is not null")
_ENDED = text(
    f"""
    with ended as (
        select pipeline_name, run_id, status, update_timestamp,
            row_number() over (partition by pipeline_name order by update_timestamp desc) as place
        from runs
        where status in ('FAILURE', 'SUCCESS') and update_timestamp > (now() at time zone 'utc') - interval '{LOOKED_AT_SECONDS} seconds'
            and pipeline_name = any(:jobs)
    )
    select pipeline_name as job, run_id, extract(epoch from (now() at time zone 'utc') - update_timestamp)::float8 as ago,
        status = 'SUCCESS' or exists (
            select 1 from event_logs e where e.run_id = ended.run_id and e.dagster_event_type = 'STEP_START'
        ) as begun
    from ended where place <= {MOST_RUNS} order by pipeline_name, place
    """
)
_FAILURE = text("select event from event_logs where run_id = :run and dagster_event_type = 'PIPELINE_FAILURE' order by id desc limit 1")


def load_failing_starts(settings: Settings) -> dict[Job, FailingStarts]:
    """By job; empty while runs begin their work. Raises DatabaseUnavailableError."""
    with reading_dagster_tables(settings) as connection:
        return failing_jobs(connection)


def failing_jobs(connection: Connection) -> dict[Job, FailingStarts]:
    """connection: to Dagster's tables."""
    if not connection.scalar(_HAS_RUNS):
        return {}
    ended: dict[Job, list[EndedRun]] = {}
    for row in connection.execute(_ENDED, {"jobs": [job.value for job in Job]}):
        runs = ended.setdefault(Job(row.job), [])
        error = _error(connection.scalar(_FAILURE, {"run": row.run_id})) if not runs and not row.begun else ""
        runs.append(EndedRun(row.begun, float(row.ago), error))
    found = {job: failing_starts(job, runs) for job, runs in ended.items()}
    return {job: failing for job, failing in found.items() if failing is not None}


def _error(event: str | None) -> str:
    said: Mapping[str, Any] = json.loads(event)["dagster_event"] if event is not None else {}
    error = (said.get("event_specific_data") or {}).get("error")
    return str((error or {}).get("message") or said.get("message") or "")
