"""Transactions, locks, migrations and addresses, on a real Postgres."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InternalError, ProgrammingError

from heaters_dagster.domain.errors import BusyError, DatabaseUnavailableError, HeatersError, SettingsError
from heaters_dagster.settings import Settings
from resources.postgres import embedded_postgres
from resources.postgres.database import Database, dagster_database_url, database_url, open_database
from tests.pipeline_rows import reviewer_names, somebody_waits


def add_reviewer(database: Database, name: str) -> None:
    with database.begin() as connection:
        connection.execute(text("insert into reviewers (name) values (:name)"), {"name": name})


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    add_reviewer(database, "Ann")

    def fail_half_way() -> None:
        with database.begin() as connection:
            connection.execute(text("insert into reviewers (name) values ('Bob')"))
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert reviewer_names(database) == ["Ann"]


def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="read-only transaction"), database.read() as connection:
        connection.execute(text("insert into reviewers (name) values ('Ann')"))
    add_reviewer(database, "Bob")
    assert reviewer_names(database) == ["Bob"]


def test_a_mistake_in_a_query_stays_what_it_is(database: Database) -> None:
    with pytest.raises(ProgrammingError), database.read() as connection:
        connection.execute(text("select nothing from nowhere"))


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "", "localhost", "postgresql+asyncpg://localhost/x", "sqlite:///x", "postgresql://localhost:port/x"]
)
def test_an_address_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SettingsError, match=r"HEATERS_DATABASE_URL must look like postgresql://user:password@host:5432/name"):
        Database.connect(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_common_form_of_address_is_understood(database: Database, scheme: str) -> None:
    given = database.url.replace("postgresql+psycopg", scheme)
    other = Database.connect(given)
    assert reviewer_names(other) == []
    assert other.url == database.url
    other.dispose()


def test_a_password_is_not_shown() -> None:
    shown = Database.connect("postgresql://ann:secret@localhost/heaters")
    assert "secret" not in repr(shown)
    assert "secret" in shown.url


def test_a_server_that_does_not_answer_is_named_with_the_remedy() -> None:
    database = Database.connect("postgresql://ann:secret@127.0.0.1:1/heaters")
    with pytest.raises(
        DatabaseUnavailableError, match=r"Postgres at postgresql://[a-z]*@127\.0\.0\.1:1/heaters does not answer .*HEATERS_DATABASE_URL"
    ) as error:
        reviewer_names(database)
    assert "secret" not in str(error.value)


def test_a_database_that_is_not_there_is_a_wrong_setting(postgres_url: str) -> None:
    database = Database.connect(make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises(SettingsError, match=r'"nowhere" does not exist\. Correct HEATERS_DATABASE_URL'):
        reviewer_names(database)


def test_a_port_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"invalid port number.*Correct HEATERS_DATABASE_URL"):
        reviewer_names(Database.connect("postgresql://127.0.0.1:99999/heaters"))


def test_a_right_that_the_user_lacks_is_named_with_the_remedy(database: Database) -> None:
    def read_as_a_guest() -> None:
        with database.begin() as connection:
            connection.execute(text("create role guest"))
            connection.execute(text("set local role guest"))
            connection.execute(text("select * from reviewers"))

    with pytest.raises(SettingsError, match=r"permission denied for table reviewers: the user of the database"):
        read_as_a_guest()


def test_a_connection_cut_in_the_middle_may_pass(database: Database) -> None:
    def use_a_cut_connection() -> None:
        with database.begin() as connection:
            pid = connection.scalar(text("select pg_backend_pid()"))
            with database.begin() as other:
                other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            connection.execute(text("select 1"))

    with pytest.raises(DatabaseUnavailableError):
        use_a_cut_connection()
    assert reviewer_names(database) == []


def test_connections_that_were_cut_while_idle_are_replaced(database: Database) -> None:
    assert reviewer_names(database) == []
    with psycopg.connect(database.url.replace("+psycopg", ""), autocommit=True) as other:
        others = "datname = current_database() and pid <> pg_backend_pid()"
        other.execute(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {others}".encode())
    assert reviewer_names(database) == []


def test_what_is_read_often_is_planned_once(database: Database) -> None:
    """After a rollback psycopg forgets what the server has prepared."""
    for _ in range(10):
        assert reviewer_names(database) == []
    with database.read() as connection:
        prepared = connection.scalars(text("select statement from pg_prepared_statements")).all()
    assert [statement for statement in prepared if "reviewers" in statement]


def test_what_is_read_together_shares_a_connection_that_writes_nothing(database: Database) -> None:
    process = text("select pg_backend_pid(), now()")
    with database.reading():
        with database.read() as one, database.read() as other:
            assert one.execute(process).one() == other.execute(process).one(), "one transaction"
        with pytest.raises(InternalError, match="read-only"), database.read() as connection:
            connection.execute(text("delete from reviewers"))
    assert reviewer_names(database) == []


def test_a_process_opens_no_more_connections_than_it_may(database: Database) -> None:
    few = Database.connect(database.url, pool_size=2, most=2)

    def at_work(_: int) -> int:
        with few.read() as connection:
            return int(connection.scalar(text("select pg_backend_pid() from pg_sleep(0.01)")) or 0)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(at_work, range(40)))) <= 2
    few.dispose()


def test_two_that_wait_for_each_other_end_with_busy_and_not_for_ever(database: Database) -> None:
    for name in ("Ann", "Bob"):
        add_reviewer(database, name)
    met = threading.Barrier(2)
    outcomes: list[str] = []

    def touch(first: str, second: str) -> None:
        try:
            with database.begin() as connection:
                connection.execute(text("update reviewers set last_seen_at = now() where name = :name"), {"name": first})
                met.wait()
                connection.execute(text("update reviewers set last_seen_at = now() where name = :name"), {"name": second})
            outcomes.append("done")
        except BusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=touch, args=names) for names in (("Ann", "Bob"), ("Bob", "Ann"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy", "done"]


class TestStageLock:
    def test_only_one_holds_it(self, database: Database) -> None:
        with database.stage_lock("proxy", 7):
            assert database.stage_is_busy("proxy", 7)
            with (
                pytest.raises(BusyError, match=r"another process is working on source video 7 \(stage proxy\)"),
                database.stage_lock("proxy", 7),
            ):
                pass
        assert not database.stage_is_busy("proxy", 7)

    def test_other_stages_and_rows_are_free(self, database: Database) -> None:
        with database.stage_lock("proxy", 7), database.stage_lock("proxy", 8), database.stage_lock("gold_master", 7):
            assert not database.stage_is_busy("exports", 7)

    def test_it_is_free_after_an_error_and_at_once(self, database: Database) -> None:
        for _ in range(5):
            with suppress(ZeroDivisionError), database.stage_lock("proxy", 7):
                _ = 1 / 0

    def test_a_turn_on_the_machine_is_waited_for(self, database: Database) -> None:
        order: list[str] = []

        def second() -> None:
            with database.turn_on_this_machine("encode"):
                order.append("second")

        waiting = threading.Thread(target=second)
        with database.turn_on_this_machine("encode"), database.turn_on_this_machine("something else"):
            waiting.start()
            while not somebody_waits(database):
                assert waiting.is_alive()
            order.append("first")
        waiting.join()
        assert order == ["first", "second"]

    def test_as_many_work_at_once_on_a_machine_as_it_is_told_and_on_each_machine(self, database: Database) -> None:
        changed = threading.Condition()
        at_work: list[str] = []
        may_end, most = threading.Event(), 0

        def works(name: str, on: Database) -> None:
            nonlocal most
            with on.turn_on_this_machine("encode", at_once=2):
                with changed:
                    at_work.append(name)
                    most = max(most, sum(one.startswith("here") for one in at_work))
                    changed.notify_all()
                may_end.wait(60)
                with changed:
                    at_work.remove(name)

        elsewhere = Database.connect(database.url, host="another-machine")
        here = [threading.Thread(target=works, args=(f"here {number}", database)) for number in range(4)]
        there = threading.Thread(target=works, args=("there", elsewhere))
        for thread in here:
            thread.start()
        with changed:
            assert changed.wait_for(lambda: len(at_work) == 2, 60)
        there.start()
        with changed:
            assert changed.wait_for(lambda: "there" in at_work, 60), "another machine has places of its own"
        while not somebody_waits(database):  # the third looks for a place, and the fourth waits for its turn to look
            assert here[3].is_alive()
        may_end.set()
        for thread in (*here, there):
            thread.join(60)
        assert (most, at_work) == (2, [])
        elsewhere.dispose()

    def test_locks_of_other_databases_do_not_count(self, database: Database, empty: Database) -> None:
        with empty.stage_lock("proxy", 7):
            assert not database.stage_is_busy("proxy", 7)
            with database.stage_lock("proxy", 7):
                pass

    def test_it_takes_no_connection_from_the_pool(self, database: Database) -> None:
        with database.stage_lock("a", 1), database.stage_lock("a", 2), database.stage_lock("a", 3):
            assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_losing_its_connection_does_not_hide_what_the_work_did(self, database: Database) -> None:
        with database.stage_lock("proxy", 7):
            with database.begin() as connection:
                holders = "select pid from pg_locks where locktype = 'advisory'"
                ours = "datname = current_database() and pid <> pg_backend_pid()"  # the server has databases of tests beside this one
                connection.execute(
                    text(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {ours} and pid in ({holders})")
                )
            add_reviewer(database, "Ann")
        assert reviewer_names(database) == ["Ann"]
        assert not database.stage_is_busy("proxy", 7)

    def test_a_killed_process_leaves_it_free(self, database: Database) -> None:
        code = (
            "import sys, time; from resources.postgres.database import Database\n"
            "with Database.connect(sys.argv[1]).stage_lock('proxy', 7): print('held', flush=True); time.sleep(60)"
        )
        holder = subprocess.Popen([sys.executable, "-c", code, database.url], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert database.stage_is_busy("proxy", 7)
        holder.kill()
        holder.wait()
        deadline = time.monotonic() + 10
        while database.stage_is_busy("proxy", 7) and time.monotonic() < deadline:
            time.sleep(0.02)
        with database.stage_lock("proxy", 7):
            pass


class TestAddresses:
    def test_a_set_address_is_used_and_migrated(self, empty: Database, tmp_path: Path) -> None:
        database = open_database(Settings(home=tmp_path, database_url=empty.url.replace("+psycopg", "")))
        assert reviewer_names(database) == []
        assert list(tmp_path.iterdir()) == []
        database.dispose()

    def test_dagster_gets_a_schema_of_its_own_in_a_set_address(self, empty: Database, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path, database_url=empty.url.replace("+psycopg", ""))
        for _ in range(2):
            url = dagster_database_url(settings)
        assert make_url(url).drivername == "postgresql+psycopg2"
        assert current(url, "current_schema(), current_database()") == ("dagster", make_url(empty.url).database)
        # Not as a parameter with which the connection begins (that would be "client"), which PgBouncer refuses in every mode.
        how = "(select source from pg_settings where name = 'search_path')"
        assert current(url, how) == ("session",)
        own = Database.connect(url, pool_size=1)  # psycopg 3
        with own.read() as connection:
            assert tuple(connection.execute(text(f"select current_schema(), {how}")).one()) == ("dagster", "session")
        own.dispose()

    def test_options_of_a_set_address_are_kept(self, empty: Database, tmp_path: Path) -> None:
        given = make_url(empty.url).update_query_dict({"options": "-cwork_mem=9MB"}).render_as_string(hide_password=False)
        url = dagster_database_url(Settings(home=tmp_path, database_url=given))
        assert current(url, "current_schema(), current_setting('work_mem')") == ("dagster", "9MB")

    def test_without_an_address_everything_is_in_one_embedded_server(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="heaters-home-"))
        home.chmod(0o755)
        settings = Settings(home=home)
        try:
            database = open_database(settings)
            assert database.url == database_url(settings)
            assert reviewer_names(database) == []
            assert current(dagster_database_url(settings), "current_database()") == ("dagster",)
            assert current(database.url, "current_database()") == ("heaters",)

            pid = embedded_postgres.status(settings.postgres_folder).pid
            embedded_postgres.stop(settings.postgres_folder)
            assert reviewer_names(database) == []  # the server came back by itself
            assert embedded_postgres.status(settings.postgres_folder).pid not in {None, pid}
            database.dispose()
            embedded_postgres.remove(settings.postgres_folder)
            assert current(dagster_database_url(settings), "current_database()") == ("dagster",), "made again in new data"
        finally:
            embedded_postgres.remove(settings.postgres_folder)
            shutil.rmtree(home)

    def test_a_home_that_is_no_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("a file")
        with pytest.raises(HeatersError, match="HEATERS_HOME"):
            open_database(Settings(home=tmp_path / "home"))


def current(url: str, what: str) -> tuple[Any, ...]:
    engine = create_engine(url)
    with engine.connect() as connection:
        row = tuple(connection.execute(text(f"select {what}")).one())
    engine.dispose()
    return row
