"""The lines that the parts of `heaters up` write, made readable in one terminal."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator

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
#: As Celery writes the log of its workers.
_WORKER_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: [A-Z]+/[\w-]+\] (?P<message>.*)")
_STEPS_FAILED = re.compile(r"RUN_FAILURE - Execution of run for \"[^\"]*\" failed\. Steps failed: \[(?P<steps>[^\]]*)\]\.")
#: What Dagster writes before a reason that Heaters gave.
_ERROR_NAME = re.compile(r"^(dagster\._core\.definitions\.events\.Failure|assets\.failures\.StageInterruptedError): ")
_COPY = re.compile(r"(WARNING|ERROR):(root|dagster[\w.]*):")
_NO_DATABASE = "Retrying failed database connection"
_UNREACHABLE = "DagsterUserCodeUnreachableError: "


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


def readable(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a part, shortened for a person.

    Of Dagster's events of a run only warnings and errors are kept, as `job: what happened` with the reason below. The stack trace is on the
    run's page in the UI. A code server or database that does not answer for a moment is reported without stack traces, too. Other lines
    stay as they are, also tracebacks of a program that fails.
    """
    within_event = reason_follows = False
    for line in _without_outages(_COLOUR_CODES.sub("", coloured) for coloured in lines):
        event = _RUN_EVENT.match(line)
        if event is not None:
            within_event, reason_follows = True, event["level"] in {"WARNING", "ERROR", "CRITICAL"}
            if reason_follows:
                failed = _STEPS_FAILED.fullmatch(event["message"])
                at = failed["steps"].replace("'", "") if failed else ""
                yield f"{event['job']} failed at {at}:" if failed else f"{event['job']}: {event['message']}"
        elif _DAGSTER_LINE.match(line):
            within_event = False
            yield line
        elif (of_worker := _WORKER_LINE.match(line)) is not None:
            within_event = reason_follows = False
            yield of_worker["message"]
        elif not line or (within_event and not reason_follows):
            continue
        else:
            reason_follows = False
            yield _ERROR_NAME.sub("", line)


def _without_outages(lines: Iterable[str]) -> Iterator[str]:
    """The lines without the daemon's second copy of each error, and without stacks of calls to a code server that does not answer.

    A killed code server caused nine hundred lines. The reasons are kept, and each of them says that the daemon goes on by itself.
    """
    dropped = unreachable = False
    held, told = None, ""
    for line in lines:
        if _DAGSTER_LINE.match(line):
            dropped = unreachable = False
            yield line
        elif _COPY.match(line):
            dropped, unreachable = True, False
            if _NO_DATABASE in line and line != told:
                told = line
                yield line
        elif dropped:
            if unreachable and _UNREACHABLE in line:
                yield line.partition(_UNREACHABLE)[2]
        elif line.startswith("Traceback "):
            held = line
        elif held is not None and "/dagster/_grpc/client.py" in line:
            dropped, unreachable, held = True, True, None
        else:
            if held is not None:
                yield held
            held = None
            yield line
