"""Leases of runs: by the clock of the database, taken away in one step, and a fence in front of who has lost one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import text

from heaters_dagster.domain.errors import DatabaseUnavailableError, RunTakenAwayError
from heaters_dagster.domain.run_leases import LeaseState
from resources.files import run_fence
from resources.files.this_process import process_is_gone, process_mark
from resources.object_store.interface import ObjectStore
from resources.postgres import run_leases
from resources.postgres.database import Database
from resources.postgres.run_keeper import RunKeeper, interrupt_thread
from resources.postgres.run_leases import RunLeases


@pytest.fixture
def leases(database: Database) -> RunLeases:
    return RunLeases(database, seconds=60, grace_seconds=0)


@pytest.fixture
def another(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunLeases]:
    """Leases as another machine sees them. Use them under `as_another`."""
    machine = Database.connect(database.url, host="another")
    yield RunLeases(machine, seconds=60, grace_seconds=0)
    machine.dispose()


def as_another(monkeypatch: pytest.MonkeyPatch, worker: str = "another worker") -> None:
    for module in (run_leases, sys.modules["resources.postgres.database"]):
        monkeypatch.setattr(module, "worker_name", lambda: worker)


def expire(database: Database, run_id: str) -> None:
    """As when nobody has renewed it for longer than it holds."""
    with run_fence.no_fence(), database.begin() as connection:
        connection.execute(
            text("update run_leases set expires_at = clock_timestamp() - interval '1 ms' where run_id = :id"), {"id": run_id}
        )


def test_a_run_goes_from_the_queue_to_its_worker_and_then_has_no_lease(leases: RunLeases) -> None:
    leases.wait(["one"], LeaseState.QUEUED)
    assert leases.load(["one", "two"])["one"].state is LeaseState.QUEUED
    leases.wait(["one"], LeaseState.LAUNCHED)
    leases.begin("one")
    leases.wait(["one"], LeaseState.LAUNCHED)
    lease = leases.load(["one"])["one"]
    assert (lease.state, lease.host, lease.process, lease.is_expired) == (LeaseState.WORKING, leases.host, process_mark(), False)
    leases.end("one")
    assert leases.load(["one"]) == {}


def test_only_one_process_works_on_a_run(leases: RunLeases, another: RunLeases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that gives a task out twice starts a second worker."""
    leases.begin("one")
    as_another(monkeypatch)
    with pytest.raises(RunTakenAwayError):
        another.begin("one")
    another.end("one")
    assert another.renew(["one"]) == set()
    assert another.load(["one"])["one"].host == leases.host
    another.close("one")
    with pytest.raises(RunTakenAwayError):
        another.begin("one")


def test_a_lease_is_taken_away_once_and_only_when_it_has_expired(
    leases: RunLeases, another: RunLeases, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.begin("one")
    as_another(monkeypatch)
    seen = another.load(["one"])["one"]
    assert not another.take_away(seen, is_gone=False)
    expire(database, "one")
    seen = another.load(["one"])["one"]
    assert seen.is_expired
    monkeypatch.undo()
    assert leases.renew(["one"]) == {"one"}, "until somebody takes it away it can be renewed"
    as_another(monkeypatch)
    assert not another.take_away(seen, is_gone=False), "it was renewed since it was seen"
    expire(database, "one")
    assert another.take_away(seen, is_gone=False)
    assert not another.take_away(seen, is_gone=True)
    monkeypatch.undo()
    assert leases.renew(["one"]) == set()
    with pytest.raises(RunTakenAwayError):
        leases.begin("one")


def test_what_waits_is_not_over_however_old_its_lease_is(leases: RunLeases, database: Database) -> None:
    leases.wait(["one"], LeaseState.LAUNCHED)
    expire(database, "one")
    lease = leases.load(["one"])["one"]
    assert lease.is_expired
    assert not lease.is_over(process_is_gone=True)


def test_clocks_of_machines_do_not_matter(leases: RunLeases, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    leases.begin("one")
    with database.read() as connection:
        left = "select extract(epoch from expires_at - clock_timestamp()) from run_leases"
        assert 50 < float(connection.scalar(text(left)) or 0) <= 60


def test_who_takes_a_lease_away_frees_the_locks_of_a_process_that_stands_still(
    leases: RunLeases, another: RunLeases, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends its sessions: the stage lock is free, and what was being written is rolled back."""
    own = Database.connect(database.url)
    leases.begin("one")
    with suppress(DatabaseUnavailableError), own.stage_lock("proxy", 1), own.begin() as connection:
        connection.execute(text("insert into source_videos (source, title) values ('a', 'half written')"))
        expire(database, "one")
        database.dispose()  # so that this process has no other session
        as_another(monkeypatch)
        assert another.take_away(another.load(["one"])["one"], is_gone=False)
        with another._database.stage_lock("proxy", 1):
            pass
        monkeypatch.undo()
    own.dispose()
    with database.read() as connection:
        assert connection.scalar(text("select count(*) from source_videos where title = 'half written'")) == 0


def test_a_process_that_has_lost_a_lease_writes_nothing_more(leases: RunLeases, database: Database, object_store: ObjectStore) -> None:
    stopped: list[int] = []
    keeper = RunKeeper(leases, stop=stopped.append)
    keeper.begin("one")
    object_store.put_bytes("metadata/video_1_scenes.json", b"mine")
    with database.begin() as connection:
        connection.execute(text("select 1"))
    expire(database, "one")
    assert leases.take_away(leases.load(["one"])["one"], is_gone=False)
    keeper._kept["one"].until = 0  # so long it stood still
    for write in (
        lambda: object_store.put_bytes("metadata/video_1_scenes.json", b"another's"),
        lambda: object_store.delete("metadata/video_1_scenes.json"),
        lambda: database.stage_lock("proxy", 1).__enter__(),
        lambda: database.begin().__enter__(),
    ):
        with pytest.raises(RunTakenAwayError):
            write()
    assert object_store.get_bytes("metadata/video_1_scenes.json") == b"mine"
    assert stopped
    assert keeper.was_taken_away("one")
    with run_fence.no_fence(), database.begin() as connection:
        connection.execute(text("select 1"))
    keeper.end("one")
    with database.begin() as connection:
        connection.execute(text("select 1"))


def test_a_lease_is_renewed_as_long_as_the_run_lasts_and_its_loss_stops_the_work(database: Database) -> None:
    keeper = RunKeeper(RunLeases(database, seconds=1))
    keeper.begin("one")
    with database.read() as connection:
        first = connection.scalar(text("select renewed_at from run_leases"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.scalar(text("select renewed_at from run_leases")) != first:
                break
        time.sleep(0.05)
    else:
        pytest.fail("the lease was not renewed")
    RunLeases(database, seconds=1).close("one")

    def work() -> None:
        for _ in range(600):
            time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        work()
    keeper.end("one")


def test_no_interrupt_comes_after_the_end_of_a_run(database: Database) -> None:
    """Its lease is taken away at the very moment at which it ends."""
    entered = threading.Event()

    def stop(thread: int) -> None:
        entered.set()
        time.sleep(0.3)  # the thread waits in `end` by then
        interrupt_thread(thread)

    leases = RunLeases(database, seconds=600)
    keeper = RunKeeper(leases, stop=stop)
    keeper.begin("one")
    leases.close("one")
    look = threading.Thread(target=keeper.renew)
    try:
        look.start()
        assert entered.wait(60)
        keeper.end("one")
        for _ in range(100):
            time.sleep(0.001)
    except KeyboardInterrupt:
        pytest.fail("it was interrupted after the end")
    finally:
        look.join()
    assert keeper.was_taken_away("one")


def test_one_holds_a_lease_of_no_run_and_the_next_takes_over(
    leases: RunLeases, another: RunLeases, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases.begin_or_say_who("scheduler") is None
    as_another(monkeypatch)
    holder = another.begin_or_say_who("scheduler")
    assert holder is not None
    assert holder.host == leases.host
    expire(database, "scheduler")
    assert another.begin_or_say_who("scheduler") is None
    monkeypatch.undo()
    assert leases.renew(["scheduler"]) == set()
    holder = leases.begin_or_say_who("scheduler")
    assert holder is not None
    assert holder.host == "another"
    as_another(monkeypatch)
    another.end("scheduler")
    monkeypatch.undo()
    assert leases.begin_or_say_who("scheduler") is None


def test_a_process_is_gone_when_it_has_ended_and_a_later_one_with_its_id_is_another() -> None:
    boot, space, process_id, began = process_mark().split(":")
    assert process_id == str(os.getpid())
    assert not process_is_gone(process_mark())
    assert process_is_gone(f"{boot}:{space}:{process_id}:{int(began) - 1}")
    assert process_is_gone(f"another boot:{space}:{process_id}:{began}")
    assert not process_is_gone(f"{boot}:another container:{process_id}:{began}")
    for nothing_known in ("", ":::", "a:b"):
        assert not process_is_gone(nothing_known)
    child = subprocess.Popen([sys.executable, "-c", "from resources.files.this_process import *; print(process_mark()); input()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    mark = child.stdout.readline().strip()
    assert not process_is_gone(mark)
    child.communicate("\n")
    assert process_is_gone(mark)
