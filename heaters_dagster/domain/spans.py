"""Spans of time as people type them: `90`, `1:30`, `20m`, `6h`, `1d`."""

from __future__ import annotations

import re

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.progress import duration

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_WITH_UNIT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]*)", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2}(?:\.\d{1,3})?)", re.ASCII)
_LONGEST_SECONDS = 100 * 366 * 86_400.0


def span_seconds(text: str) -> float:
    """Seconds of a span of time; a plain number is seconds. Raises BadRequestError, which says how it is written."""
    written = text.strip().casefold()
    if found := _CLOCK.fullmatch(written):
        hours, minutes, seconds = found.groups()
        return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)
    found = _WITH_UNIT.fullmatch(written)
    unit = _UNITS.get(found[2] or "s") if found else None
    if found is None or unit is None or float(found[1]) * unit > _LONGEST_SECONDS:
        raise BadRequestError(f"{text[:40]!r} is no span of time: write it as 90, 1:30, 20m, 6h, 1d or 2w")
    return float(found[1]) * unit


def span_words(seconds: float) -> str:
    """`20 s`, `3 min`, `2 h 5 min`, `1 day`, `2 weeks`: whole days and weeks are called so."""
    for unit, name in ((7 * 86_400, "week"), (86_400, "day")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return duration(seconds).removesuffix(" 0 min")
