"""One measured line, and lines as a table that people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    name: what was measured. value, unit: the figure. target: what it is held to, as "<= 1.3", empty when nothing was promised.
    ok: whether it is met, None when nothing was promised. note: with what, and how far to trust it.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    ok: bool | None = None
    note: str = ""


def at_most(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """A figure that must not be above `limit`."""
    return Row(name, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """A figure that must not be below `limit`."""
    return Row(name, value, unit, f">= {limit:g}", value >= limit, note)


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | figure | promised | met | how |", "| --- | ---: | --- | --- | --- |"]
    lines += [f"| {row.name} | {_figure(row)} | {row.target} | {_MET[row.ok]} | {row.note} |" for row in rows]
    return "\n".join(lines)


_MET = {None: "", True: "yes", False: "**no**"}


def _figure(row: Row) -> str:
    digits = 0 if abs(row.value) >= 1000 else 3 if abs(row.value) < 1 else 2
    return f"{row.value:,.{digits}f} {row.unit}".strip()
