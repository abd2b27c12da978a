"""Tests whether the object store can be used at all: before work begins, and after a failure, to know whether the store was the cause."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary

from heaters_dagster.domain.errors import (
    DiskFullError,
    HeatersError,
    ObjectNotFoundError,
    PermanentError,
    PlaceError,
    StoreRefusedError,
    StoreUnavailableError,
)
from heaters_dagster.domain.secrets import safe_to_show
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.open import shared_object_store
from resources.object_store.s3_client import s3_client
from resources.object_store.s3_errors import store_errors

#: How long an answer is kept. A repaired store should be noticed sooner than a broken one, because running work meets a broken store by
#: itself.
_GOOD_SECONDS = 30.0
_BAD_SECONDS = 5.0

#: Leaves a bucket alone for a while; gets its name and the reason, and returns what to say. `StorePauses.begin` is one.
Pause: TypeAlias = Callable[[str, str], str]

_PLACE_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})

_answers: WeakKeyDictionary[ObjectStore, tuple[float, str | None]] = WeakKeyDictionary()
_lock = threading.Lock()


def store_problem(objects: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> str | None:
    """Why nothing can be stored now, with the remedy; None when an object can be written, read and deleted.

    An answer is kept for some seconds, so that every look may ask.
    """
    with _lock:
        known = _answers.get(objects)
        if known is not None and _is_fresh(known, clock()):
            return known[1]
        problem = _tried(objects)
        _answers[objects] = (clock(), problem)
        return problem


def check_that_they_answer(settings: Settings, buckets: Iterable[str | None]) -> None:
    """For a command at which a person waits: raise StoreUnavailableError within seconds when a bucket's server does not answer.

    The store itself is patient, and says so after five minutes. What else may be wrong is found by the work. None: a folder.
    """
    for bucket in {bucket for bucket in buckets if bucket is not None}:
        client = s3_client(bucket, settings.s3_endpoint_url, 2, timeout_seconds=4)
        with suppress(StoreRefusedError, ObjectNotFoundError, PermanentError), store_errors(bucket, ""):
            client.list_objects_v2(Bucket=bucket, MaxKeys=1)


def last_known_problem(objects: ObjectStore) -> str | None:
    """As `store_problem`, for pages: returns the last answer at once; when it is old, a new test is started in the background."""
    known = _answers.get(objects)
    if (known is None or not _is_fresh(known, time.monotonic())) and not _lock.locked():
        threading.Thread(target=store_problem, args=(objects,), daemon=True).start()
    return None if known is None else known[1]


def place_problem(settings: Settings) -> str | None:
    """As `store_problem`, for the object store that the settings name."""
    try:
        return store_problem(shared_object_store(settings))
    except HeatersError as error:  # the store cannot even be opened: a wrong address, an unknown profile
        return str(error)


def raise_fault_of_the_place(error: BaseException, objects: ObjectStore, pause: Pause | None = None) -> None:
    """Raise PlaceError when the cause of `error` is a store that cannot be used: then no row is at fault, and none counts a failed try.

    The store is tested again. A store that refuses one object and accepts others is no such fault. One that says that it has a problem, or
    breaks off, is such a fault even when the test works: then `pause` is called with its bucket and the reason, so that it is left alone
    for a while, and returns what to say. An object that is not there is asked about too: without the bucket there is none.
    """
    of_the_store = isinstance(error, (StoreUnavailableError, StoreRefusedError, DiskFullError, ObjectNotFoundError))
    if isinstance(error, PlaceError):
        raise error
    if not of_the_store and not (isinstance(error, OSError) and error.errno in _PLACE_ERRNOS):
        return
    with _lock:
        _answers.pop(objects, None)
    problem = store_problem(objects)
    if problem is not None:
        raise PlaceError(problem) from safe_to_show(error)
    bucket = error.bucket if isinstance(error, StoreUnavailableError) else None
    if pause is not None and bucket is not None and bucket == getattr(objects, "bucket", None):  # not that from which a video comes
        raise PlaceError(pause(bucket, str(error))) from safe_to_show(error)


def _is_fresh(answer: tuple[float, str | None], now: float) -> bool:
    asked_at, problem = answer
    return now - asked_at < (_BAD_SECONDS if problem else _GOOD_SECONDS)


def _tried(objects: ObjectStore) -> str | None:
    try:
        objects.check()
    except HeatersError as error:
        return str(error)
    return None
