"""Subtitles as lines with times. WebVTT, SubRip and SubStation Alpha are read here, with whatever a stranger wrote into them."""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from heaters_dagster.domain.ingest import is_video_name
from heaters_dagster.domain.places import holds_a_position
from heaters_dagster.domain.source_facts import LINE_CHARACTERS, clean_line

#: Kinds of transcripts: written by people; made by a site's machine.
SUBTITLE = "subtitle"
AUTOMATIC = "automatic"
#: What people write, and facts are called by, for a language that nobody has said, as in ISO 639.
NO_LANGUAGE = "und"
#: Origin of subtitles that a person gave.
PERSON = "person"
#: Subtitle files that can be read; how many of one video, and how large.
SUFFIXES = (".ass", ".srt", ".ssa", ".vtt")
MOST_FILES = 30
MOST_BYTES = 10 << 20

MOST_LINES = 50_000
#: A cell of a spreadsheet holds no more.
MOST_CHARACTERS = 32_000
#: Bytes of all different words of one transcript that can be searched for. Postgres holds a little less than 1 MiB of them in one value.
_SEARCHABLE_BYTES = 300_000

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
#: SubStation Alpha: where its lines begin, the moment, what draws shapes instead of writing.
_EVENTS = re.compile(r"\s*\[events\]\s*\Z", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{1,4}):(\d{1,2}):(\d{1,2})[.:](\d{1,3})\Z")
_DRAWS = re.compile(r"\{[^{}]{0,200}\\p[1-9]")
_COLUMNS = "layer, start, end, style, name, marginl, marginr, marginv, effect, text"
_MARKUP = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}\Z")
_WORD = re.compile(r"\w+")
#: A part of a file name that says a language: "de", "en-US". Some parts of two and three letters say something else.
_LANGUAGE_PART = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8}){0,3}\Z", re.IGNORECASE)
#: Captions that roll up follow one another without a gap.
_ROLLING_SECONDS = 0.05
_NO_LANGUAGES = frozenset({"cc", "sdh"})


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """What is said or shown from `start_seconds` to `end_seconds`, counted from the beginning of the video as it is played."""

    start_seconds: float
    end_seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class SubtitleFile:
    """One file of subtitles. origin: where they come from: "site"; "file", the video itself; "beside", a file beside it; PERSON.

    language: as it is said there, "en-US"; None: not said. name: what they are called there. suffix: of the file, with the dot.
    data: the file. kind: SUBTITLE or AUTOMATIC.
    """

    origin: str
    language: str | None
    name: str | None
    suffix: str
    data: bytes
    lines: tuple[Line, ...]
    kind: str = SUBTITLE

    def without_positions(self) -> tuple[SubtitleFile, int]:
        """(the same without what says where the video was filmed, lines that are left out). Drones write it into such files."""
        kept = tuple(line for line in self.lines if not holds_a_position(line.text))
        if len(kept) == len(self.lines) and not holds_a_position(_text(self.data)):
            return self, 0
        return replace(self, suffix=".vtt", data=webvtt(kept), lines=kept), len(self.lines) - len(kept)


@dataclass(frozen=True, slots=True)
class Beside:
    """A subtitle file that lies beside a video. file: its name. language, name: as that says them; None: it does not."""

    file: str
    language: str | None
    name: str | None


def beside(video: str, names: Iterable[str]) -> tuple[Beside, ...]:
    """The subtitle files of a video, by name. video: the name of its file. names: of the files in its folder.

    `film.srt`, `film.de.vtt`, `film.de.forced.srt` and `film.mp4.srt` are those of `film.mp4`. But beside `film.part2.mp4`, which is
    another video, `film.part2.srt` is the file of that one.
    """
    stem, suffix = _stem_and_suffix(video)
    alike = [name for name in names if name.startswith(f"{stem}.")]
    longer = [f"{other}." for other, _ in map(_stem_and_suffix, filter(is_video_name, alike)) if len(other) > len(stem)]
    found = []
    for file in sorted(alike):
        inner, last = _stem_and_suffix(file)
        if last.lower() in SUFFIXES and not file.startswith(tuple(longer)):
            parts = [part for part in inner[len(stem) :].split(".") if part]
            if parts and f".{parts[0]}".lower() == suffix.lower():
                del parts[0]
            language = next((one for one in parts if _LANGUAGE_PART.match(one) and one.lower() not in _NO_LANGUAGES), None)
            named = " ".join(one for one in parts if one != language)
            found.append(Beside(file, known_language(language), clean_line(named)))
    return tuple(found)


def has_a_namesake(video: str, names: Iterable[str]) -> bool:
    """Whether another video in the folder has the same name but for its suffix, and so the same subtitle files."""
    stem, _ = _stem_and_suffix(video)
    return any(name != video and is_video_name(name) and _stem_and_suffix(name)[0] == stem for name in names)


def lines_of(data: bytes, *, is_rolling: bool = False) -> tuple[Line, ...]:
    """The lines of a WebVTT, SubRip or SubStation Alpha file in order; what cannot be read as a line with times is left out.

    is_rolling: a row of text may stand there again, above the next one: captions that a machine makes roll up. It is kept once.
    """
    rows = _text(data).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if any(map(_EVENTS.match, rows)):
        return tidy(_substation_lines(rows))
    is_webvtt = rows[0].startswith("WEBVTT")  # there a row of blanks ends nothing; files of the other kind are often written loosely
    found: list[Line] = []
    before: list[str] = []
    before_ends = 0.0
    place = 0
    while place < len(rows) and len(found) < MOST_LINES:
        times = _TIMES.match(rows[place])
        place += 1
        if times is None:
            continue
        said = []
        while place < len(rows) and (rows[place] if is_webvtt else rows[place].strip()) and not _TIMES.match(rows[place]):
            said.append(rows[place])
            place += 1
        parts = times.groups()
        start, end = _seconds(parts[:4]), _seconds(parts[4:])
        if is_rolling:
            shown = [text for text in map(plain_text, said) if text]
            said = [text for text in shown if text not in before or start > before_ends + _ROLLING_SECONDS]
            before, before_ends = shown, end
        found.append(Line(start, end, " ".join(said)))
    return tidy(found)


def _substation_lines(rows: Sequence[str]) -> list[Line]:
    """Of a file by SubStation Alpha: `Dialogue:` with columns that `Format:` names; the last one, the text, may hold commas."""
    columns, is_inside = _COLUMNS.split(", "), False
    found: list[Line] = []
    for row in rows:
        kind, _, said = row.strip().partition(":")
        if row.lstrip().startswith("["):
            is_inside = _EVENTS.match(row) is not None
        elif is_inside and kind.lower() == "format":
            columns = [name.strip().lower() for name in said.split(",")]
        elif is_inside and kind.lower() == "dialogue" and len(found) < MOST_LINES:
            cells = dict(zip(columns, said.split(",", len(columns) - 1), strict=False))
            times = [_MOMENT.match(cells.get(name, "").strip()) for name in ("start", "end")]
            text = cells.get("text", "")
            if times[0] and times[1] and not _DRAWS.search(text):
                found.append(Line(_seconds(times[0].groups()), _seconds(times[1].groups()), text.replace(r"\n", " ")))
    return found


def tidy(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines in order, as plain text; those without text, or that end before they begin, are left out."""
    plain = (replace(line, text=plain_text(line.text)) for line in lines)
    return tuple(sorted(line for line in plain if line.text and 0 <= line.start_seconds < line.end_seconds))[:MOST_LINES]


def plain_text(text: str) -> str:
    """The text without tags and without the commands of Advanced SubStation."""
    return clean_line(html.unescape(_MARKUP.sub("", text[: 10 * LINE_CHARACTERS].replace(r"\N", " ").replace(r"\h", " ")))) or ""


def within(lines: Sequence[Line], length_seconds: float | None) -> tuple[tuple[Line, ...], int]:
    """(the lines that fit into a video of this length, how many do not). A line that only ends too late ends with the video."""
    if length_seconds is None:
        return tuple(lines), 0
    fitting = [line for line in lines if line.start_seconds < length_seconds]
    ended = tuple(replace(line, end_seconds=min(line.end_seconds, length_seconds)) for line in fitting)
    return ended, len(lines) - len(fitting)


class TimedLines:
    """Subtitles of a video, to be asked for many parts of it: each costs the lines that it finds."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = sorted(lines, key=lambda one: one.start_seconds)
        self._starts = [one.start_seconds for one in self._lines]
        self._ended = list(accumulate((one.end_seconds for one in self._lines), max))

    def between(self, start_seconds: float, end_seconds: float) -> tuple[Line, ...]:
        """What is said in a part of the video, with times counted from its beginning; a line that goes on beyond an edge ends there."""
        near = self._lines[bisect_right(self._ended, start_seconds) : bisect_left(self._starts, end_seconds)]
        return tuple(
            Line(max(0.0, one.start_seconds - start_seconds), min(one.end_seconds, end_seconds) - start_seconds, one.text)
            for one in near
            if one.end_seconds > start_seconds
        )


def text_of(lines: Iterable[Line]) -> str:
    """All texts as one, of at most MOST_CHARACTERS."""
    return " ".join(one.text for one in lines)[:MOST_CHARACTERS]


def webvtt(lines: Iterable[Line]) -> bytes:
    """The lines as a WebVTT file."""
    cues = [f"{_clock(line.start_seconds)} --> {_clock(line.end_seconds)}\n{html.escape(line.text, quote=False)}\n" for line in lines]
    return "\n".join(["WEBVTT\n", *cues]).encode()


def known_language(said: str | None) -> str | None:
    """A language as the site or the file says it, "en-US"; None for what is none, and for "und"."""
    tag = (said or "").strip().replace("_", "-")
    return tag if _LANGUAGE.match(tag) and tag.lower() not in {"und", "unknown", "none", "na"} else None


def searchable(lines: Iterable[Line]) -> str:
    """The different words of the lines, separated by blanks: what a search looks through."""
    words: dict[str, None] = {}
    left = _SEARCHABLE_BYTES
    for line in lines:
        for word in _WORD.findall(line.text.lower()):
            if word not in words and left > 0:
                words[word] = None
                left -= len(word.encode("utf-8", "replace")) + 1
    return " ".join(words)


def _stem_and_suffix(name: str) -> tuple[str, str]:
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if stem else (name, "")


def _text(data: bytes) -> str:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
