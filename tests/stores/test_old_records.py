"""Dagster's tables do not grow without end, and nothing is forgotten that exists."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import text

from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.orchestration.instance import prepare_dagster_home
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_private import InstanceRef
from resources.orchestrator.dagster_storage import opened_with
from resources.orchestrator.old_records import KEPT_EVENTS, RecordsRemoved, remove_old_records
from resources.postgres.database import Database, dagster_database_url

PARTS = dg.DynamicPartitionsDefinition(name="parts")


@dg.asset(partitions_def=PARTS)
def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    print("what the step prints")
    context.log.info("a line")
    if context.partition_key == "2":
        raise dg.Failure("it cannot be made")
    return dg.MaterializeResult(metadata={"frames": 48})


@dg.op
def look_around(context: dg.OpExecutionContext) -> None:
    context.log.info("nothing to do")


@dg.job
def maintenance() -> None:
    look_around()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    ref = InstanceRef.from_dir(str(prepare_dagster_home(settings)))
    with opened_with(settings), dg.DagsterInstance.from_ref(ref) as instance:
        yield instance


def test_details_of_old_runs_go_and_what_was_made_stays(instance: dg.DagsterInstance, settings: Settings) -> None:
    instance.add_dynamic_partitions("parts", ["1", "2"])
    good, bad = (dg.materialize([made], partition_key=key, instance=instance, raise_on_error=False) for key in "12")
    idle = maintenance.execute_in_process(instance=instance)
    working = instance.create_run_for_job(maintenance, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("it still works", working)
    days, nights = timedelta(days=30), {"jobs_without_assets": ["maintenance"]}
    printed = settings.dagster_home / "logs" / good.run_id

    assert remove_old_records(instance, older_than=days, **nights) == RecordsRemoved()
    assert printed.is_dir()
    later = datetime.now(UTC) + timedelta(days=31)
    removed = remove_old_records(instance, older_than=days, now=later, **nights)

    assert removed.runs == 2
    assert removed.events > 5
    assert {run.run_id for run in instance.get_runs()} == {good.run_id, working.run_id}
    assert not instance.get_run_by_id(bad.run_id)
    assert not instance.get_run_by_id(idle.run_id)
    assert instance.get_materialized_partitions(dg.AssetKey("made")) == {"1"}
    event = instance.get_latest_materialization_event(dg.AssetKey("made"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["frames"].value == 48
    kinds = {record.event_log_entry.dagster_event_type for record in instance.get_records_for_run(good.run_id).records}
    assert kinds <= KEPT_EVENTS
    assert {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.RUN_SUCCESS} <= kinds
    assert len(instance.get_records_for_run(working.run_id).records) == 1
    assert not printed.exists()
    assert remove_old_records(instance, older_than=days, now=later, **nights) == RecordsRemoved()


def test_the_nightly_job_removes_them_and_lets_postgres_clean_up_sooner(
    instance: dg.DagsterInstance, settings: Settings, database: Database
) -> None:
    job = heaters_definitions(settings).resolve_job_def("dagster_clean_up")
    old = maintenance.execute_in_process(instance=instance)
    own = Database.connect(dagster_database_url(settings), pool_size=1)
    try:
        with own.begin() as connection:
            connection.execute(text("alter table runs set (autovacuum_vacuum_scale_factor = 0.3)"))
            for table, column in (("runs", "update_timestamp"), ("event_logs", "timestamp")):
                connection.execute(text(f"update {table} set {column} = {column} - interval '31 days'"))
            connection.execute(text("update runs set status = 'FAILURE'"))
        assert job.execute_in_process(instance=instance).success
        assert not instance.get_run_by_id(old.run_id)
        with own.read() as connection:
            query = "select relname, array_to_string(reloptions, ' ') from pg_class where reloptions <> '{}'"
            options = {row[0]: row[1] for row in connection.execute(text(query))}
    finally:
        own.dispose()
    assert "autovacuum_vacuum_scale_factor=0.02" in options["event_logs"]
    assert options["runs"] == "autovacuum_vacuum_scale_factor=0.3", "what an operator has set stays"
