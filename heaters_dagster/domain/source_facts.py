"""What belongs to a source video beside its pictures: where it comes from, who made it, what may be done with it.

Four origins may say the same thing differently. A person is believed first, then the list or command with which the video was submitted,
then the site, then the file itself: see `Origin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.timecode import SourceTime, common_rate, read_timecode

#: Longest text of one line, and of several lines. A site may send anything.
LINE_CHARACTERS = 1_000
TEXT_CHARACTERS = 100_000
MOST_TAGS = 500
MOST_CHAPTERS = 10_000

_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


class Origin(StrEnum):
    """Who said a fact; who stands first is believed."""

    PERSON = "person"
    SUBMISSION = "submission"
    SITE = "site"
    FILE = "file"

    @property
    def rank(self) -> int:
        """0 for the one who is believed before all others."""
        return list(Origin).index(self)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a source video with a name. end_seconds: None when nobody says where it ends. Times as the site or container says them."""

    title: str
    start_seconds: float
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known; None or empty: nobody said it.

    site: short name of a site ("Youtube"); site_id: the site's own name of the video. licence: in the site's words. rights: what may be
    done with the video, in the submitter's words. external_id: the name of the video in the submitter's own archive.
    thumbnail_filepath: object key. camera: maker and model. container_tags: of the file, name -> value.
    quality: what a site offered, what was taken, and why. start_timecode: of frame 0, as "10:00:00:00", with ; for drop-frame timecode.
    timecode_rate: at which it counts, frames per second, as "25" or "30000/1001"; None: at that of the picture. reel: of the tape or card.
    """

    site: str | None = None
    site_id: str | None = None
    uploader: str | None = None
    uploaded_on: date | None = None
    page_address: str | None = None
    licence: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    rights: str | None = None
    external_id: str | None = None
    thumbnail_filepath: str | None = None
    camera: str | None = None
    recorded_at: datetime | None = None
    place: str | None = None
    container_tags: Mapping[str, str] | None = None
    quality: Mapping[str, Any] | None = None
    start_timecode: str | None = None
    timecode_rate: str | None = None
    reel: str | None = None

    def said(self) -> dict[str, Any]:
        """Name -> value of the facts that are known."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value not in ((), {})}

    def only(self, names: Iterable[str]) -> SourceFacts:
        """These facts, and no others."""
        return SourceFacts(**{name: getattr(self, name) for name in names})

    def source_time(self, frame_rate: Fraction | None) -> SourceTime | None:
        """The timecode of the source video; None when nobody said one. frame_rate: of the picture; None when it is not known yet.

        Raises BadRequestError for a timecode that there is not at its rate: somebody wrote it before the rate was known.
        """
        rate = Fraction(self.timecode_rate) if self.timecode_rate is not None else frame_rate and common_rate(frame_rate)
        if self.start_timecode is None or not rate:
            return None
        read = read_timecode(self.start_timecode, rate, mend=True)
        return SourceTime.from_count(read.frame, rate, drop_frame=read.drop_frame, reel=self.reel)

    def usable_source_time(self, frame_rate: Fraction | None) -> SourceTime | None:
        """The same, and None for a timecode that there is not at its rate."""
        try:
            return self.source_time(frame_rate)
        except BadRequestError:
            return None

    def with_usable_timecode(self, frame_rate: Fraction | None) -> SourceFacts:
        """The same with the start timecode as it counts, where its rate is known: a number that is left out is the next one."""
        time = self.usable_source_time(frame_rate)
        return self if time is None else replace(self, start_timecode=time.start)

    def filled_with(self, other: SourceFacts) -> SourceFacts:
        """These facts, and of `other` those that are not known here."""
        return SourceFacts(**{**other.said(), **self.said()})

    def cleaned(self) -> SourceFacts:
        """The same without control characters, and none longer than what is kept. Call it on everything that a stranger wrote."""
        lines = (
            "site",
            "site_id",
            "uploader",
            "page_address",
            "licence",
            "rights",
            "external_id",
            "camera",
            "place",
            "start_timecode",
            "timecode_rate",
            "reel",
        )
        values: dict[str, Any] = {name: clean_line(getattr(self, name)) for name in lines}
        values["description"] = clean_text(self.description)
        values["tags"] = tuple(dict.fromkeys(filter(None, map(clean_line, self.tags[:MOST_TAGS]))))
        values["chapters"] = tuple(replace(one, title=clean_line(one.title) or "") for one in self.chapters[:MOST_CHAPTERS])
        if self.container_tags is not None:
            named = ((clean_line(name), clean_line(value)) for name, value in list(self.container_tags.items())[:MOST_TAGS])
            values["container_tags"] = {name: value for name, value in named if name and value}
        return replace(self, **values)


def json_of_value(value: Any) -> Any:
    """A fact as JSON."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, tuple):
        return [asdict(one) if isinstance(one, Chapter) else one for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def value_of_json(name: str, value: Any) -> Any:
    """The fact of this name that `json_of_value` wrote."""
    match name:
        case "tags":
            return tuple(value or ())
        case "chapters":
            return tuple(Chapter(**one) for one in value or ())
        case "uploaded_on" if value is not None:
            return date.fromisoformat(value)
        case "recorded_at" if value is not None:
            return datetime.fromisoformat(value)
    return value


def clean_line(text: str | None) -> str | None:
    """One line of at most LINE_CHARACTERS without control and direction-changing characters; None when nothing is left."""
    return None if text is None else " ".join(_INVISIBLE.sub(" ", text).split())[:LINE_CHARACTERS].strip() or None


def clean_text(text: str | None) -> str | None:
    """The same for several lines, of at most TEXT_CHARACTERS."""
    return None if text is None else _INVISIBLE.sub(" ", text.replace("\r\n", "\n")).strip()[:TEXT_CHARACTERS].strip() or None
