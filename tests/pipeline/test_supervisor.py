"""`heaters up`: parts start in order, are kept running, and end together, however the end comes. Real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from itertools import chain
from pathlib import Path

import pytest

from heaters_dagster.commands.up.part_lines import readable
from heaters_dagster.commands.up.process_groups import Guard
from heaters_dagster.commands.up.start import check_port, run_everything
from heaters_dagster.commands.up.supervisor import Part, Supervisor
from heaters_dagster.domain.errors import BusyError, SettingsError
from heaters_dagster.domain.restarts import RestartRule
from heaters_dagster.settings import Settings
from resources.object_store.work_folder import WorkFolder
from resources.postgres import embedded_postgres
from tests.this_machine import eventually

#: Announces itself in a file, starts a child that does so too, and sleeps; `deaf` ignores SIGTERM in both.
WITH_A_CHILD = """
import os, signal, subprocess, sys, time
folder, name, deaf = sys.argv[1:4]
if deaf == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(f"{folder}/{name}.pid.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, f"{folder}/{name}.pid")  # whoever finds the file finds the number in it
print(f"{name} speaks", flush=True)
if not name.endswith("-child"):
    subprocess.Popen([sys.executable, __file__, folder, f"{name}-child", deaf])
time.sleep(600)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(WITH_A_CHILD)
    return path


def part(program: Path, name: str, *, deaf: bool = False, after: tuple[str, ...] = ()) -> Part:
    folder = program.parent
    command = (sys.executable, str(program), str(folder), name, "deaf" if deaf else "polite")
    return Part(name, command, ready=lambda: (folder / f"{name}-child.pid").is_file(), after=after)


def pids(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.glob("*.pid")]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def supervised(parts: list[Part], *, patience_seconds: float = 5.0) -> tuple[int, list[tuple[str, str]], float]:
    """Run until all is ready, then stop: exit code, lines said, seconds that ending took."""
    said: list[tuple[str, str]] = []
    supervisor = Supervisor(
        parts, environment=dict(os.environ), say=lambda name, text: said.append((name, text)), patience_seconds=patience_seconds
    )
    stopped_at = []

    def stop() -> None:
        # A part is ready as soon as its child has begun, and what is said while parts end is not shown.
        eventually(lambda: all((one.name, f"{one.name}-child speaks") in said for one in parts))
        stopped_at.append(time.monotonic())
        supervisor.stop()

    code = supervisor.run(when_ready=stop)
    return code, said, time.monotonic() - stopped_at[0]


def test_the_end_takes_grandchildren_along(program: Path) -> None:
    code, said, seconds = supervised([part(program, "one"), part(program, "two", after=("one",))])
    assert code == 0
    assert len(pids(program.parent)) == 4
    assert not any(is_running(pid) for pid in pids(program.parent))
    assert seconds < 20
    assert ("one", "one speaks") in said
    assert ("two", "two-child speaks") in said


def test_a_part_starts_when_those_before_it_are_ready(program: Path) -> None:
    _, said, _ = supervised([part(program, "second", after=("first",)), part(program, "first")])
    names = [name for name, _ in said]
    assert names.index("first") < names.index("second")


def test_parts_that_ignore_the_polite_signal_are_killed(program: Path) -> None:
    code, _, seconds = supervised([part(program, "deaf", deaf=True)], patience_seconds=0.5)
    assert code == 0
    assert len(pids(program.parent)) == 2
    assert not any(is_running(pid) for pid in pids(program.parent))
    assert 0.5 <= seconds < 20


def test_a_part_that_ends_by_itself_is_started_again_and_what_it_left_is_ended(program: Path) -> None:
    folder = program.parent
    said: list[tuple[str, str]] = []
    supervisor = Supervisor([part(program, "one")], environment=dict(os.environ), say=lambda name, text: said.append((name, text)))
    first: list[int] = []

    def kill_the_leader() -> None:
        first.extend(pids(folder))
        os.kill(int((folder / "one.pid").read_text()), signal.SIGKILL)

    def stop_when_restarted() -> None:
        assert eventually(lambda: ("heaters", "one was ended by SIGKILL; starting it again") in said)
        assert eventually(lambda: not set(first) & set(pids(folder)))
        supervisor.stop()

    threading.Thread(target=stop_when_restarted, daemon=True).start()
    assert supervisor.run(when_ready=kill_the_leader) == 0
    assert len(first) == 2
    assert not any(is_running(pid) for pid in (*first, *pids(folder)))


def test_while_nothing_happens_it_sleeps_and_the_end_of_a_part_wakes_it(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heaters_dagster.commands.up.supervisor._MEANWHILE_SECONDS", 3600.0)
    looks: list[str] = []
    said: list[tuple[str, str]] = []
    one = part(program, "one")
    supervisor = Supervisor([one], environment=dict(os.environ), say=lambda name, text: said.append((name, text)))
    looked_after = supervisor._look_after

    def counted(guard: Guard) -> None:
        looks.append("one")
        looked_after(guard)

    monkeypatch.setattr(supervisor, "_look_after", counted)

    def when_ready() -> None:
        looks.clear()
        threading.Thread(target=go_on, daemon=True).start()

    def go_on() -> None:
        time.sleep(1.0)
        assert looks == []
        os.kill(int((program.parent / "one.pid").read_text()), signal.SIGKILL)
        assert eventually(lambda: ("heaters", "one was ended by SIGKILL; starting it again") in said)
        supervisor.stop()

    assert supervisor.run(when_ready=when_ready) == 0
    assert ("heaters", "one was ended by SIGKILL; starting it again") in said


def test_a_part_that_cannot_be_kept_running_ends_everything(program: Path) -> None:
    said: list[tuple[str, str]] = []
    broken = Part("broken", (sys.executable, "-c", "print('no module named x'); raise SystemExit(3)"), ready=lambda: False)
    parts = [part(program, "one"), broken]
    supervisor = Supervisor(
        parts,
        environment=dict(os.environ),
        say=lambda name, text: said.append((name, text)),
        restart_rule=RestartRule(max_restarts=2, pause_seconds=1),
    )
    assert supervisor.run(when_ready=lambda: pytest.fail("nothing is ready")) == 1
    told = [text for name, text in said if name == "heaters"]
    assert told[:2] == ["broken ended with exit code 3; starting it again", "broken ended with exit code 3; starting it again in 1 s"]
    assert said[-1] == ("heaters", "broken ended with exit code 3 again and again; everything is ended. Its last lines are above")
    assert not any(is_running(pid) for pid in pids(program.parent))


def test_the_others_go_on_while_a_part_waits_for_its_restart_and_far_apart_ends_never_add_up(program: Path, tmp_path: Path) -> None:
    folder = program.parent
    said: list[tuple[str, str]] = []
    starts = tmp_path / "starts"
    starts.touch()
    mortal = f"open({str(starts)!r}, 'a').write('x'); import time; time.sleep(0.3); raise SystemExit(3)"
    parts = [part(program, "one"), Part("mortal", (sys.executable, "-c", mortal), ready=lambda: True)]
    # Two ends within a fifth of a second would be given up; it lives longer than that each time.
    rule = RestartRule(max_restarts=1, window_seconds=0.2)
    supervisor = Supervisor(parts, environment=dict(os.environ), say=lambda name, text: said.append((name, text)), restart_rule=rule)
    first: list[int] = []

    def stop_after_many() -> None:
        first.append(int((folder / "one.pid").read_text()))
        threading.Thread(target=lambda: (eventually(lambda: len(starts.read_text()) > 5), supervisor.stop()), daemon=True).start()

    assert supervisor.run(when_ready=stop_after_many) == 0
    assert len(starts.read_text()) > 5
    assert said.count(("heaters", "mortal ended with exit code 3; starting it again")) >= 5
    assert first == [int((folder / "one.pid").read_text())]


def test_a_part_that_never_becomes_ready_ends_everything(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    slow = Part("slow", (sys.executable, "-c", "import time; time.sleep(600)"), ready=lambda: False)
    supervisor = Supervisor([slow], environment=dict(os.environ), say=lambda name, text: said.append((name, text)), start_seconds=0.3)
    assert supervisor.run(when_ready=lambda: pytest.fail("nothing is ready")) == 1
    assert "slow was not ready after" in said[-1][1]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_supervisor_is_killed_everything_ends_all_the_same(program: Path, sign: signal.Signals) -> None:
    folder = program.parent
    runner = folder / "runner.py"
    runner.write_text(
        textwrap.dedent(f"""
        import os, pathlib, sys
        from heaters_dagster.commands.up.supervisor import Part, Supervisor
        command = (sys.executable, {str(program)!r}, {str(folder)!r}, "one", "deaf")
        child = pathlib.Path({str(folder / "one-child.pid")!r})
        Supervisor([Part("one", command, ready=child.is_file)], environment=dict(os.environ), say=print).run(when_ready=lambda: None)
        """)
    )
    supervisor = subprocess.Popen([sys.executable, str(runner)], stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: len(pids(folder)) == 2)
        supervisor.send_signal(sign)
        supervisor.wait()
        assert eventually(lambda: not any(is_running(pid) for pid in pids(folder)))
    finally:
        supervisor.kill()
        supervisor.wait()


def test_a_port_in_use_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} of 127.0.0.1, for the Dagster UI, is in use.*HEATERS_DAGSTER_PORT"):
            check_port("127.0.0.1", port, setting="HEATERS_DAGSTER", what="the Dagster UI")
    check_port("127.0.0.1", port, setting="HEATERS_DAGSTER", what="the Dagster UI")


def test_an_address_that_is_not_of_this_machine_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"port 8501 of 203.0.113.7, for the review app, .*HEATERS_REVIEW_HOST"):
        check_port("203.0.113.7", 8501, setting="HEATERS_REVIEW", what="the review app")


def test_the_review_app_may_listen_on_an_address_of_ipv6() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match="in use by another program"):
            check_port("::1", port, setting="HEATERS_REVIEW", what="the review app")
    check_port("::1", port, setting="HEATERS_REVIEW", what="the review app")


def test_one_port_for_two_programs_names_both_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HEATERS_DAGSTER_PORT and HEATERS_REVIEW_PORT are both 8501"):
        run_everything(Settings(home=tmp_path, dagster_port=8501, review_port=8501))


def test_it_does_not_run_twice_in_one_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with WorkFolder(settings.work_folder).attempt("up"), pytest.raises(BusyError, match="is already running with"):
        run_everything(settings)


def test_an_interrupt_at_the_start_stops_the_postgres_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(settings: Settings) -> None:
        embedded_postgres.ensure_running(settings.postgres_folder, durable=False)
        raise KeyboardInterrupt

    monkeypatch.setattr("resources.postgres.database.open_database", interrupted)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(home=tmp_path / "home", dagster_port=one.getsockname()[1], review_port=other.getsockname()[1])
    try:
        with pytest.raises(KeyboardInterrupt):
            run_everything(settings)
        assert not embedded_postgres.status(settings.postgres_folder).running
    finally:
        embedded_postgres.remove(settings.postgres_folder)


def test_run_events_of_dagster_become_a_line_or_two() -> None:
    prefix = "2026-11-21 01:39:56 +0000 - dagster"
    run = "f96fdbd7-1b6b-4d21-aad6-ed01fe66a4fc"
    lines = [
        f'{prefix} - DEBUG - enrich - {run} - 19841 - RUN_START - Started execution of run for "enrich".',
        f"\x1b[32m2026-11-21 01:39:56 +0000\x1b[0m - dagster - \x1b[31mERROR\x1b[0m - enrich - {run} - 19841 - RUN_FAILURE - Run failed.",
        "",
        "dagster._core.definitions.events.Failure: 1 of 1 clips of source video 1: the model cannot be had",
        "",
        "Stack Trace:",
        '  File "x.py", line 1, in f',
        f"{prefix} - ERROR - ingest - {run} - 19841 - RUN_FAILURE - "
        "Execution of run for \"ingest\" failed. Steps failed: ['source_video'].",
        "",
        "dagster._core.definitions.events.Failure: empty.mp4 is empty (0 bytes)",
        f"{prefix} - WARNING - Sensor daemon caught an error",
        "Traceback (most recent call last):",
        "ValueError: a defect",
    ]
    assert list(readable(lines)) == [
        "enrich: RUN_FAILURE - Run failed.",
        "1 of 1 clips of source video 1: the model cannot be had",
        "ingest failed at source_video:",
        "empty.mp4 is empty (0 bytes)",
        f"{prefix} - WARNING - Sensor daemon caught an error",
        "Traceback (most recent call last):",
        "ValueError: a defect",
    ]


def test_what_a_part_says_after_an_event_of_a_run_is_not_taken_for_a_part_of_it() -> None:
    """Whoever says it: a worker of Celery, a logger, a program that fails, one that prints."""
    prefix, run = "2026-11-27 23:16:40 +0000 - dagster", "7f33eea4-4351-41d1-89b4-9ac61de16a46"
    told, untold = (f"{prefix} - {level} - ingest - {run} - STEP_UP_FOR_RETRY - again" for level in ("WARNING", "INFO"))
    stack = ["", "Stack Trace:", '  File "x.py", line 1, in f', "    f()", ""]
    why = ["", "TransientError: two reasons:", "and the second", *stack]
    why += ["The above exception was caused by the following exception:", "OSError: disk", *stack]
    said = [
        "[2026-11-27 23:16:40,123: WARNING/ForkPoolWorker-1] the disk of two has too little room: source video 2 waits",
        "[2026-11-27 23:16:41,007: ERROR/MainProcess] The connection to the broker is lost.",
        "ConnectionError: nobody answers",
    ]
    readable_said = [*(line.partition("] ")[2] for line in said[:2]), said[2]]
    died = ["Process ForkServerProcess-3:", "Traceback (most recent call last):", '  File "y.py", line 2, in g', "MemoryError"]
    for more in (said, died, ["the embedding model cannot be had"], ["Fatal Python error: Segmentation fault"]):
        shown = readable_said if more is said else more
        assert list(readable([untold, *more, untold])) == shown
        assert list(readable([untold, *why, *more, untold, *why])) == shown
        reason = ["ingest: STEP_UP_FOR_RETRY - again", "TransientError: two reasons:", "and the second"]
        assert list(readable([told, *why, *more, untold, *why])) == [*reason, *shown]
    assert list(readable([untold, *died[1:]])) == died[1:]


def test_a_warning_that_no_logger_of_dagster_says_does_not_silence_a_part() -> None:
    """Of what is said as records of Python's root logger nothing was shown, and nothing of what came after."""
    script = """
import logging, sys
from heaters_dagster import event_log
from heaters_dagster.settings import Settings
event_log.set_up(Settings(), "daemon", owns_output=True)
own = logging.getLogger("dagster.daemon")
own.addHandler(logging.NullHandler())
logging.warning("the first of the root logger")
own.error("said by its own handler")
logging.getLogger("a.library").warning("a library warns")
print("the daemon goes on", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert list(readable(done.stderr.splitlines())) == ["the first of the root logger", "a library warns", "the daemon goes on"]


def test_a_code_server_or_a_database_that_is_away_is_told_in_a_few_lines() -> None:
    heading = "2026-11-21 10:17:17 +0000 - dagster.daemon.SensorDaemon - ERROR - Sensor tick caught an error"
    stack = [
        "Traceback (most recent call last):",
        '  File "/lib/dagster/_grpc/client.py", line 210, in _query',
        "    return self._get_response(method)",
        "grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        '  File "/lib/dagster/_daemon/sensor.py", line 309, in __exit__',
        "dagster._core.errors.DagsterUserCodeUnreachableError: Unable to reach the code server. Sensor will resume.",
    ]
    no_database = 'Retrying failed database connection: connection to "/tmp/.s.PGSQL.5432" failed: Connection refused'
    failed_tries = [
        [f"[2026-11-21 10:17:1{n},000: WARNING/MainProcess] {no_database}", "\tIs the server running locally?"] for n in range(3)
    ]
    lines = [
        heading,
        *stack,
        "this machine had stood still",
        *chain.from_iterable(failed_tries),
        heading,
        "Traceback (most recent call last):",
        '  File "/app/sensors.py", line 3, in look',
        "ValueError: a defect",
    ]
    away = "Unable to reach the code server. Sensor will resume."
    again = [no_database, "\tIs the server running locally?"]
    assert list(readable(lines)) == [heading, away, "this machine had stood still", *again, heading, *lines[-3:]]
    assert list(readable([*failed_tries[0], "all is well", *failed_tries[1]])) == [*again, "all is well", *again], (
        "the next time it is told again"
    )
    assert list(readable([*stack, *lines[-3:]])) == [away, *lines[-3:]]
    assert list(readable([*stack, "", *stack[4:], "Traceback of nothing"])) == [away, away, "Traceback of nothing"]
