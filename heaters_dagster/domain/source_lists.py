"""Lists of videos: playlists, channels, series, feeds, pages with several videos; what is taken from one, and how its items are addressed.

A site decides what a list holds, so nothing in it is trusted: see `resources/sources/web_list.py`, which makes the members.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any
from urllib.parse import quote, unquote

from heaters_dagster.domain.errors import BadRequestError, SiteRefusesError
from heaters_dagster.domain.progress import duration
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.words import counted

#: Members that are read of one list at most: a generated list may never end.
MOST_MEMBERS = 10_000
#: After this mark an address names one video of its page. Browsers and servers never see it: a fragment is not sent. No `=`: what looks
#: like a name with a long value would be hidden in messages.
_ITEM_MARK = "#heaters-item:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One video of a list, as the site lists it.

    source: the web address by which it is fetched; see `item_address`. title: one line; None when the list gives none.
    duration_seconds, uploaded_on: None when the list does not say; some sites round them. site, site_id: how the site names the video;
    None when only the address does.
    """

    source: str
    title: str | None = None
    duration_seconds: float | None = None
    uploaded_on: date | None = None
    site: str | None = None
    site_id: str | None = None

    @property
    def key(self) -> str:
        """What stays the same when the list is read again."""
        return f"{self.site} {self.site_id}" if self.site and self.site_id else self.source

    @property
    def facts(self) -> SourceFacts:
        """What is kept of it when it is submitted. The rest is told, with more care, when it is fetched."""
        return SourceFacts(site=self.site, site_id=self.site_id) if self.site and self.site_id else SourceFacts()


@dataclass(frozen=True, slots=True)
class WebList:
    """address: as it was given. members: in the order of the list, none twice. problems: sentences about members that cannot be taken, and
    about a list that could not be read to its end. is_whole: False when it was read only until there were as many as wanted. refusal: of
    the site, which ended the reading.
    """

    address: str
    title: str
    members: tuple[Member, ...]
    problems: tuple[str, ...] = ()
    is_whole: bool = True
    refusal: SiteRefusesError | None = None


def item_address(page: str, item: str) -> str:
    """The address of one video of a page that gives it no address of its own. item: what tells it from the others on the page."""
    return f"{page_and_item(page)[0]}{_ITEM_MARK}{quote(item, safe='/')}"


def page_and_item(address: str) -> tuple[str, str | None]:
    """(address of the page, the item on it or None) of an address that may come from `item_address`."""
    page, mark, item = address.partition(_ITEM_MARK)
    return page, unquote(item) if mark else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Which members are taken. most: so many from the top, of those that the other limits let in. since, until: by the day of publication,
    both included. shortest_seconds, longest_seconds: both included. title: part of the title, in any case. not_title: not part of it.
    unknown: also take those of which the list does not say the date or length that a limit is about.
    """

    most: int | None = None
    since: date | None = None
    until: date | None = None
    shortest_seconds: float | None = None
    longest_seconds: float | None = None
    title: str | None = None
    not_title: str | None = None
    unknown: bool = False

    def checked(self) -> Limits:
        """Raises BadRequestError when no video can be within them."""
        if self.most is not None and self.most < 1:
            raise BadRequestError("the number of videos to take must be 1 or more")
        if self.since and self.until and self.since > self.until:
            raise BadRequestError(f"no day is since {self.since} and until {self.until}: the first must not be later")
        shortest, longest = self.shortest_seconds or 0.0, self.longest_seconds
        if shortest < 0 or (longest is not None and longest < shortest):
            raise BadRequestError(f"no length is at least {duration(shortest)} and at most {duration(longest or 0)}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Those that limit something, for a row."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return {name: str(value) if isinstance(value, date) else value for name, value in values.items() if value not in (None, "", False)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Limits:
        days = {name: date.fromisoformat(values[name]) for name in ("since", "until") if values.get(name)}
        return cls(**{**values, **days})

    @property
    def words(self) -> str:
        """`the first 10, since 2026-01-31, at least 20 s`; empty when nothing is limited."""
        told = [
            self.most and f"the first {self.most:,}",
            self.since and f"since {self.since}",
            self.until and f"until {self.until}",
            self.shortest_seconds and f"at least {duration(self.shortest_seconds)}",
            self.longest_seconds is not None and f"at most {duration(self.longest_seconds)}",
            self.title and f"with {self.title!r} in the title",
            self.not_title and f"without {self.not_title!r} in the title",
            self.unknown and "also of unknown date or length",
        ]
        return ", ".join(str(one) for one in told if one)


@dataclass(frozen=True, slots=True)
class Choice:
    """taken: the members within the limits, in the order of the list. left_out: reason in words -> how many."""

    taken: tuple[Member, ...]
    left_out: Mapping[str, int]

    @property
    def left_out_words(self) -> str:
        """`3 are too short, 1 has no date in the list`; empty when none is left out."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())


def chosen(members: Sequence[Member], limits: Limits) -> Choice:
    """The members that these limits let in."""
    taken: list[Member] = []
    left_out: Counter[str] = Counter()
    for member in members:
        reason = _reason_against(member, limits)
        if reason is None and limits.most is not None and len(taken) >= limits.most:
            reason = f"after the first {limits.most:,}"
        if reason is None:
            taken.append(member)
        else:
            left_out[reason] += 1
    return Choice(tuple(taken), left_out)


def lets_in(limits: Limits, member: Member) -> bool:
    """Without regard to its place in the list."""
    return _reason_against(member, limits) is None


def _reason_against(member: Member, limits: Limits) -> str | None:
    """Why a limit keeps it out, without regard to its place in the list."""
    title, day, seconds = (member.title or "").casefold(), member.uploaded_on, member.duration_seconds
    if limits.title and limits.title.casefold() not in title:
        return f"without {limits.title!r} in the title"
    if limits.not_title and limits.not_title.casefold() in title:
        return f"with {limits.not_title!r} in the title"
    if limits.since or limits.until:
        if day is None:
            if not limits.unknown:
                return "without a date in the list"
        elif limits.since and day < limits.since:
            return f"from before {limits.since}"
        elif limits.until and day > limits.until:
            return f"from after {limits.until}"
    if limits.shortest_seconds or limits.longest_seconds is not None:
        if seconds is None:
            return None if limits.unknown else "without a length in the list"
        if seconds < (limits.shortest_seconds or 0):
            return "too short"
        if limits.longest_seconds is not None and seconds > limits.longest_seconds:
            return "too long"
    return None


def length_words(members: Iterable[Member]) -> str:
    """`3 h 10 min in all`, `at least 3 h 10 min in all, the length of 2 is not known`."""
    lengths = [member.duration_seconds for member in members]
    known = [seconds for seconds in lengths if seconds is not None]
    unknown = len(lengths) - len(known)
    if not known:
        return "of unknown length"
    total = duration(sum(known))
    return f"at least {total} in all, the length of {unknown:,} is not known" if unknown else f"{total} in all"


def count_words(members: Sequence[Member]) -> str:
    """`12 videos, 3 h 10 min in all`."""
    return f"{counted(len(members), 'video')}, {length_words(members)}"
