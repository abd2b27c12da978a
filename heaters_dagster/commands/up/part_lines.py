"""The lines that the parts of `heaters up` write, made readable in one terminal."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto

from heaters_dagster.event_log import line_of
from heaters_dagster.settings import Settings

Say = Callable[[str, str], None]
"""Prints a line: name of the part, text."""

OURS = "heaters"
_COLOURS = ("cyan", "magenta", "blue", "green", "yellow")
_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
_DAGSTER_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - dagster\S* - ")
_RUN_EVENT = re.compile(
    _DAGSTER_LINE.pattern + r"(?P<level>[A-Z]+) - (?P<job>\S+) - [0-9a-f]{8}-[0-9a-f-]{27} - (?:\d+ - )?(?P<message>.*)"
)
#: As Celery's workers write their log, and the other parts what none of Dagster's loggers says (`event_log.RECORD_FORMAT`).
_RECORD = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: [A-Z]+/[\w:-]+\] (?P<message>.*)")
_STEPS_FAILED = re.compile(r"RUN_FAILURE - Execution of run for \"[^\"]*\" failed\. Steps failed: \[(?P<steps>[^\]]*)\]\.")
#: What Dagster writes before a reason that Heaters gave.
_ERROR_NAME = re.compile(r"^(dagster\._core\.definitions\.events\.Failure|assets\.failures\.StageInterruptedError): ")
_TRACEBACK, _STACK = "Traceback ", "Stack Trace:"
_CAUSED = ("The above exception ", "During handling of the above exception")
_NO_DATABASE = "Retrying failed database connection"
_UNREACHABLE = "DagsterUserCodeUnreachableError: "
#: What the other lines of the stacks of a call to a code server begin with; those of its frames are indented.
_OF_STACKS = (_TRACEBACK, *_CAUSED, "grpc.", "dagster.", ">")


def shown_lines(settings: Settings) -> Say:
    """As HEATERS_LOG_FORMAT says."""
    return json_lines() if settings.log_format == "json" else terminal_lines()


def json_lines() -> Say:
    """JSON lines on standard output: those of parts that write JSON unchanged, and each other line as an event of its part."""
    lock = threading.Lock()

    def say(name: str, text: str) -> None:
        with lock:
            print(line_of(text, name), flush=True)

    return say


def terminal_lines() -> Say:
    """Lines on standard output, each with the coloured name of its part; always whole lines, even when many threads write."""
    from rich.console import Console
    from rich.text import Text

    console, lock = Console(highlight=False, soft_wrap=True), threading.Lock()

    def say(name: str, text: str) -> None:
        style = "bold" if name == OURS else _COLOURS[sum(name.encode()) % len(_COLOURS)]
        with lock:
            console.print(Text.assemble((f"{name:>8} ", style), text))

    return say


class _Place(Enum):
    """Where a line is in an event of a run: its message, a blank line, why, a blank line, the stack; the same again of what caused it."""

    MESSAGE = auto()
    REASON = auto()
    AFTER_REASON = auto()
    CAUSE = auto()
    AFTER_CAUSE = auto()
    STACK = auto()


def readable(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a part, shortened for a person.

    Of Dagster's events of a run only warnings and errors are kept, as `job: what happened` with the reason below. The stack trace is on the
    run's page in the UI. A code server or database that does not answer for a moment is reported without stack traces, too. Other lines
    stay as they are, also tracebacks of a program that fails.
    """
    place: _Place | None = None  # None: within no event
    is_told = False
    for line in _without_outages(_COLOUR_CODES.sub("", coloured) for coloured in lines):
        event = _RUN_EVENT.match(line)
        if event is not None:
            place, is_told = _Place.MESSAGE, event["level"] in {"WARNING", "ERROR", "CRITICAL"}
            if is_told:
                failed = _STEPS_FAILED.fullmatch(event["message"])
                at = failed["steps"].replace("'", "") if failed else ""
                yield f"{event['job']} failed at {at}:" if failed else f"{event['job']}: {event['message']}"
            continue
        record = _RECORD.match(line)
        place = None if record is not None or _DAGSTER_LINE.match(line) else _next_place(place, line)
        is_reason = place in {_Place.MESSAGE, _Place.REASON} and is_told
        if line and (place is None or is_reason):
            yield record["message"] if record is not None else _ERROR_NAME.sub("", line)


def _next_place(place: _Place | None, line: str) -> _Place | None:
    """Where this line is, when the one before it was there; None where the event is over, and something else has been said."""
    if place is None or line.startswith(_TRACEBACK):
        return None
    if line.startswith(_STACK):
        return _Place.STACK
    if line.startswith(_CAUSED):
        return _Place.CAUSE
    match place, bool(line):
        case _Place.MESSAGE, False:
            return _Place.REASON
        case _Place.REASON, False:
            return _Place.AFTER_REASON
        case _Place.CAUSE, False:
            return _Place.AFTER_CAUSE
        case ((_Place.REASON | _Place.CAUSE), True):
            return place
        case _Place.STACK, _ if _is_indented(line):
            return place
        case ((_Place.AFTER_REASON | _Place.AFTER_CAUSE), False):
            return place
    return None  # what follows a message at once is rather said by somebody else than a second line of it


def _is_indented(line: str) -> bool:
    return not line or line[0].isspace()


def _without_outages(lines: Iterable[str]) -> Iterator[str]:
    """The lines without stacks of calls to a code server that does not answer, and each failed try to reach a database once.

    A killed code server caused nine hundred lines. The reasons are kept, and each of them says that the daemon goes on by itself.
    """
    held, told = None, ""
    is_dropped = is_repeated = was_unreachable = False
    for line in lines:
        record = _RECORD.match(line)
        goes_on = is_dropped and (_is_indented(line) or line.startswith(_OF_STACKS))
        if goes_on or (was_unreachable and line.startswith(_CAUSED)):
            was_unreachable = _UNREACHABLE in line
            is_dropped = not was_unreachable
            if was_unreachable:
                yield line.partition(_UNREACHABLE)[2]
        elif is_repeated and _is_indented(line):
            continue
        elif held is not None and "/dagster/_grpc/client.py" in line:
            held, is_dropped = None, True
        else:
            if held is not None:
                yield held
            held, is_dropped, was_unreachable = None, False, was_unreachable and not line
            failed_try = record["message"] if record is not None and _NO_DATABASE in line else ""
            is_repeated = bool(failed_try) and failed_try == told
            told = failed_try or (told if _is_indented(line) else "")
            if line.startswith(_TRACEBACK):
                held = line
            elif not is_repeated:
                yield line
    if held is not None:
        yield held
