"""Gives unused memory of this process back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def release_freed_memory() -> None:
    """Give freed memory back to the system now.

    glibc keeps much of it for later: after opening a 2-hour MP4 it keeps 17 MB, and everything later would need its memory in addition.
    This does nothing where the C library has no such call.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
