"""The processes of an embedded Postgres: whether its server runs, and which processes of a killed server are left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from resources.object_store.work_folder import written_beside

PROC = Path("/proc/self")


def postmaster_pid(data: Path) -> int | None:
    """The pid of the running server on `data`. A zombie does not count, nor does another program that has got the same pid since."""
    pid = first_line_pid(data / "postmaster.pid")
    if pid is None:
        return None
    if PROC.is_dir():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        return pid if os.path.basename(words[0]) == b"postgres" and os.fsencode(data) in words else None
    shown = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return pid if shown and not shown.startswith("Z") and "postgres" in shown and str(data) in shown else None


def first_line_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def defuse_stale_pid_file(pid_file: Path) -> None:
    """Let Postgres start although there is a pid file whose pid now belongs to a zombie or another program. No server may be running.

    Postgres refuses to start while kill(pid, 0) succeeds; in a container whose first process reaps no zombies, that is for ever. The file
    is not removed: it gets a pid that is certainly dead. Its other lines name the shared memory, by which Postgres still finds backends
    that are left and refuses to run beside them.
    """
    try:
        text = pid_file.read_text()
    except FileNotFoundError:
        return
    pid = first_line_pid(pid_file)
    if pid is None:
        pid_file.unlink()
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    dead = subprocess.Popen(["/bin/sh", "-c", ":"])
    dead.wait()
    owner = pid_file.stat()
    write_whole(pid_file, f"{dead.pid}\n{text.split(chr(10), 1)[1]}")
    if os.geteuid() == 0:
        os.chown(pid_file, owner.st_uid, owner.st_gid)


def end_orphans(data: Path) -> bool:
    """End the children of a server that was killed: they use the data folder and would prevent the next server from starting.

    Only on Linux, where /proc lists them; elsewhere they end by themselves when their query is done.
    """
    if not PROC.is_dir() or postmaster_pid(data) is not None:
        return False
    found = False
    for sign, seconds in ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        orphans = processes_in(data)
        found = found or bool(orphans)
        for pid in orphans:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, sign)
        while orphans and time.monotonic() < deadline:
            time.sleep(0.02)
            orphans = processes_in(data)
        if not orphans:
            break
    return found


def processes_in(data: Path) -> list[int]:
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.readlink(entry / "cwd") == str(data) and os.path.basename(os.readlink(entry / "exe")).startswith("postgres"):
                    pids.append(int(entry.name))
    return pids


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it exists completely or not at all."""
    with written_beside(path, private=True) as part:
        part.write_text(text)
