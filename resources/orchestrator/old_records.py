"""Removes what Dagster keeps for ever and nobody reads any more: the details of old runs, and old runs that made nothing.

This is the clean-up that Dagster's documentation publishes (Deployment, Troubleshooting, "Cleaning older data from your Dagster database"):
events are removed by kind and age. Never a materialization: from those Dagster knows what exists, and what is stale. Ticks are removed by
Dagster itself, as `retention` in dagster.yaml says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from resources.orchestrator.dagster_private import NOT_FINISHED_STATUSES, SqlEventLogStorage

_T = dg.DagsterEventType
#: What stays of a run: what it made and found, and how it ended.
KEPT_EVENTS = frozenset(
    {
        _T.ASSET_MATERIALIZATION,
        _T.ASSET_OBSERVATION,
        _T.ASSET_CHECK_EVALUATION,
        _T.STEP_FAILURE,
        _T.RUN_START,
        _T.RUN_SUCCESS,
        _T.RUN_FAILURE,
        _T.RUN_CANCELED,
    }
)
_REMOVED_EVENTS: tuple[str | None, ...] = (None, *sorted(kind.value for kind in _T if kind not in KEPT_EVENTS))  # None: lines of logs
#: Rows that one statement deletes, so that it holds locks for a moment only.
_AT_A_TIME = 2_000

#: The tables that grow with each run. Postgres would clean them up only after a fifth of their rows has changed: of ten million
#: events that is two million.
_GROWING = ("event_logs", "runs", "run_tags", "job_ticks", "asset_event_tags", "asset_check_executions")
_VACUUM = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, "
    "autovacuum_vacuum_threshold = 1000"
)

_EVENTS = text(
    """
    select id, run_id, timestamp from event_logs
    where dagster_event_type = :kind and id > :after order by id limit :most
    """
)
_LINES = text("select id, run_id, timestamp from event_logs where dagster_event_type is null and id > :after order by id limit :most")
_RUNS = text(
    """
    select id, run_id from runs
    where status in ('SUCCESS', 'FAILURE', 'CANCELED') and update_timestamp < :before and id > :after
    and (status <> 'SUCCESS' or pipeline_name = any(:without_assets))
    and not exists (
        select from event_logs e where e.run_id = runs.run_id and e.dagster_event_type = 'ASSET_MATERIALIZATION'
    )
    order by id limit :most
    """
)


@dataclass(frozen=True, slots=True)
class RecordsRemoved:
    """events: of runs that stay. runs: with all their events. outputs: runs whose captured output was removed."""

    events: int = 0
    runs: int = 0
    outputs: int = 0


def remove_old_records(
    instance: dg.DagsterInstance, *, older_than: timedelta, jobs_without_assets: Collection[str], now: datetime | None = None
) -> RecordsRemoved:
    """Remove the details of runs that ended before then, and the runs that failed, were canceled or make no assets, if they made nothing.

    It may be killed at any moment and run twice at a time: each time it goes on with what is left.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return RecordsRemoved()
    before = ((now or datetime.now(UTC)) - older_than).replace(tzinfo=None)  # as Dagster stores it
    unfinished = {record.dagster_run.run_id for record in instance.get_run_records(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))}
    runs = outputs = events = 0
    with storage.index_connection() as connection:
        for run_id in _runs_that_made_nothing(connection, before, jobs_without_assets):
            _remove_output(instance, run_id)
            instance.delete_run(run_id)
            runs, outputs = runs + 1, outputs + 1
        for kind in _REMOVED_EVENTS:
            for ids, run_ids in _old_events(connection, kind, before, unfinished):
                if kind == _T.LOGS_CAPTURED.value:
                    for run_id in run_ids:
                        _remove_output(instance, run_id)
                    outputs += len(run_ids)
                connection.execute(text("delete from event_logs where id = any(:ids)"), {"ids": list(ids)})
                events += len(ids)
    return RecordsRemoved(events, runs, outputs)


def keep_tables_tidy(instance: dg.DagsterInstance) -> list[str]:
    """Let Postgres clean up Dagster's growing tables sooner; returns the tables that were changed. What an operator has set stays."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return []
    with storage.index_connection() as connection:
        unset = connection.execute(
            text(
                "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r' "
                "and relname = any(:names) and reloptions is null order by relname"
            ),
            {"names": list(_GROWING)},
        )
        changed = []
        for name in [row.relname for row in unset]:
            try:
                connection.execute(text(f"alter table {name} set ({_VACUUM})"))
            except ProgrammingError:  # the tables belong to another user of the server, who has to do it
                continue
            changed.append(name)
    return changed


def _old_events(
    connection: Connection, kind: str | None, before: datetime, unfinished: Collection[str]
) -> Iterator[tuple[Sequence[int], Sequence[str]]]:
    """(ids, ids of their runs) of old events of a kind, page by page, along Dagster's index of kinds.

    Events are nearly in order of time: behind a page without an old one there is none.
    """
    after = 0
    query, named = (_LINES, {}) if kind is None else (_EVENTS, {"kind": kind})
    while rows := connection.execute(query, {**named, "after": after, "most": _AT_A_TIME}).all():
        old = [row for row in rows if row.timestamp < before]
        gone = [row for row in old if row.run_id not in unfinished]
        if gone:
            yield [row.id for row in gone], sorted({row.run_id for row in gone})
        if not old:
            return
        after = rows[-1].id


def _runs_that_made_nothing(connection: Connection, before: datetime, jobs_without_assets: Collection[str]) -> Iterator[str]:
    after, wanted = 0, {"before": before, "without_assets": list(jobs_without_assets), "most": _AT_A_TIME}
    while rows := connection.execute(_RUNS, {**wanted, "after": after}).all():
        yield from (row.run_id for row in rows)
        after = rows[-1].id


def _remove_output(instance: dg.DagsterInstance, run_id: str) -> None:
    """What the steps of a run have printed, in the home folder or in the bucket."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
