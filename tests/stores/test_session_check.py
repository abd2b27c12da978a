"""The doctor's look at connections: are they sessions of our own, and are there enough of them?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.session_check import OF_A_RUN, check_connections, check_sessions, connections_needed
from tests.transaction_pool import pooled


def test_a_pool_of_transactions_is_found_and_one_of_sessions_is_none(database: Database) -> None:
    address = make_url(database.url)
    check_sessions(database)
    with pooled(address, of_transactions=False) as url:
        behind = Database.connect(url.render_as_string(hide_password=False))
        check_sessions(behind)
        behind.dispose()
    with pooled(address, of_transactions=True) as url:
        behind = Database.connect(url.render_as_string(hide_password=False))
        with behind.stage_lock("proxy", 1), behind.read() as connection:
            connection.exec_driver_sql("select 1")
        for _ in range(2):  # also when idle processes are left from before
            with pytest.raises(SettingsError, match="pool_mode session"):
                check_sessions(behind)
        behind.dispose()


def test_the_budget_grows_with_machines_and_runs_and_knows_the_limits_of_the_server(database: Database) -> None:
    settings, name = Settings(database_url=database.url), make_url(database.url).database
    runs_of_one = sum(settings.runs_at_once.values()) + 2
    grown = connections_needed(replace(settings, machines=3)) - connections_needed(settings)
    assert grown == 2 * runs_of_one * OF_A_RUN
    assert re.fullmatch(r"at most \d+ are needed \(1 machine\), \d+ are allowed", check_connections(database, settings))
    try:
        with database.begin() as connection:
            connection.execute(text(f'alter database "{name}" connection limit 60'))
        with pytest.raises(SettingsError, match=r"60 are allowed.* Raise max_connections"):
            check_connections(database, settings)
    finally:
        with database.begin() as connection:
            connection.execute(text(f'alter database "{name}" connection limit -1'))
