"""The fence in front of everything that a run writes: a process that has lost the lease of its run writes nothing more.

Postgres and the object stores ask before each transaction, and before each step that makes an object visible. Whoever keeps the leases of
this process (`resources/postgres/run_keeper.py`) puts up the fence; in a process that works on no run there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Fence(Protocol):
    def __call__(self, *, anew: bool = False) -> None:
        """Raise RunTakenAwayError when this thread must not write. anew: whatever was known before is asked again."""
        ...


_fences: set[Fence] = set()
_open = threading.local()


def put_up(fence: Fence) -> None:
    _fences.add(fence)


def take_down(fence: Fence) -> None:
    _fences.discard(fence)


def is_up() -> bool:
    """Whether this thread may work on a run that another process could have been given."""
    return bool(_fences) and not getattr(_open, "is_open", False)


def check_fence(*, anew: bool = False) -> None:
    """Raise RunTakenAwayError when the run that this thread works on was given to another process. anew: ask, however sure it seems."""
    if is_up():
        for fence in tuple(_fences):
            fence(anew=anew)


@contextmanager
def no_fence() -> Iterator[None]:
    """For what is not the work of a run: the leases themselves, and the end of runs."""
    before, _open.is_open = getattr(_open, "is_open", False), True
    try:
        yield
    finally:
        _open.is_open = before
