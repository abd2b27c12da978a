"""The facts that people see and change, one field each: its name for people, how it is written and how it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.ingest import web_host
from heaters_dagster.domain.source_facts import (
    LINE_CHARACTERS,
    MOST_CHAPTERS,
    MOST_TAGS,
    TEXT_CHARACTERS,
    Chapter,
    SourceFacts,
    clean_line,
    clean_text,
    value_of_json,
)
from heaters_dagster.domain.subtitles import NO_LANGUAGE
from heaters_dagster.domain.timecode import read_timecode, timecode, timeline_rate

#: Chapters and frames are written with rounded times.
_ROUNDING_SECONDS = 0.01
#: Whether a timecode can be is known with its rate; here the frames may be those of any.
_HIGHEST_RATE = Fraction(120)
_DROP_FRAME = re.compile(r"[;.]\d+$")
_CHAPTER = re.compile(r"\s*(?:(\d{1,4}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,6})?)\s+(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactField:
    """One fact. name: in SourceFacts. label: for people. help: what it is. is_long: it has several lines.

    read: a text that a person wrote -> the value, None when it is empty. Raises BadRequestError. written: the value as that text.
    """

    name: str
    label: str
    help: str
    read: Callable[[str], Any]
    written: Callable[[Any], str] = str
    is_long: bool = False

    def text(self, facts: SourceFacts) -> str:
        """The value as a person would write it; empty when it is not known."""
        value = getattr(facts, self.name)
        return "" if value is None or value == () else self.written(value)


def _line(label: str, text: str) -> str | None:
    if len(text) > LINE_CHARACTERS:
        raise BadRequestError(f"{label}: at most {LINE_CHARACTERS:,} characters, not {len(text):,}")
    return clean_line(text)


def _long_text(text: str) -> str | None:
    if len(text) > TEXT_CHARACTERS:
        raise BadRequestError(f"a description has at most {TEXT_CHARACTERS:,} characters, not {len(text):,}")
    return clean_text(text)


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BadRequestError(f"{text.strip()[:40]!r} is no day: write it as 2024-05-31") from None


def _moment(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequestError(f"{text.strip()[:40]!r} is no time: write it as 2024-05-31 14:30, or 2024-05-31T14:30+02:00") from None


def _timecode(text: str) -> str | None:
    """As it is written, once it can be a timecode at some rate."""
    line = _line("start timecode", text)
    if line is None:
        return None
    written = timecode(read_timecode(line, _HIGHEST_RATE, drop_frame=False).frame, _HIGHEST_RATE)
    return ";".join(written.rsplit(":", 1)) if _DROP_FRAME.search(line) else written


def _timecode_rate(text: str) -> str | None:
    if not text.strip():
        return None
    try:
        rate = timeline_rate(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise BadRequestError(f"{text.strip()[:40]!r} is no frame rate: write it as 25, 29.97 or 30000/1001") from None
    if not 1 <= rate <= 1000:
        raise BadRequestError(f"a timecode rate is from 1 to 1,000 frames a second, not {text.strip()[:40]}")
    return str(rate)


def _address(text: str) -> str | None:
    line = _line("page address", text)
    if line is not None and (not line.lower().startswith(("http://", "https://")) or not web_host(line)):
        raise BadRequestError(f"{line[:80]!r} is no web address: it begins with https:// or http://")
    return line


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(filter(None, map(clean_line, re.split(r"[\n,]", text)))))
    if len(tags) > MOST_TAGS:
        raise BadRequestError(f"a source video has at most {MOST_TAGS} tags, not {len(tags)}")
    if any(len(tag) >= LINE_CHARACTERS for tag in tags):
        raise BadRequestError(f"a tag has less than {LINE_CHARACTERS:,} characters")
    return tags


def _chapters(text: str) -> tuple[Chapter, ...]:
    found: list[Chapter] = []
    for row in filter(str.strip, text.splitlines()):
        parts = _CHAPTER.match(row)
        title = clean_line(parts.group(4)) if parts else None
        if parts is None or title is None:
            raise BadRequestError(f"{row.strip()[:60]!r} is no chapter: write its start and its title, as 1:02:03 The harbour")
        hours, minutes, seconds = (float(part or 0) for part in parts.groups()[:3])
        found.append(Chapter(title, hours * 3600 + minutes * 60 + seconds))
    if len(found) > MOST_CHAPTERS:
        raise BadRequestError(f"a source video has at most {MOST_CHAPTERS:,} chapters, not {len(found):,}")
    return tuple(sorted(found, key=lambda one: one.start_seconds))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{math.floor(rest * 1000) / 1000:06.3f}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def chapter_line(chapter: Chapter) -> str:
    """`1:02:03 The harbour`."""
    return f"{_clock(chapter.start_seconds)} {chapter.title}".strip()


def _field(name: str, label: str, told: str, read: Callable[[str], Any] | None = None, **more: Any) -> FactField:
    return FactField(name=name, label=label, help=told, read=read or (lambda text: _line(label, text)), **more)


#: In the order in which they are shown.
FACT_FIELDS: tuple[FactField, ...] = (
    _field("rights", "Rights", "What may be done with the video, in your words."),
    _field("licence", "Licence", "The licence, in the site's words."),
    _field("external_id", "Own id", "The name of the video in your own archive."),
    _field("site", "Site", "Short name of the site."),
    _field("site_id", "Id at the site", "What the site calls the video."),
    _field("uploader", "Uploader", "Who published it there."),
    _field("uploaded_on", "Uploaded on", "The day, as 2024-05-31.", _day, written=date.isoformat),
    _field("page_address", "Page", "Address of its page.", _address),
    _field("tags", "Tags", "Tags, separated by commas.", _tags, written=", ".join),
    _field("camera", "Camera", "Maker and model."),
    _field(
        "recorded_at", "Recorded", "When it was recorded, as 2024-05-31 14:30; without a zone it is UTC.", _moment,
        written=lambda moment: moment.astimezone(UTC).isoformat(" ", "seconds"),
    ),
    _field("reel", "Reel", "Name of the tape, card or reel."),
    _field("start_timecode", "Start timecode", "Of the first frame, as 10:00:00:00; with ; before the frames it is drop-frame.", _timecode),
    _field("timecode_rate", "Timecode rate", "At which it counts, as 25 or 29.97; empty: at that of the picture.", _timecode_rate),
    _field("place", "Place", "Where it was filmed; only with HEATERS_KEEP_PLACES."),
    _field(
        "chapters", "Chapters", "One a line: start and title, as 1:02:03 The harbour.", _chapters,
        written=lambda chapters: "\n".join(map(chapter_line, chapters)), is_long=True,
    ),
    _field("description", "Description", "As the site says it, or in your words.", _long_text, is_long=True),
)  # fmt: skip
FIELD_OF: Mapping[str, FactField] = {one.name: one for one in FACT_FIELDS}


def changes_of(texts: Mapping[str, str], *, keep_places: bool) -> dict[str, Any]:
    """Name -> value from name -> what a person wrote; an empty text means that it is not known any more.

    Raises BadRequestError, also for a place when places are not kept.
    """
    if texts.get("place", "").strip() and not keep_places:
        raise BadRequestError("where a video was filmed is not kept here: HEATERS_KEEP_PLACES=true keeps it")
    return {name: FIELD_OF[name].read(text) for name, text in texts.items()}


#: The facts that go along with clips: into cut lists and manifests.
DELIVERED = (
    "rights", "licence", "external_id", "site", "site_id", "uploader", "uploaded_on", "page_address", "tags", "camera",
    "recorded_at", "reel", "start_timecode", "timecode_rate", "place", "description",
)  # fmt: skip


def delivered(facts: SourceFacts) -> dict[str, str]:
    """Name -> text of those of DELIVERED that are known."""
    return {name: text for name in DELIVERED if (text := FIELD_OF[name].text(facts))}


def chapter_at(chapters: Sequence[Chapter], seconds: float) -> str | None:
    """Title of the chapter at this time: the one that began last, unless it has ended. None when there is none."""
    begun = [one for one in chapters if one.start_seconds <= seconds + _ROUNDING_SECONDS]
    last = max(begun, key=lambda one: one.start_seconds, default=None)
    if last is None or (last.end_seconds is not None and seconds + _ROUNDING_SECONDS >= last.end_seconds):
        return None
    return last.title or None


#: A change of subtitles is a change of the fact of this name and the language, "subtitles:en". Its value: the subtitles as a list of
#: {id, called, lines}.
SUBTITLES = "subtitles:"
THUMBNAIL = "thumbnail_filepath"


def subtitles_name(language: str | None) -> str:
    """Name of the fact of all subtitles in a language; None: in one that is not said."""
    return f"{SUBTITLES}{(language or NO_LANGUAGE).lower()}"


def change_words(values: Mapping[str, Any]) -> str:
    """`licence: CC BY; tags: sea, night`. values: name -> value as JSON, as in the ledger."""
    told = []
    for name, value in values.items():
        if (field := FIELD_OF.get(name)) is not None:
            known = value_of_json(name, value)
            told.append(f"{field.label.lower()}: {_short('' if known in (None, ()) else field.written(known))}")
        elif name.startswith(SUBTITLES):
            told.append(f"{fact_words(name)}: {_short(', '.join(one['called'] for one in value))}")
        elif name == THUMBNAIL:
            told.append(f"thumbnail: {_short(value.rpartition('/')[2] if value else '')}")
    return "; ".join(told)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 60 else f"{line[:57]}...") or "nothing"


def fact_words(name: str) -> str:
    """What people call a fact within a sentence."""
    if name.startswith(SUBTITLES):
        language = name.removeprefix(SUBTITLES)
        return f"subtitles in {language if language != NO_LANGUAGE else 'a language that is not said'}"
    if name == THUMBNAIL:
        return "thumbnail"
    field = FIELD_OF.get(name)
    return field.label[:1].lower() + field.label[1:] if field is not None else name.replace("_", " ")
