"""Since when this machine has been running: what was written before a power cut may lack bytes that programs took for written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Another one after each start of the machine; empty where the system does not say it."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
