"""What a library of many source videos leaves in Dagster's tables: the records of one that waits for review, as often as wanted.

These are two of the four runs that a source video has in the end: half of the records.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, text

from heaters_dagster.settings import Settings
from resources.postgres.database import Database, dagster_database_url

#: Of the source video {template}. new_run: the id of the run of source video n that stands for a run of the template.
_TEMPLATE = """
create function t_new_run(run_id text, n bigint) returns text language sql immutable as 'select md5(run_id || n)::uuid::text';
create function t_of_video(body text, run_id text, template text, n bigint) returns text language sql immutable as
    'select replace(replace(body, run_id, t_new_run(run_id, n)), ''"'' || template || ''"'', ''"'' || n || ''"'')';
create table t_runs as select * from runs where partition = '{template}' and pipeline_name in ('ingest', 'archive_master');
create table t_tags as select t.* from run_tags t join t_runs using (run_id);
create table t_events as select row_number() over (order by e.id) as k, e.* from event_logs e join t_runs using (run_id);
create table t_event_tags as select e.k, t.* from asset_event_tags t join t_events e on e.id = t.event_id;
create table t_checks as select c.* from asset_check_executions c join t_runs using (run_id);
"""
_FORGOTTEN = """
drop table t_runs, t_tags, t_events, t_event_tags, t_checks;
drop function t_of_video; drop function t_new_run;
select setval(pg_get_serial_sequence('event_logs', 'id'), {after} + ({videos} + 2) * {events});
insert into dynamic_partitions (partitions_def_name, partition) select 'source_videos', n::text from generate_series(1, {videos}) n
on conflict do nothing;
"""
_VIDEOS = "from generate_series(1, {videos}) n cross join lateral (select * from {table} order by id) t"
_EARLIER = "({videos} - n) * interval '1 minute'"
_COPIES = {
    "event_logs": """
insert into event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
select {after} + n * {events} + k, t_new_run(run_id, n), t_of_video(event, run_id, '{template}', n), dagster_event_type,
    timestamp - {earlier}, step_key, asset_key, case when partition = '{template}' then n::text else partition end
""",
    "asset_check_executions": """
insert into asset_check_executions (asset_key, check_name, partition, run_id, execution_status, evaluation_event,
    evaluation_event_timestamp, create_timestamp)
select asset_key, check_name, case when partition = '{template}' then n::text else partition end, t_new_run(run_id, n),
    execution_status, t_of_video(evaluation_event, run_id, '{template}', n), evaluation_event_timestamp, create_timestamp
""",
    "run_tags": """
insert into run_tags (run_id, key, value)
select t_new_run(run_id, n), key, case when value = '{template}' then n::text else value end
""",
    "runs": """
insert into runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set, create_timestamp,
    update_timestamp, start_time, end_time)
select t_new_run(run_id, n), snapshot_id, pipeline_name, mode, status, t_of_video(run_body, run_id, '{template}', n), n,
    partition_set, create_timestamp - {earlier}, update_timestamp - {earlier},
    start_time - ({videos} - n) * 60, end_time - ({videos} - n) * 60
""",
    "asset_event_tags": """
insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp)
select {after} + n * {events} + k, asset_key, key, case when value = '{template}' then n::text else value end, event_timestamp - {earlier}
""",
}
_TEMPLATES = {
    "event_logs": "t_events",
    "asset_check_executions": "t_checks",
    "run_tags": "t_tags",
    "runs": "t_runs",
    "asset_event_tags": "t_event_tags",
}


def multiply(settings: Settings, *, template: int, videos: int) -> None:
    """Write the records of the source video `template` for the source videos 1 to `videos`, which have none, and their partitions."""
    records = Database.connect(dagster_database_url(settings))
    try:
        with records.begin() as connection:
            _execute(connection, _TEMPLATE.format(template=template))
            given = {
                "template": template,
                "videos": videos,
                "earlier": _EARLIER.format(videos=videos),
                "events": connection.scalar(text("select count(*) from t_events")),
                "after": connection.scalar(text("select max(id) from event_logs")),
            }
        with ThreadPoolExecutor(2) as sessions:
            list(sessions.map(lambda table: _multiply(records, table, given), _COPIES))
        with records.begin() as connection:
            _execute(connection, _FORGOTTEN.format(**given))
    finally:
        records.dispose()


def _multiply(records: Database, table: str, given: dict[str, Any]) -> None:
    with records.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("set local maintenance_work_mem = '512MB'"))
        later = _without_indexes(connection, table)
        source = _VIDEOS.format(videos=given["videos"], table=_TEMPLATES[table])
        _execute(connection, _COPIES[table].format(**given) + source)
        for statement in later:
            connection.exec_driver_sql(statement)
    with records.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"vacuum analyze {table}"))


def _execute(connection: Connection, statements: str) -> None:
    """Several statements, which is possible without parameters only."""
    own: Any = connection.connection.driver_connection
    own.execute(statements)


def _without_indexes(connection: Connection, table: str) -> list[str]:
    """Drop the indexes that belong to no constraint; returns the statements that make them again. Built at the end they take less time."""
    query = text(
        "select indexname, indexdef from pg_indexes where schemaname = current_schema() and tablename = :name "
        "and not exists (select from pg_constraint where conname = indexname)"
    )
    found = connection.execute(query, {"name": table}).all()
    for index in found:
        connection.exec_driver_sql(f'drop index "{index.indexname}"')
    return [index.indexdef for index in found]
