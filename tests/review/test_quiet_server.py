"""The server of both web programs: it answers as uvicorn does, wakes seldom, and ends at once when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from heaters_dagster.quiet_server import QuietServer
from heaters_dagster.settings import PROJECT_ROOT
from tests.this_machine import free_port

_PROGRAM = """
import sys
from starlette.applications import Starlette
from heaters_dagster.quiet_server import serve
serve(Starlette(), port=int(sys.argv[1]), log_level="warning", lifespan="off")
"""


def answers(port: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code == 404 and error.headers["Date"].endswith("GMT")
        except OSError:
            time.sleep(0.05)
    return False


def program(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, str(port)], cwd=PROJECT_ROOT, stderr=subprocess.PIPE)


def test_it_ends_when_it_is_told_to_and_fails_when_its_port_is_taken() -> None:
    port = free_port()
    running = program(port)
    assert answers(port)
    second = program(port)
    assert b"address already in use" in second.communicate(timeout=60)[1]
    assert second.returncode == STARTUP_FAILURE
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == -signal.SIGTERM


def test_it_wakes_once_a_second() -> None:
    ticks: list[float] = []

    class Counted(QuietServer):
        async def on_tick(self, counter: int) -> bool:
            ticks.append(time.monotonic())
            return await super().on_tick(counter)

    port = free_port()
    server = Counted(uvicorn.Config(Starlette(), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert answers(port)
    ticks.clear()
    time.sleep(2.0)
    assert len(ticks) <= 3
    server.handle_exit(signal.SIGTERM, None)
    thread.join(timeout=30)
    assert not thread.is_alive()
