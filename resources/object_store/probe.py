"""Whether the object store can be used at all: asked before work is begun, and after a failure, to know whether the place is at fault."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from heaters_dagster.domain.errors import DiskFullError, HeatersError, PlaceError, StoreRefusedError, StoreUnavailableError
from heaters_dagster.domain.secrets import safe_to_show
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.open import shared_object_store

#: How long an answer is believed. A store that was mended is noticed sooner than one that broke: work that runs meets that by itself.
_GOOD_SECONDS = 30.0
_BAD_SECONDS = 5.0

_PLACE_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})

_answers: WeakKeyDictionary[ObjectStore, tuple[float, str | None]] = WeakKeyDictionary()
_lock = threading.Lock()


def store_problem(objects: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> str | None:
    """Why nothing can be stored now, in words with the remedy; None when an object can be written, read and deleted.

    An answer is kept for some seconds, so that it may be asked at every look.
    """
    with _lock:
        known = _answers.get(objects)
        if known is not None and _is_fresh(known, clock()):
            return known[1]
        problem = _tried(objects)
        _answers[objects] = (clock(), problem)
        return problem


def last_known_problem(objects: ObjectStore) -> str | None:
    """As `store_problem`, for pages: the last answer, at once; when it is old another one is asked for meanwhile."""
    known = _answers.get(objects)
    if (known is None or not _is_fresh(known, time.monotonic())) and not _lock.locked():
        threading.Thread(target=store_problem, args=(objects,), daemon=True).start()
    return None if known is None else known[1]


def place_problem(settings: Settings) -> str | None:
    """As `store_problem`, of the object store that the settings ask for."""
    try:
        return store_problem(shared_object_store(settings))
    except HeatersError as error:  # a store that cannot even be named: a wrong address, an unknown profile
        return str(error)


def raise_fault_of_the_place(error: BaseException, objects: ObjectStore) -> None:
    """Raise PlaceError when `error` came of a store that cannot be used: no row is at fault, and none counts a failed try.

    A store that refuses one object and takes others is no such fault. Asks the store anew.
    """
    of_the_store = isinstance(error, (StoreUnavailableError, StoreRefusedError, DiskFullError))
    if isinstance(error, PlaceError):
        raise error
    if not of_the_store and not (isinstance(error, OSError) and error.errno in _PLACE_ERRNOS):
        return
    with _lock:
        _answers.pop(objects, None)
    problem = store_problem(objects)
    if problem is not None:
        raise PlaceError(problem) from safe_to_show(error)


def _is_fresh(answer: tuple[float, str | None], now: float) -> bool:
    asked_at, problem = answer
    return now - asked_at < (_BAD_SECONDS if problem else _GOOD_SECONDS)


def _tried(objects: ObjectStore) -> str | None:
    try:
        objects.check()
    except HeatersError as error:
        return str(error)
    return None
