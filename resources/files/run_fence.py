"""The fence in front of everything that a run writes: a process that has lost the lease of its run writes nothing more.

Postgres and the object stores ask before each transaction, and before each step that makes an object visible. Whoever keeps the leases of
this process (`resources/postgres/run_keeper.py`) puts up the fence; in a process that works on no run there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_fences: set[Callable[[], None]] = set()
_open = threading.local()


def put_up(fence: Callable[[], None]) -> None:
    """fence: raises RunTakenAwayError when this thread must not write."""
    _fences.add(fence)


def take_down(fence: Callable[[], None]) -> None:
    _fences.discard(fence)


def check_fence() -> None:
    """Raise RunTakenAwayError when the run that this thread works on was given to another process."""
    if _fences and not getattr(_open, "is_open", False):
        for fence in tuple(_fences):
            fence()


@contextmanager
def no_fence() -> Iterator[None]:
    """For what is not the work of a run: the leases themselves, and the end of runs."""
    before, _open.is_open = getattr(_open, "is_open", False), True
    try:
        yield
    finally:
        _open.is_open = before
