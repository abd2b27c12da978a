"""Dagster's storage keeps its connections, and finds its way back when the server ended them."""

from __future__ import annotations

import dagster as dg
from sqlalchemy import text

from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_connections import close_kept_connections
from resources.postgres.database import Database
from tests.this_machine import eventually


def test_questions_to_dagster_share_the_connections_of_the_process(settings: Settings, database: Database) -> None:
    def connections() -> list[tuple[int, object]]:
        """(process id of the server for it, since when) of those to Dagster's tables, which came over psycopg2."""
        with database.read() as connection:
            rows = connection.execute(
                text(
                    "select pid, backend_start from pg_stat_activity "
                    "where datname = current_database() and application_name = '' and query ~ 'runs' and state = 'idle'"
                )
            )
            return [(row.pid, row.backend_start) for row in rows]

    with open_instance(settings) as instance:
        for _ in range(2):  # it keeps two, and opens the second when it first needs one
            instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            with open_instance(settings) as another:
                another.get_runs()
        kept = connections()
        for _ in range(5):
            instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        with open_instance(settings) as another:
            another.get_runs()
        assert 1 <= len(kept) <= 2
        assert connections() == kept
        with database.begin() as connection:
            for pid, _ in kept:
                connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
        assert instance.get_runs() == []
        assert connections() != kept
    close_kept_connections()
    assert eventually(lambda: connections() == [], seconds=30), "heaters up stops Postgres when nobody else is connected"
