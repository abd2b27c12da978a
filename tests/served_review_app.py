"""The review app as a process of its own, as `heaters up` starts it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment

_PATIENCE_SECONDS = 90


class ServedReviewApp:
    """environment: settings of this process alone, by the names of their variables. The address stays the same over restarts."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.settings = settings
        self.environment = environment
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        home = self.settings.home
        log = home / f"server-{self.port}.log"
        own = {"HEATERS_REVIEW_PORT": str(self.port), "HOME": str(home), **self.environment}
        variables = child_environment(self.settings, **own)
        command = [sys.executable, "-m", "review_app"]
        with log.open("ab") as output:
            # Started in another folder: the page's settings lie beside its script.
            self.process = subprocess.Popen(
                command, cwd=home, env={**variables, "PYTHONPATH": str(PROJECT_ROOT)}, stdout=output, stderr=output
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(f"{self.url}/api/health"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the review app does not answer\n{Path(log).read_text()}")
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
