"""Where Heaters' errors become Dagster's: the row says why a stage failed, and only temporary failures are tried again."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import dagster as dg
from dagster import DagsterError, DagsterExecutionInterruptedError, DagsterInvariantViolationError

from heaters_dagster.domain.errors import BusyError, HeatersError, PlaceError, TransientError
from heaters_dagster.domain.media_failures import is_low_memory
from heaters_dagster.domain.reasons import without_objects
from heaters_dagster.domain.run_tags import ENDED_TAG
from heaters_dagster.domain.secrets import safe_to_show, without_access
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import Pause, raise_fault_of_the_place

#: For every stage: `stage_failures` says which failures may use it.
TRANSIENT_RETRIES = dg.RetryPolicy(max_retries=2, delay=3, backoff=dg.Backoff.EXPONENTIAL)

#: What the row, the run's log and the run of a person's cancellation say.
CANCELED = "canceled in Dagster by a person; heaters retry starts it again"

#: The same of a run that made a piece of a proxy for another run: no row waits for it.
CANCELED_HELP = (
    "canceled in Dagster by a person; no other machine helps with this proxy any more, and the run that makes it makes the rest itself"
)

_PASSING_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})


class StageInterruptedError(DagsterError, DagsterExecutionInterruptedError):
    """An interrupt (Ctrl-C, a cancelled run, SIGTERM) in a form that ends the run.

    When a step has a retry policy, Dagster takes an ordinary interrupt for a failure and starts the step again, twice. Not so with
    errors of its own family; this error belongs to both.
    """


def is_transient(error: BaseException) -> bool:
    """Whether trying the same again later may work."""
    if isinstance(error, HeatersError):
        return isinstance(error, TransientError)
    return is_low_memory(error) or (isinstance(error, OSError) and error.errno in _PASSING_ERRNOS)


def reason(error: BaseException) -> str:
    """The text for the row and the operator: Heaters' own messages unchanged, others with their type in front."""
    if not isinstance(error, HeatersError) and is_low_memory(error):
        return (
            "there was too little memory for this stage; it can be tried again when fewer programs run on this machine, or with "
            "a higher limit"
        )
    said = without_objects(str(error))
    return said if isinstance(error, HeatersError) else without_access(f"{type(error).__name__}: {said}")


@contextmanager
def stage_failures(
    record: Callable[[str, bool], object],
    *,
    objects: Callable[[], ObjectStore] | None = None,
    pause: Pause | None = None,
    tries_left: bool = True,
    shown: Callable[[str], str] = lambda said: said,
    was_canceled: Callable[[], bool] = lambda: False,
    canceled: str = CANCELED,
) -> Iterator[None]:
    """Run one try of a stage; on an error call `record(message, transient)`, then raise `dagster.Failure`, retryable only when transient.

    tries_left: False at the last try. The Failure is then final and Dagster shows its reason; a Failure that asks for one try too many is
    shown as "Exceeded max_retries of 2". shown: makes the text that Dagster shows from a message. was_canceled: whether a person canceled
    the run; canceled: what is said then. objects: the store that the stage uses, None when it uses none. pause: see
    `raise_fault_of_the_place`.

    `record` writes the failed state to the row. It is not called for BusyError: the stage then belongs to another process, and its outcome
    would be overwritten. It is not called for an interrupt: the row stays in its working state and is due again, except when a person
    canceled the run: then the row waits for a person. It is not called when the database failed, because nothing can be written; the row is
    due again. It is not called when `objects` cannot be used: that is no fault of the row.
    An error that is no HeatersError is a defect: recorded, not tried again.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested, StageInterruptedError):
        raise
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        if not was_canceled():
            raise StageInterruptedError(shown("interrupted; the work is due again")) from error
        _recorded(record, canceled, False)
        raise StageInterruptedError(shown(canceled)) from error
    except BusyError as error:
        raise dg.Failure(description=shown(reason(error)), allow_retries=tries_left) from safe_to_show(error)
    except Exception as error:
        try:
            if objects is not None:
                raise_fault_of_the_place(error, objects(), pause)
        except PlaceError as place:
            _mark_run(reason(place))
            raise dg.Failure(description=reason(place), allow_retries=False) from safe_to_show(error)
        transient = is_transient(error)
        description = _recorded(record, reason(error), transient)
        raise dg.Failure(description=shown(description), allow_retries=transient and tries_left) from safe_to_show(error)


def _mark_run(why: str) -> None:
    """Note on the current run, if there is one, that it did not end because its work failed."""
    with suppress(DagsterInvariantViolationError):
        context = dg.OpExecutionContext.get()
        context.instance.add_run_tags(context.run_id, {ENDED_TAG: why[:200]})


def _recorded(record: Callable[[str, bool], object], message: str, transient: bool) -> str:
    """The message; when it could not be written to the row, with the reason for that too."""
    try:
        record(message, transient)
    except HeatersError as second:
        return f"{message} (and this could not be recorded: {second})"
    return message
