"""The review queue as values: which clips in which order, read from and written to the query part of a page's address.

A view is shared by its address, so parsing is strict: a parameter that cannot be used gives an error and is never ignored.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.states import ClipState

MAX_TEXT = 200
MAX_ID = 2**63 - 1
_HOUR = timedelta(hours=1)
_SHORTEST_SPAN = timedelta(minutes=5)


class QueueOrder(StrEnum):
    """CREATED: first made, first shown. SOURCE_VIDEO: video after video, from its beginning. CONFIDENCE: least sure boundaries first.

    KIND: by the kind of the cut where the clip begins, in alphabetical order, those of which nobody knows it last.
    """

    CREATED = "created"
    SOURCE_VIDEO = "source_video"
    CONFIDENCE = "confidence"
    KIND = "kind"


#: In place of a kind: nobody knows the kind of the cut.
NO_KIND = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFilter:
    """Which live clips a queue or a list shows.

    source_video_ids: none means all. states: at least one. min_confidence, max_confidence: 0..1, inclusive; a clip without confidence
    matches only when neither is set. text: words that must all be in the source video's title, address, facts or subtitles, in any case;
    `14 of Harbour` also finds that clip, and with source_video_ids a number alone finds the clips with that number. kinds: of the cut where
    the clip begins, values of CutKind, and NO_KIND; none means all.
    """

    source_video_ids: tuple[int, ...] = ()
    states: tuple[ClipState, ...] = (ClipState.PENDING_REVIEW,)
    min_confidence: float | None = None
    max_confidence: float | None = None
    text: str = ""
    kinds: tuple[str, ...] = ()
    order: QueueOrder = QueueOrder.SOURCE_VIDEO

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """Where a page of a list ended; the next page begins after it. The members are the values of the last clip shown."""

    clip_id: int
    source_video_id: int
    start_frame: int
    confidence: float | None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProgress:
    """done: decided clips of the filter's videos. left: those still pending. per_hour: clips decided recently, extrapolated to an hour."""

    done: int
    left: int
    per_hour: float
    by_state: Mapping[ClipState, int] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """0..1; a queue without clips is done."""
        return self.done / (self.done + self.left) if self.done + self.left else 1.0

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None when nothing was decided recently."""
        return self.left / self.per_hour * 3600 if self.per_hour else None


def filter_of_query(query: Mapping[str, str | Sequence[str]]) -> QueueFilter:
    """Read a filter from query parameters: `video`, `state`, `kind` (repeatable, or separated by commas), `min_confidence`,
    `max_confidence`, `text`, `order`. `state=any` means every state. Other parameters belong to the page and are ignored.

    Raises BadRequestError naming the parameter and what it may be.
    """
    states = _values(query, "state")
    low, high = _fraction(query, "min_confidence"), _fraction(query, "max_confidence")
    if low is not None and high is not None and low > high:
        raise BadRequestError(f"min_confidence={low:g} is above max_confidence={high:g}: no clip can match")
    order = _last(query, "order") or QueueFilter().order
    if order not in list(QueueOrder):
        raise BadRequestError(f"order={order!r} is not one of: {', '.join(QueueOrder)}")
    text = " ".join((_last(query, "text") or "").split())
    if len(text) > MAX_TEXT:
        raise BadRequestError(f"text may have up to {MAX_TEXT} characters, not {len(text)}")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise BadRequestError(f"text={text[:40]!r} contains control characters")
    return QueueFilter(
        source_video_ids=tuple(sorted({_id("video", value) for value in _values(query, "video")})),
        states=tuple(ClipState) if states == ["any"] else tuple(dict.fromkeys(map(_state, states))) or QueueFilter().states,
        min_confidence=low,
        max_confidence=high,
        text=text,
        kinds=tuple(dict.fromkeys(map(_kind, _values(query, "kind")))),
        order=QueueOrder(order),
    )


def query_of_filter(chosen: QueueFilter) -> dict[str, str]:
    """The query parameters of `chosen`, without those that have their default value; `filter_of_query` reads them back."""
    default = QueueFilter()
    query = {
        "video": ",".join(map(str, chosen.source_video_ids)),
        "state": "" if chosen.states == default.states else "any" if set(chosen.states) == set(ClipState) else ",".join(chosen.states),
        "min_confidence": "" if chosen.min_confidence is None else repr(chosen.min_confidence),
        "max_confidence": "" if chosen.max_confidence is None else repr(chosen.max_confidence),
        "text": chosen.text,
        "kind": ",".join(chosen.kinds),
        "order": "" if chosen.order == default.order else str(chosen.order),
    }
    return {name: value for name, value in query.items() if value}


def decisions_per_hour(decided_at: Iterable[tuple[datetime, int]], now: datetime) -> float:
    """How many clips are decided per hour, from (when, how many clips) of the last hour.

    The time span begins at the first of them and is at least five minutes: a reviewer who has just begun sees neither zero nor thousands.
    """
    recent = [(at, clips) for at, clips in decided_at if timedelta(0) <= now - at <= _HOUR]
    if not recent:
        return 0.0
    span = max(now - min(at for at, _ in recent), _SHORTEST_SPAN)
    return sum(clips for _, clips in recent) * (_HOUR / span)


def _values(query: Mapping[str, str | Sequence[str]], name: str) -> list[str]:
    given = query.get(name, ())
    parts = [given] if isinstance(given, str) else given
    return [value.strip() for part in parts for value in part.split(",") if value.strip()]


def _last(query: Mapping[str, str | Sequence[str]], name: str) -> str | None:
    given = query.get(name)
    if given is None or isinstance(given, str):
        return given
    return given[-1] if given else None


def _id(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= MAX_ID):
        raise BadRequestError(f"{name}={text[:40]!r} is not the number of a source video")
    return int(text)


def _state(text: str) -> ClipState:
    try:
        return ClipState(text)
    except ValueError:
        raise BadRequestError(f"state={text[:40]!r} is not one of: any, {', '.join(ClipState)}") from None


def _kind(text: str) -> str:
    if text not in {*CutKind, NO_KIND}:
        raise BadRequestError(f"kind={text[:40]!r} is not one of: {', '.join([*CutKind, NO_KIND])}")
    return text


def _fraction(query: Mapping[str, str | Sequence[str]], name: str) -> float | None:
    text = (_last(query, name) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadRequestError(f"{name}={text[:40]!r} is not a number from 0 to 1")
    return value
