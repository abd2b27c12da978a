"""Programs of tests in processes of their own, which may be killed, without the seconds in which each would load Dagster and the rest.

They are forks of a process that has loaded all that and does nothing else, as the run workers of `heaters up` are. What a test says about
a program's start itself (a folder it is started in, PYTHONPATH, what it imports) needs a real start: `subprocess` with `sys.executable`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import TextIO

from heaters_dagster.settings import load_settings

#: What most of these programs load. Each of them is loaded before the fork, so it must start no thread and open no connection.
_LOADED = (
    "heaters_dagster.cli",
    "heaters_dagster.commands.process_due",
    "resources.orchestrator.dagster_storage",
    "dagster_postgres",
    "boto3.s3.transfer",
    "matplotlib.figure",
    "upath",
    "av",
    "tests.warm_process",
)


class WarmProcess:
    """A running program, as subprocess.Popen has it. stdout: what it prints, to be read while it runs."""

    def __init__(self, program: str, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None) -> None:
        reader, writer = multiprocessing.Pipe(duplex=False)
        self._process = _forked(_run, program, list(arguments), dict(environment), cwd, writer, None)
        writer.close()
        self.stdout: TextIO = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        self._process.join()
        self.stdout.close()
        assert self._process.exitcode is not None
        return self._process.exitcode


def started(program: str, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> WarmProcess:
    """Start the program text `program` with `arguments` as its `sys.argv[1:]`, and the environment or else that of this process."""
    return WarmProcess(program, arguments, os.environ if environment is None else environment, cwd)


def ran(program: str, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> CompletedProcess[str]:
    """Run the program text to its end, as subprocess.run does it: a signal that ended it is a negative return code."""
    with tempfile.TemporaryDirectory() as folder:
        out, error = Path(folder) / "out", Path(folder) / "error"
        process = _forked(_run, program, list(arguments), dict(os.environ if environment is None else environment), cwd, out, error)
        process.join()
        assert process.exitcode is not None
        return CompletedProcess([program, *arguments], process.exitcode, out.read_text(), error.read_text())


def _forked(run: object, *given: object) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(list(_LOADED))
    process = context.Process(target=run, args=given, daemon=True)  # type: ignore[arg-type]
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType(
        "__main__"
    )  # the fork would run the main module again, and Streamlit's tests put scripts in its place
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process


def _run(
    program: str, arguments: list[str], environment: dict[str, str], cwd: Path | None, out: Connection | Path, error: Path | None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    load_settings.cache_clear()  # Dagster's definitions have read those of the process that was forked
    if cwd is not None:
        os.chdir(cwd)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out.fileno() if isinstance(out, Connection) else _opened(out), 1)
    if error is not None:
        os.dup2(_opened(error), 2)
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program of a test>", "exec"), {"__name__": "__main__"})


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
