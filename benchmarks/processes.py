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
