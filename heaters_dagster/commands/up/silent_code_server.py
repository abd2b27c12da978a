"""What the daemon says while the code server does not answer: a sentence a minute, where Dagster writes two stack traces for each sensor.

(Killed for a minute, it wrote 3,700 lines, and the reason stood in none of them in words.)
"""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

_EVERY_SECONDS = 60.0
_NAME = "DagsterUserCodeUnreachableError"
SENTENCE = (
    "the code server does not answer: sensors, schedules and new runs wait, and go on by themselves when it is there again. "
    "heaters health code says why; heaters up starts it again by itself"
)


class SilentCodeServer(logging.Filter):
    """Of handlers, not of loggers: those of loggers do not see what comes from loggers below them."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_of_it(record):
            return True
        if not self._is_time():
            return False
        record.msg, record.args = SENTENCE, ()
        record.exc_info = record.exc_text = record.stack_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True

    def take_warnings(self) -> None:
        """Also of what Dagster warns while it looks for the code server the first time, before it has made its loggers."""
        shown = warnings.showwarning

        def in_words(message: Any, *about: Any, **more: Any) -> None:
            if _NAME not in str(message):
                shown(message, *about, **more)
            elif self._is_time():
                print(SENTENCE, flush=True)

        warnings.showwarning = in_words

    def _is_time(self) -> bool:
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < _EVERY_SECONDS:
            return False
        self._said_at = now
        return True


def say_in_words(one: SilentCodeServer) -> None:
    """For every logger that there is now."""
    known = [logging.getLogger(), *(found for found in logging.Logger.manager.loggerDict.values() if isinstance(found, logging.Logger))]
    for handler in {handler for logger in known for handler in logger.handlers}:
        handler.addFilter(one)


def _is_of_it(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        if type(error).__name__ == _NAME:
            return True
        error = error.__cause__ or error.__context__
    return _NAME in record.getMessage()
