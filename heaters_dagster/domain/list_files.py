"""Lists of sources as people write them: one address a line, CSV, or JSON lines. Pure: from bytes to sources and sentences."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.plain_text import text_problem
from heaters_dagster.domain.source_facts import LINE_CHARACTERS, MOST_TAGS, SourceFacts, clean_line
from heaters_dagster.domain.words import counted

MOST_BYTES = 64 << 20
MOST_LINES = 100_000
#: Suffixes of files that are lists themselves and never videos.
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".jsonl", ".ndjson"})
#: Other names under which people have these columns.
_CALLED = {
    "address": ("address", "url", "source", "link", "path", "file"),
    "title": ("title", "name"),
    "tags": ("tags", "tag", "keywords"),
    "licence": ("licence", "license"),
    "external_id": ("id", "own id", "external id", "own_id", "external_id"),
    "rights": ("rights",),
}
_FIELD_OF = {called: field for field, names in _CALLED.items() for called in names}
#: For help and messages.
COLUMNS = "address, title, tags, licence, id, rights"
_TOLD_PROBLEMS = 1_000
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Values in quotes may hold line breaks.
_LINES_OF_A_ROW = 50


@dataclass(frozen=True, slots=True)
class ListedSource:
    """One line. number: of the line, counted from 1. source: address or path as written. title: None when there is none."""

    number: int
    source: str
    title: str | None = None
    facts: SourceFacts = SourceFacts()


@dataclass(frozen=True, slots=True)
class ListFile:
    """problems: a sentence for each line that cannot be taken, with its number. notes: sentences about what was left aside."""

    sources: tuple[ListedSource, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _BadLine(Exception):
    """Why a line cannot be taken."""


def parsed(data: bytes, *, name: str) -> ListFile:
    """The sources that a list names. name: of the file, for its kind and for messages.

    JSON lines begin with a brace. CSV has a first line with the names of its columns, separated by commas, semicolons or tabs. All else is
    one address or path a line, with comments after `#` at the beginning of a line. Raises BadRequestError for what is no list at all.
    """
    lines = _lines(data, name)
    first = next((line.strip() for line in lines if _says_something(line)), "")
    separator = _separator(first)
    if first.startswith("{"):
        found, notes = _json_lines(lines)
    elif separator is not None:
        found, notes = _csv(lines, separator, name)
    elif name.lower().endswith((".csv", ".tsv")) and first:
        raise BadRequestError(
            f"{name}: its first line must name the columns, one of them address; known columns: {COLUMNS}. It begins with {first[:80]!r}"
        )
    else:
        found, notes = [_taken(number, {"address": line}) for number, line in enumerate(lines, 1) if _says_something(line)], []
    problems = [one for one in found if isinstance(one, str)]
    told = [f"{name}, {problem}" for problem in problems[:_TOLD_PROBLEMS]]
    if len(problems) > _TOLD_PROBLEMS:
        told.append(f"{name}: {counted(len(problems) - _TOLD_PROBLEMS, 'more line cannot', 'more lines cannot')} be taken")
    sources = tuple(one for one in found if isinstance(one, ListedSource))
    return ListFile(sources, tuple(told), tuple(f"{name}: {note}" for note in notes))


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _lines(data: bytes, name: str) -> list[str]:
    if len(data) > MOST_BYTES:
        raise BadRequestError(f"{name} is too large for a list: at most {MOST_BYTES >> 20} MiB")
    is_utf16 = data[:2] in {b"\xff\xfe", b"\xfe\xff"}  # as Excel writes "Unicode text"
    text = data.decode("utf-16", "replace") if is_utf16 else data.decode("utf-8-sig", "surrogateescape")
    if text[:4096].count("\x00") > len(text[:4096]) / 100:
        raise BadRequestError(f"{name} is not a list: it does not hold text")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES + 1:
        raise BadRequestError(f"{name} has {len(lines):,} lines; a list has at most {MOST_LINES:,}: split it")
    return lines


def _json_lines(lines: Sequence[str]) -> tuple[list[ListedSource | str], list[str]]:
    found: list[ListedSource | str] = []
    unknown: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if not _says_something(line):
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            found.append(_taken(number, {_field(key): value for key, value in values.items()}))
            unknown |= dict.fromkeys(key for key in values if not _field(key))
        else:
            found.append(f'line {number}: it is not a JSON object such as {{"address": "https://example.org/talk"}}')
    return found, _aside(list(unknown), "names")


def _csv(lines: Sequence[str], separator: str, name: str) -> tuple[list[ListedSource | str], list[str]]:
    start = next(place for place, line in enumerate(lines) if _says_something(line))
    columns = _columns(lines[start], separator)
    fields = [_field(column) for column in columns]
    twice = [field for field in fields if field and fields.count(field) > 1]
    if twice:
        raise BadRequestError(f"{name}: two of its columns are the {twice[0]}: {', '.join(columns)[:200]}")
    unknown = [column for column, field in zip(columns, fields, strict=True) if not field]
    return list(_rows(lines[start + 1 :], start + 2, separator, fields)), _aside(unknown, "columns")


def _rows(lines: Sequence[str], first: int, separator: str, fields: Sequence[str | None]) -> Iterator[ListedSource | str]:
    """One row after the other, each with a reader of its own: a quote that is never closed costs its own line and not the rest."""
    place = 0
    while place < len(lines):
        number = first + place
        reader = csv.reader((line + "\n" for line in lines[place : place + _LINES_OF_A_ROW]), delimiter=separator, strict=True)
        try:
            row = next(reader)
        except csv.Error as error:
            place += 1
            too_long = "larger" in str(error)
            yield f"line {number}: {'a value is too long' if too_long else 'a quote is not closed, or not written twice within quotes'}"
            continue
        place += reader.line_num
        values: dict[str | None, str] = {field: value for field, value in zip(fields, row, strict=False) if field}
        if not any(value.strip() for value in row) or values.get("address", "").lstrip().startswith("#"):
            continue
        if len(row) > len(fields):
            yield (
                f"line {number}: it has {len(row)} columns, but the first line names {len(fields)}; "
                f"put a value that holds {separator!r} in quotes"
            )
        else:
            yield _taken(number, values)


def _aside(unknown: Sequence[str], what: str) -> list[str]:
    """A note on names that mean nothing here."""
    shown = ", ".join(clean_line(one) or "(no name)" for one in unknown[:20])
    return [f"{what} that are not known were left aside: {shown[:500]}. Known: {COLUMNS}"] if unknown else []


def _columns(line: str, separator: str) -> list[str]:
    """The columns of a first line; none when one is longer than a value may be."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _separator(first: str) -> str | None:
    """What separates the columns that a first line names; None when it names no columns."""
    for separator in (",", ";", "\t"):
        with_one = _columns(first, separator)
        if any(_field(column) == "address" for column in with_one) and (len(with_one) > 1 or _field(first)):
            return separator
    return None


def _field(column: str) -> str | None:
    return _FIELD_OF.get(" ".join(column.strip().casefold().replace("-", " ").split()))


def _taken(number: int, values: Mapping[str | None, Any]) -> ListedSource | str:
    try:
        source = _line(values.get("address"), "address") or ""
        if not source:
            raise _BadLine("it names no address")
        facts = SourceFacts(
            tags=_tags(values.get("tags")),
            licence=_line(values.get("licence"), "licence"),
            external_id=_line(values.get("external_id"), "id"),
            rights=_line(values.get("rights"), "rights"),
        )
        return ListedSource(number, source, _line(values.get("title"), "title"), facts)
    except _BadLine as error:
        return f"line {number}: {error}"


def _line(value: Any, name: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, float):  # 1.10 would become 1.1, and 1e999 "inf"
        raise _BadLine(f"the {name} is a number that is not whole or too large: put it in quotes")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _BadLine(f"the {name} must be text")
    if len(value) > LINE_CHARACTERS:
        raise _BadLine(f"the {name} has {len(value):,} characters; at most {LINE_CHARACTERS:,} are kept")
    problem = text_problem(value)
    if problem is not None:
        raise _BadLine(f"the {name} is not UTF-8" if _NOT_UTF8.search(value) else f"the {name} contains {problem}")
    if name == "address":
        if _CONTROL.search(value.strip()):
            raise _BadLine("the address has control characters")
        return value.strip()
    return clean_line(value)


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    parts = value.replace(";", ",").split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise _BadLine("the tags must be text separated by commas, or a list of texts")
    tags = tuple(dict.fromkeys(filter(None, (_line(part, "tag") for part in islice(parts, MOST_TAGS + 1)))))
    if len(tags) > MOST_TAGS:
        raise _BadLine(f"it has more than {MOST_TAGS} tags")
    return tags
