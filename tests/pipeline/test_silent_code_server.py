"""What the daemon writes while the code server does not answer."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError

from heaters_dagster.commands.up import silent_code_server
from heaters_dagster.commands.up.silent_code_server import SENTENCE, SilentCodeServer, say_in_words


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a logger as Dagster's writes, with a handler above the one that is used."""
    text, logger = io.StringIO(), logging.getLogger("a.dagster")
    handler = logging.StreamHandler(text)
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)


def fails(reason: Exception) -> None:
    logger = logging.getLogger("a.dagster.daemon")
    try:
        try:
            raise ConnectionError("connection refused")
        except ConnectionError as error:
            raise reason from error
    except Exception:
        logger.exception("Sensor tick caught an error")


def test_a_sentence_a_minute_takes_the_place_of_stack_traces(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    say_in_words(SilentCodeServer())
    for _ in range(5):
        fails(DagsterUserCodeUnreachableError("Could not reach user code server"))
    told = "UserWarning: Error loading repository location heaters:dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach"
    logging.getLogger("a.dagster").warning("%s\n\nStack Trace:", told)
    assert written.getvalue() == f"{SENTENCE}\n"
    monkeypatch.setattr(silent_code_server, "_EVERY_SECONDS", 0.0)
    fails(DagsterUserCodeUnreachableError("Could not reach user code server"))
    assert written.getvalue() == f"{SENTENCE}\n" * 2


def test_other_faults_keep_their_stack_traces(written: io.StringIO) -> None:
    say_in_words(SilentCodeServer())
    fails(ValueError("a defect"))
    assert written.getvalue().startswith("Sensor tick caught an error\nTraceback")
    assert "ValueError: a defect" in written.getvalue()


def test_what_passes_one_handler_passes_the_next() -> None:
    one = SilentCodeServer()
    record = logging.LogRecord("a", logging.ERROR, __file__, 1, "DagsterUserCodeUnreachableError", None, None)
    assert [one.filter(record) for _ in range(2)] == [True, True]
    assert (record.getMessage(), record.levelname) == (SENTENCE, "WARNING")


def test_a_warning_before_there_are_loggers_is_a_sentence_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *about: others.append(str(message)))
    SilentCodeServer().take_warnings()
    for told in ("Error loading: DagsterUserCodeUnreachableError", "Error loading: DagsterUserCodeUnreachableError", "something else"):
        warnings.showwarning(UserWarning(told), UserWarning, "context.py", 1)
    assert (capsys.readouterr().out, others) == (f"{SENTENCE}\n", ["something else"])
