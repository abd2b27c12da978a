"""Reasons as people read them: without printed objects of a library, and with the title of the source video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: Where a printed object begins: `<urllib3.X object at 0x7f...>: `, `HTTPConnectionPool(host='a', port=1): `, `NewConnectionError('`.
_OBJECT = re.compile(
    r"""<[^<>]*\bobject\ at\ 0x[0-9a-fA-F]+>:?\s* | \b_?[A-Z]\w*\(host=[^()]*\):?\s* | \b_?[A-Z]\w*\(\\*['"]
    | Max\ retries\ exceeded\ with\ url:\ \S*\s*""",
    re.VERBOSE,
)
_END = re.compile(r"""\\*['"]\).*""", re.DOTALL)


def without_objects(text: str) -> str:
    """A library's message without its Python objects: the text before them, and the text of the innermost one."""
    places = list(_OBJECT.finditer(text))
    if not places:
        return text
    before = text[: places[0].start()].rstrip(" (:'\",")
    said = _END.sub("", text[places[-1].end() :].strip()).strip()
    return ": ".join(part.removeprefix("('").rstrip("',.") for part in (before, said) if part)


def shared_reasons(reasons: Mapping[int, Iterable[str | None]]) -> dict[str, set[int]]:
    """What is the reason of several clips -> their ids: it is said once, above their list. reasons: of each clip by its id."""
    found: dict[str, set[int]] = {}
    for clip_id, those in reasons.items():
        for reason in filter(None, those):
            found.setdefault(reason, set()).add(clip_id)
    return {reason: ids for reason, ids in found.items() if len(ids) > 1}


def titled(title: str, reason: str) -> str:
    """`reason` with the video's title in front of it, unless it names it already."""
    named = re.search(rf"(?<!\w){re.escape(title)}(?!\w)", reason, re.IGNORECASE)
    return reason if named else f"{title}: {reason}"
