"""Errors of a stage: what is written to the row and what Dagster may try again, on real runs."""

from __future__ import annotations

import errno

import dagster as dg
import pytest

from assets.failures import CANCELED, StageInterruptedError, stage_failures
from heaters_dagster.domain.errors import BusyError, DatabaseUnavailableError, HeatersError, InvalidMediaError, ProcessKilledError

AT_ONCE = dg.RetryPolicy(max_retries=2)


def run_that_raises(error: BaseException) -> tuple[dg.ExecuteInProcessResult, list[tuple[str, bool]], int]:
    """The result of a real run of a stage that always raises `error`, what was recorded, and how often it was tried."""
    recorded: list[tuple[str, bool]] = []
    tries = 0

    @dg.asset(retry_policy=AT_ONCE)
    def stage() -> None:
        nonlocal tries
        tries += 1
        with stage_failures(lambda message, transient: recorded.append((message, transient))):
            raise error

    result = dg.materialize([stage], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    return result, recorded, tries


@pytest.mark.parametrize("error", [ProcessKilledError("ffmpeg was killed"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_transient_failure_is_recorded_and_tried_again(error: Exception) -> None:
    result, recorded, tries = run_that_raises(error)
    assert not result.success
    assert tries == 3
    assert [transient for _, transient in recorded] == [True, True, True]


@pytest.mark.parametrize("error", [InvalidMediaError("a.mp4: no video stream"), KeyError("a defect of ours")])
def test_a_permanent_failure_is_recorded_and_not_tried_again(error: Exception) -> None:
    result, recorded, tries = run_that_raises(error)
    assert not result.success
    assert tries == 1
    assert [transient for _, transient in recorded] == [False]


def test_the_row_and_the_run_give_the_message_as_it_stands() -> None:
    result, recorded, _ = run_that_raises(InvalidMediaError("a.mp4: no video stream"))
    assert recorded == [("a.mp4: no video stream", False)]
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == "a.mp4: no video stream"


def test_a_stage_that_another_process_works_on_is_tried_again_but_not_recorded() -> None:
    _, recorded, tries = run_that_raises(BusyError("proxy of video 3 is being made by another process"))
    assert recorded == []
    assert tries == 3


def test_an_interrupt_leaves_the_row_as_it_is_and_is_not_tried_again() -> None:
    result, recorded, tries = run_that_raises(dg.DagsterExecutionInterruptedError())
    assert not result.success
    assert recorded == []
    assert tries == 1
    assert result.dagster_run.tags["dagster/failure_reason"] == "UNEXPECTED_TERMINATION"


def test_an_interrupt_passes_through_nested_stages() -> None:
    recorded: list[str] = []

    def record(message: str, transient: bool) -> None:
        recorded.append(message)

    with pytest.raises(StageInterruptedError), stage_failures(record), stage_failures(record):
        raise KeyboardInterrupt
    assert recorded == []


def test_when_the_row_cannot_be_told_either_both_reasons_are_given() -> None:
    def record(message: str, transient: bool) -> None:
        raise DatabaseUnavailableError("Postgres does not answer")

    with pytest.raises(dg.Failure, match=r"(?s)ffmpeg was killed.*Postgres does not answer") as raised, stage_failures(record):
        raise ProcessKilledError("ffmpeg was killed")
    assert isinstance(raised.value.__cause__, HeatersError)
    assert raised.value.allow_retries


def test_what_a_person_canceled_says_so_on_the_row_and_in_the_log_in_the_same_words() -> None:
    recorded: list[tuple[str, bool]] = []
    record = lambda message, transient: recorded.append((message, transient))  # noqa: E731
    with pytest.raises(StageInterruptedError, match=f"^Harbour: {CANCELED}$"):
        with stage_failures(record, shown=lambda said: f"Harbour: {said}", was_canceled=lambda: True):
            raise dg.DagsterExecutionInterruptedError
    assert recorded == [(CANCELED, False)]


def test_the_last_try_is_final_and_says_why_it_failed() -> None:
    with pytest.raises(dg.Failure) as raised, stage_failures(lambda message, transient: None, tries_left=False):
        raise ProcessKilledError("ffmpeg was killed")
    assert (raised.value.description, raised.value.allow_retries) == ("ffmpeg was killed", False)
