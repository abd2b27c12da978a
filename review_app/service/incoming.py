"""Parses everything that a browser sends, and is the only place that does: addresses, queries, JSON bodies and the values in them.

What makes no sense is refused in words (BadRequestError, status 400) before anybody works with it: text that is no text, JSON that is no
JSON or is nested without end, numbers that no column holds, values of another kind than asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Scope

from heaters_dagster.domain.cut_kinds import GIVEN_KINDS, CutKind, Transition
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.plain_text import checked_text, text_problem

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_PARAMETERS = 200
MAX_SELECTED = 500
MAX_HELD = 1000
MAX_ID = 2**63 - 1

_WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)
_ROW_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_DIGITS_OF_INT64 = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_address(scope: Scope) -> dict[str, list[str]]:
    """The query of a request's address, {name: values}. Raises BadRequestError when its path or its query is no text.

    Servers decode a path in a forgiving way, so it is the bytes that were sent that are looked at.
    """
    raw_path = scope.get("raw_path") or str(scope.get("path", "")).encode("utf-8", "surrogatepass")
    try:
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise BadRequestError("the path of the address is not UTF-8") from None
    if _CONTROL.search(path):
        raise BadRequestError("the path of the address has control characters")
    try:
        pairs = parse_qsl(scope.get("query_string", b"").decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise BadRequestError("the query of the address is not UTF-8") from None
    except ValueError:
        raise BadRequestError(f"the query of the address has more than {MAX_PARAMETERS} parts") from None
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        if text_problem(name) is not None:
            raise BadRequestError("a name in the query of the address is no text")
        query.setdefault(name, []).append(checked_text(value, f"{name[:40]} in the address"))
    return query


def whole(query: Mapping[str, list[str]], name: str, default: int | None = None) -> int:
    """The whole number that a query names, from 0 to twelve digits; the last one where it is there more than once."""
    values = query.get(name)
    if not values and default is not None:
        return default
    text = values[-1] if values else None
    if text is None or not _WHOLE.fullmatch(text):
        raise BadRequestError(f"{name} must be a whole number, not {str(text)[:40]!r}")
    return int(text)


def row_id_of_path(text: str) -> int | None:
    """The id that a part of a path names, None when it is none that a row could have."""
    return int(text) if _ROW_ID.fullmatch(text) else None


def declared_bytes(header: str | None, name: str = "Content-Length") -> int | None:
    """The number that a header of this name declares, None without one."""
    if header is None:
        return None
    if not _ROW_ID.fullmatch(header):
        raise BadRequestError(f"{name} must be a whole number, not {header[:40]!r}")
    return int(header)


def json_object(data: bytes) -> dict[str, Any]:
    """A message as a JSON object: UTF-8, at most MAX_DEPTH deep, every text storable, every number finite and within 64 bits."""
    try:
        body = json.loads(data.decode(), parse_constant=_no_number, parse_float=_finite, parse_int=_within_64_bits)
    except BadRequestError:
        raise
    except RecursionError:
        raise BadRequestError(f"the message is nested more than {MAX_DEPTH} deep") from None
    except ValueError:
        raise BadRequestError("the message is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise BadRequestError("the message must be a JSON object")
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _parts(value)]
        if not level:
            return body
    raise BadRequestError(f"the message is nested more than {MAX_DEPTH} deep")


def number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequestError(f"{name} must be a whole number")
    return value


def numbers(body: Mapping[str, Any], name: str, *, most: int = MAX_SELECTED, least: int = 1) -> list[int]:
    values = body.get(name)
    if not isinstance(values, list) or not least <= len(values) <= most:
        raise BadRequestError(f"{name} must be a list of {least} to {most} clip ids")
    return [number({name: value}, name) for value in values]


def words(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequestError(f"{name} must be text")
    return value


def transition(body: Mapping[str, Any]) -> Transition:
    """What a cut is: `kind`, and `first_frame` and `last_frame` of its transition, null or left out for a cut without one."""
    kind = words(body, "kind")
    if kind not in GIVEN_KINDS:
        raise BadRequestError(f"kind={kind[:40]!r} is not one of: {', '.join(GIVEN_KINDS)}")
    frames = (None if body.get(name) is None else number(body, name) for name in ("first_frame", "last_frame"))
    return Transition(CutKind(kind), *frames)


def versions(body: Mapping[str, Any], name: str) -> dict[int, int]:
    """{clip id: version that was seen}; clips whose version is not known are left out. A message need not have it."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError(f"{name} must be an object of clip id and version")
    known = {}
    for text, version in value.items():
        clip_id = row_id_of_path(text)
        if clip_id is None:
            raise BadRequestError(f"{name} must be an object of clip id and version, and {text[:40]!r} is no clip id")
        if version is not None:
            known[clip_id] = number({name: version}, name)
    return known


def _parts(value: object) -> list[Any]:
    """All parts of a JSON value; checks all texts in it, as names and as values."""
    if isinstance(value, str):
        checked_text(value, "the message")
    elif isinstance(value, dict):
        for name in value:
            checked_text(name, "the message")
        return list(value.values())
    elif isinstance(value, list):
        return value
    return []


def _no_number(text: str) -> NoReturn:
    raise BadRequestError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRequestError(f"the number {text[:40]} is too large")
    return value


def _within_64_bits(text: str) -> int:
    if len(text) <= _DIGITS_OF_INT64 and -MAX_ID <= int(text) <= MAX_ID:
        return int(text)
    raise BadRequestError(f"the number {text[:40]} is too large")
