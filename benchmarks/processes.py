"""What processes of this machine have used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def processor_seconds(process_ids: Iterable[int]) -> float:
    """Of these processes, and of those of their children that have ended."""
    spent = 0
    for process_id in process_ids:
        with suppress(OSError):
            spent += sum(map(int, Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return spent / os.sysconf("SC_CLK_TCK")


def with_children(process_id: int) -> list[int]:
    """The process and its children that run: a Postgres server and its sessions."""
    found = [process_id]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process_id:
                found.append(int(stat.parent.name))
    return found


def memory_mb(process_id: int) -> float:
    """Memory of a process that is in use now."""
    line = next(line for line in Path(f"/proc/{process_id}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
