"""What happens, as one JSON line per event, for programs that collect logs: with HEATERS_LOG_FORMAT=json, in every process of Heaters.

An event of Heaters names what it is about by ids: `source_video_id`, `clip_id` (or `clip_ids`), `run_id`, `reviewer_id`. Lines of
Dagster, uvicorn, Streamlit and other libraries have the same form, and so have unhandled errors and whatever a server prints. No value of
a secret setting, and no password in an address, is ever in a line. With `text`, the default, people read the terminal: only what no
logger would say gets a handler (`RECORD_FORMAT`).
"""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.secrets import without_access
from heaters_dagster.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOGGER, _PRINTED = logging.getLogger("heaters"), logging.getLogger("heaters.printed")
_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
#: A write of this size to a pipe is never mixed with that of another process: the kernel promises that for 4,096 bytes.
LONGEST_LINE_BYTES = 4000
#: Of a record for people: that of Celery's workers, which write theirs beside those of Heaters.
RECORD_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
_KEPT_OF_A_TEXT, _LEAST_OF_A_TEXT = 1200, 20
_LONGEST_LIST = 100
#: Attributes of every record, and of records of libraries, that say nothing to people.
_NO_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "color_message", "dagster_meta", "dagster_event", "dagster_event_batch_metadata", "websocket",
}  # fmt: skip
_PENDING = "heaters_events"

_NOTHING: Mapping[str, object] = MappingProxyType({})
_about: ContextVar[Mapping[str, object]] = ContextVar("about", default=_NOTHING)


class _Output:
    """Where the lines go; None: HEATERS_LOG_FORMAT is text."""

    handler: logging.Handler | None = None


def is_json() -> bool:
    """Whether this process writes its log as JSON lines."""
    return _Output.handler is not None


def set_up(settings: Settings, process: str | None = None, *, owns_output: bool = False) -> None:
    """Write the log of this process as HEATERS_LOG_FORMAT says. Called first of all, and again when a library has made loggers since.

    process: what the lines call it: review, dagster, daemon, code, command; None: a run worker, or another program of Dagster.
    owns_output: its standard output and error are for its log only, so that what any library prints there becomes an event, too.
    """
    if settings.log_format != "json":
        if owns_output or _name_of_program() == "run":
            _say_in_lines()
        return
    if _Output.handler is not None:
        _take_over(_Output.handler)
        return
    # Dagster leads standard error of a step into a file; the log stays where it was.
    handler = _LineHandler(os.dup(2))
    handler.setFormatter(_formatter(settings, process or _name_of_program()))
    _Output.handler = handler
    _take_over(handler)
    _LOGGER.setLevel(logging.INFO)
    sys.excepthook = _unhandled
    threading.excepthook = lambda given: _unhandled(given.exc_type, given.exc_value, given.exc_traceback)
    if owns_output:
        sys.stdout, sys.stderr = _Printed(sys.stdout), _Printed(sys.stderr)


def _say_in_lines() -> None:
    """What no logger has a handler for gets one, with a line that whoever shows it knows by its form.

    Else the first warning of Python's root logger gives it one, which from then on says a second time what Dagster's loggers have said.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(RECORD_FORMAT))
        handler.addFilter(_is_said_nowhere_else)
        root.addHandler(handler)


def _is_said_nowhere_else(record: logging.LogRecord) -> bool:
    logger = logging.getLogger(record.name)
    while logger.parent is not None:
        if logger.handlers:
            return False
        logger = logger.parent
    return True


def _take_over(handler: logging.Handler) -> None:
    """Give what loggers write to the terminal to `handler`."""
    root = logging.getLogger()
    for logger in (one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)):
        if any(_is_terminal(one) for one in logger.handlers):
            logger.handlers = [one for one in logger.handlers if not _is_terminal(one)]
            if not logger.propagate:
                logger.addHandler(handler)
    root.handlers = [*(one for one in root.handlers if one is not handler and not _is_terminal(one)), handler]
    logging.captureWarnings(True)


def uvicorn_options() -> dict[str, Any]:
    """Options for `serve`: uvicorn then leaves the handlers of its loggers as they are."""
    return {"log_config": None} if is_json() else {}


def handler() -> logging.Handler | None:
    """What writes the lines, for loggers that are outside of Python's tree of loggers; None with HEATERS_LOG_FORMAT=text."""
    return _Output.handler


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Within this block every event of this thread is about these."""
    token = _about.set({**_about.get(), **ids})
    try:
        yield
    finally:
        with suppress(ValueError):  # a generator of Dagster's may be closed in another context
            _about.reset(token)


def tell(event: str, *, level: int = logging.INFO, **what: object) -> None:
    """Write an event of Heaters. Nothing with HEATERS_LOG_FORMAT=text: there, people are told by the pages and the commands themselves."""
    if _Output.handler is not None:
        _LOGGER.log(level, "%s", event, extra={"told": what})


def tell_when_committed(connection: Connection, event: str, **what: object) -> None:
    """As `tell`, once the transaction of this connection (`Database.begin`) is committed: what was rolled back has not happened."""
    if _Output.handler is not None:
        connection.info.setdefault(_PENDING, []).append((event, what))


def tell_of_failure(connection: Connection, event: str, reason: str, tries: int, **about: object) -> None:
    """As `tell_when_committed`, as a warning: why a stage failed, and how many tries that makes."""
    tell_when_committed(connection, event, level=logging.WARNING, reason=reason, tries=tries, **about)


def forget_pending(connection: Connection) -> list[tuple[str, Mapping[str, Any]]]:
    """Take the events that wait for the commit of this connection."""
    return list(connection.info.pop(_PENDING, ()))


def of_clips(clip_ids: list[int] | tuple[int, ...]) -> dict[str, object]:
    """`clip_id` for one clip, `clip_ids` for several, and how many there are when that are more than a line should hold."""
    if len(clip_ids) == 1:
        return {"clip_id": clip_ids[0]}
    if len(clip_ids) > _LONGEST_LIST:
        return {"clip_ids": list(clip_ids[:_LONGEST_LIST]), "clips": len(clip_ids)}
    return {"clip_ids": list(clip_ids)} if clip_ids else {}


def line_of(said: str, process: str) -> str:
    """What a part of `heaters up` wrote, as a JSON line: unchanged when it is one."""
    if said.startswith("{"):
        try:
            json.loads(said)
        except ValueError:
            pass
        else:
            return said
    return json.dumps({"time": _time(datetime.now(UTC)), "level": "info", "event": said, "process": process}, ensure_ascii=False)


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name_of_program() -> str:
    """`run` for what executes a run: a child of a code server, or `dagster api execute_run`, as launchers start it elsewhere."""
    is_worker = multiprocessing.parent_process() is not None or bool({"execute_run", "execute_step"} & set(sys.argv))
    if is_worker:
        return "run"
    program = Path(sys.argv[0])
    return program.parent.name if program.stem == "__main__" else program.stem or "python"


def _is_terminal(one: logging.Handler) -> bool:
    return isinstance(one, logging.StreamHandler) and not isinstance(one, logging.FileHandler)


class _LineHandler(logging.Handler):
    """Writes each line at once and whole."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self._descriptor, self.format(record).encode(errors="backslashreplace") + b"\n")
        except BrokenPipeError:
            pass  # whoever collected the lines is gone; the work goes on
        except Exception:
            self.handleError(record)


class _Printed(io.TextIOBase):
    """Stands for standard output or error: each printed line becomes an event."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._begun, self._lock = stream, "", threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        if lines and _Output.handler is not None:
            _take_over(_Output.handler)  # it may be of a logger that a library has made since; the next line comes from the logger itself
        for line in lines:
            if line.strip():
                _PRINTED.info("%s", _COLOUR_CODES.sub("", line).rstrip())
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def buffer(self) -> Any:
        return self._stream.buffer


def _unhandled(kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
    if kind is None or error is None or issubclass(kind, KeyboardInterrupt):
        return
    _LOGGER.critical("%s", f"unhandled error: {kind.__name__}: {error}", exc_info=(kind, error, traceback))


def _formatter(settings: Settings, process: str) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    def shown(value: object) -> object:
        """`value` for JSON, without secrets."""
        if isinstance(value, str):
            return settings.without_secrets(value)
        if isinstance(value, Mapping):
            return {str(name): shown(one) for name, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [shown(one) for one in value]
        return value if value is None or isinstance(value, (bool, int, float)) else settings.without_secrets(str(value))

    return _EventFormatter(JsonFormatter(json_ensure_ascii=False).serialize_log_record, shown, process)


class _EventFormatter(logging.Formatter):
    """A record as one line. written: makes JSON of fields. shown: removes secrets from a value."""

    def __init__(self, written: Callable[[dict[str, Any]], str], shown: Callable[[object], Any], process: str) -> None:
        super().__init__()
        self._written, self._shown, self._process = written, shown, process

    def format(self, record: logging.LogRecord) -> str:
        fields = {str(name): self._shown(value) for name, value in self._fields(record).items()}
        line, kept = self._written(fields), _KEPT_OF_A_TEXT
        while len(line.encode(errors="replace")) > LONGEST_LINE_BYTES and kept > _LEAST_OF_A_TEXT:
            fields = {name: _shortened(name, value, kept) for name, value in fields.items()}
            line, kept = self._written(fields), kept // 2
        return line

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        meta = getattr(record, "dagster_meta", None) or {}
        return {
            "time": _time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": str(meta.get("orig_message") or record.getMessage()),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            **_of_dagster(meta),
            **_about.get(),
            **{name: value for name, value in vars(record).items() if name not in _NO_FIELDS and name != "told"},
            **({"error": self.formatException(record.exc_info)} if record.exc_info and record.exc_info[0] else {}),
            **getattr(record, "told", {}),
        }


def _shortened(name: str, value: object, kept: int) -> object:
    """Of an error the end says most, of all else the beginning."""
    if isinstance(value, list):
        return value[: max(kept // 100, 1)]
    if not isinstance(value, str) or len(value) <= kept:
        return value
    return f"... {value[-kept:]}" if name == "error" else f"{value[:kept]} ..."


def _of_dagster(meta: Mapping[str, Any]) -> dict[str, object]:
    """The ids of an event of a run."""
    tags = meta.get("job_tags") or {}
    key = str(tags.get("dagster/partition", ""))
    found: dict[str, object] = {"run_id": meta.get("run_id"), "job": meta.get("job_name"), "stage": meta.get("step_key")}
    found["source_video_id"] = int(key) if key.isdigit() else None
    event = meta.get("dagster_event")
    if event is not None:
        found["dagster_event"] = str(getattr(event, "event_type_value", ""))
        error = getattr(getattr(event, "event_specific_data", None), "error", None)
        if error is not None:
            found["error"] = without_access(str(error.to_string()))
    return {name: value for name, value in found.items() if value is not None}
