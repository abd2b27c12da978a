"""The output of the command line: tables, progress bars, JSON, and errors in a line or two."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from heaters_dagster import event_log
from heaters_dagster.domain.progress import Progress as Reading
from heaters_dagster.domain.progress import Report
from heaters_dagster.domain.secrets import without_access

_PIPED_WIDTH = 160
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NARROWEST = 16
#: What a stranger called a video is printed as it is: no colours for numbers, no picture for `:smile:`.
Console = partial(RichConsole, highlight=False, emoji=False)
out = Console(width=None if sys.stdout is not None and sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True)

_COLOURS = {"_failed": "red", "approved": "green", "embedded": "green", "exported": "green", "archived": "dim", "skipped": "dim"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, the key of its value in a row, whether it holds numbers, whether its text may wrap."""

    heading: str
    key: str
    number: bool = False
    wraps: bool = False


def show_json(value: Any) -> None:
    """Print data for programs: one JSON document and nothing else on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def show_json_list(values: Iterable[Any]) -> None:
    """A list as JSON, one item per line: it may be too long to hold in memory."""
    separator = "[\n"
    for value in values:
        sys.stdout.write(separator + "  " + json.dumps(value, ensure_ascii=False, default=str))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def show_table(title: str, columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> None:
    table = Table(
        title=Text(title, style="table.title") if title else None, title_justify="left", header_style="bold", pad_edge=False, box=None
    )
    for column in columns:
        table.add_column(column.heading, justify="right" if column.number else "left", overflow="fold", no_wrap=not column.wraps)
    for row in rows:
        table.add_row(*(_cell(row.get(column.key)) for column in columns))
    if _least_width(table) <= out.width:
        out.print(table, crop=False)
    else:
        _show_records(title, columns, rows)


def show_record(columns: Sequence[Column], row: dict[str, Any]) -> None:
    """One row, with a line for each cell that is not empty."""
    _show_records("", columns, [row])


def _show_records(title: str, columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> None:
    """One row below the other, a line for each cell: for a terminal that is too narrow for a table.

    Lines are broken between words; a word that is longer than the line, such as an object key, is not broken.
    The lines of a cell stay lines.
    """
    if title:
        out.print(Text(title), soft_wrap=True)
    indent = max(len(column.heading) for column in columns) + 2
    for row in rows:
        for column in columns:
            cell = Text.from_markup(_cell(row.get(column.key)), emoji=False)
            if not cell.plain:
                continue
            for number, line in enumerate(_lines(cell, max(out.width - indent, _NARROWEST))):
                heading = f"{column.heading if number == 0 else '':{indent}}"
                out.print(Text.assemble((heading, "bold"), line), soft_wrap=True)
        if row is not rows[-1]:
            out.print()


def _lines(text: Text, width: int) -> list[Text]:
    """The lines of `text`, broken between words into lines of at most `width` cells; a word that is longer gets a line of its own."""
    lines: list[Text] = []
    for own in text.split("\n", allow_blank=True):
        begun = len(lines)
        for word in own.split(" ", allow_blank=True):
            if len(lines) > begun and lines[-1].cell_len + 1 + word.cell_len <= width:
                lines[-1] = Text(" ").join([lines[-1], word])
            else:
                lines.append(word)
    return lines


def _least_width(table: Table) -> int:
    """The least width, in cells, at which every column can be read and no word is broken."""
    least = [max(_longest(str(cell), wraps=not own.no_wrap) for cell in (own.header, *own.cells)) for own in table.columns]
    return sum(least) + 2 * (len(least) - 1)


def _longest(cell: str, *, wraps: bool) -> int:
    """Width in cells that it needs. Text that may be broken between words needs its longest word, and at least _NARROWEST."""
    text = Text.from_markup(cell, emoji=False)
    if not wraps:
        return text.cell_len
    return max(min(text.cell_len, _NARROWEST), max((word.cell_len for word in text.split(" ")), default=0))


def say(text: str) -> None:
    out.print(_shown(text))


def warn(text: str) -> None:
    if event_log.is_json():
        event_log.tell(text, level=logging.WARNING)
    else:
        err.print(f"[yellow]{_shown(text)}[/yellow]", soft_wrap=True)


def complain(text: str) -> None:
    """An error for a person: what is wrong and what to do, on standard error."""
    if event_log.is_json():
        event_log.tell(text, level=logging.ERROR)
    else:
        err.print(f"[red]heaters:[/red] {_shown(without_access(text))}", soft_wrap=True)


def coloured(state: str) -> str:
    colour = next((colour for part, colour in _COLOURS.items() if part in state), None)
    return f"[{colour}]{state}[/{colour}]" if colour else state


def clock_time(seconds: float | None) -> str:
    """`1:02:03.456`, hours only when there are some; nothing for None."""
    if seconds is None:
        return ""
    # Rounded first: of 59.9996 s, the seconds alone would become 60.000.
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


@contextmanager
def bars() -> Iterator[Report]:
    """Progress bars on standard error, one per stage; yields the Report that moves them. Nothing is shown without a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[reading]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def report(reading: Reading) -> None:
            if reading.stage not in tasks:
                tasks[reading.stage] = shown.add_task(reading.stage, total=reading.total, reading="")
            task = tasks[reading.stage]
            text = str(reading).removeprefix(reading.stage).strip(" ,")
            shown.update(task, completed=reading.done, total=reading.total, reading=text)
            if reading.total is not None and reading.done >= reading.total:
                shown.remove_task(tasks.pop(reading.stage))

        yield report


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return coloured(text) if text.replace("_", "").isalpha() and "_" in text else _shown(text)


def _shown(text: str) -> str:
    """The text without characters that would move the cursor or change the direction: a file's name may hold any."""
    return escape(_COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text))
