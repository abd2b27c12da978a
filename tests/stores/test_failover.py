"""Postgres goes away, with or without a word, or becomes a standby: every connection notices, and what is opened next finds the new one."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from heaters_dagster.domain.errors import DatabaseUnavailableError
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_connections import close_kept_connections
from resources.postgres.database import Database, open_database
from resources.postgres.nudges import Nudge, Nudges
from tests.this_machine import eventually
from tests.two_hosts import OverTcp, over_tcp

_PATIENCE_SECONDS = 60.0


@pytest.fixture
def server(database: Database) -> Iterator[OverTcp]:
    (unix,) = Path(str(make_url(database.url).query["host"])).glob(".s.PGSQL.*[0-9]")
    with over_tcp(unix) as server:
        yield server


@pytest.fixture
def remote(database: Database, server: OverTcp, settings: Settings) -> Settings:
    """Settings with the address of the server over TCP."""
    address = make_url(database.url).set(host="127.0.0.1", port=server.port, query={})
    return replace(settings, database_url=address.render_as_string(hide_password=False))


def _socket_of(descriptor: int) -> socket.socket:
    """A second socket object of an open socket. Raises OSError when it is none: a copy of a pipe would keep its reader waiting for ever."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(f"{descriptor} is no socket")
    return socket.socket(fileno=os.dup(descriptor))


def patience_of_connections(port: int) -> list[tuple[int, ...]]:
    """Of this process's connections to a port: (milliseconds that an answer may take, seconds idle and between questions, questions)."""
    options = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError), _socket_of(int(entry.name)) as one:
            if one.family is socket.AF_INET and one.getpeername()[1] == port:
                assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found.append(tuple(one.getsockopt(socket.IPPROTO_TCP, option) for option in options))
    return found


def test_every_connection_notices_a_server_that_is_gone_without_a_word_within_a_minute(remote: Settings, server: OverTcp) -> None:
    told = (30_000, 30, 10, 3)
    ours = open_database(remote)
    nudges = Nudges(remote)
    try:
        assert nudges.wait(Nudge.ROWS, 0, _PATIENCE_SECONDS)
        with ours.read() as reading, ours.session() as holding, open_instance(remote) as instance:
            assert reading.scalar(text("select 1")) == holding.scalar(text("select 1"))
            instance.get_runs()
            before = len(patience_of_connections(server.port))
            assert before >= 4
            instance.optimize_for_webserver(statement_timeout=5_000, pool_recycle=60, max_overflow=1)
            instance.get_runs()
            assert len(patience_of_connections(server.port)) > before, "the web server of Dagster opens its own"
            assert set(patience_of_connections(server.port)) == {told}
    finally:
        nudges.close()
        ours.dispose()
        close_kept_connections()
    named = Database.connect(f"{remote.database_url}?tcp_user_timeout=7000")
    with named.read() as reading:
        assert reading.scalar(text("select 1")) == 1
        assert (7_000, 30, 10, 3) in patience_of_connections(server.port), "what the address says holds"
    named.dispose()


def test_whatever_kept_a_connection_goes_on_when_the_name_leads_to_another_server(
    remote: Settings, server: OverTcp, database: Database
) -> None:
    ours = open_database(remote)
    nudges = Nudges(remote)
    try:
        assert nudges.wait(Nudge.ROWS, 0, _PATIENCE_SECONDS)
        with open_instance(remote) as instance:
            with ours.read() as one, ours.read() as two:  # the pool keeps both
                assert one.scalar(text("select 1")) == two.scalar(text("select 1"))
            instance.get_runs()
            heard = nudges.heard(Nudge.ROWS)
            server.move("127.0.0.1")
            with ours.read() as one, ours.read() as two:
                assert one.scalar(text("select 2")) == two.scalar(text("select 2"))
            assert instance.get_runs() == []
            assert nudges.wait(Nudge.ROWS, heard, _PATIENCE_SECONDS), "what was missed meanwhile counts as heard"
            server.close()
            with pytest.raises(DatabaseUnavailableError, match="does not answer"), ours.read():
                pass
    finally:
        nudges.close()
        ours.dispose()
        close_kept_connections()


def test_a_standby_is_no_server_to_write_to_and_its_connections_are_not_kept(database: Database) -> None:
    name = make_url(database.url).database
    elsewhere = Database.connect(database.url)
    with elsewhere.begin() as connection:
        kept = connection.scalar(text("select pg_backend_pid()"))
        connection.execute(text("set session characteristics as transaction read only"))
    write = text("insert into reviewers (name) values ('Ann')")
    with pytest.raises(DatabaseUnavailableError, match="cannot be written to at present, as while it fails over"), elsewhere.begin() as one:
        one.execute(write)
    with elsewhere.begin() as one:
        assert one.scalar(text("select pg_backend_pid()")) != kept, "that of the server that became a standby"
        one.execute(write)
    elsewhere.dispose()
    try:
        with database.begin() as connection:
            connection.execute(text(f'alter database "{name}" set default_transaction_read_only = on'))
        with pytest.raises(DatabaseUnavailableError, match="read-only"), elsewhere.begin() as one:
            one.execute(write)
    finally:
        with database.begin() as connection:
            connection.execute(text(f'alter database "{name}" reset default_transaction_read_only'))
    assert eventually(lambda: _can_read(elsewhere))
    elsewhere.dispose()


def _can_read(database: Database) -> bool:
    with database.read() as connection:
        return bool(connection.scalar(text("select count(*) from reviewers")) == 1)
