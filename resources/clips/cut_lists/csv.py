"""Cut lists as CSV, for spreadsheets and scripts. The scene list of PySceneDetect is read too."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from fractions import Fraction

from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, lines_of, number_of
from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, events, verdict
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import DELIVERED, chapter_at, delivered

_COLUMNS = (
    "id", "sequence", "name", "start_frame", "end_frame", "frame_count", "start_time_seconds", "end_time_seconds",
    "start_timecode", "end_timecode", "timecode_rate", "verdict", "state", "confidence", "grouped_with_clip_id", "clip_filepath",
    "chapter", "subtitles", "media", "reel", "head_handle_frames", "tail_handle_frames", "cut_kind", "cut_first_frame", "cut_last_frame",
    "first_timecode", "last_timecode",
)  # fmt: skip
#: A fact with the name of a column says of the original what the column says of the file in the row, so it has no column of its own.
_FACTS = tuple(name for name in DELIVERED if name not in _COLUMNS)
CSV_COLUMNS = (*_COLUMNS, *_FACTS)


def csv_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """A header row of CSV_COLUMNS, then one row per clip (RFC 4180); an empty field means that the value is not known.

    start_frame, end_frame: of the clip. start_timecode, end_timecode: of its file, with the handles; timecode_rate: at which
    they count, as 25 or 30000/1001. reel: of its file. first_timecode, last_timecode: of the clip's first and last frame in the source
    video, without handles; empty where it has no timecode.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    known = delivered(source.facts)
    facts = [_plain(known.get(name)) for name in _FACTS]
    for event in events(source, clips):
        clip = event.clip
        writer.writerow(
            [
                clip.id,
                clip.sequence,
                clip_name(source, clip),
                clip.start_frame,
                clip.end_frame,
                clip.end_frame - clip.start_frame,
                clip.start_time_seconds,
                clip.end_time_seconds,
                source.written(event.source_start),
                source.written(event.source_end),
                source.frame_rate,
                str(verdict(clip)),
                str(clip.state),
                clip.confidence,
                clip.grouped_with_clip_id,
                clip.clip_filepath,
                _plain(chapter_at(source.facts.chapters, clip.start_time_seconds)),
                _plain(source.said_in(clip)),
                _plain(event.media.path),
                _plain(event.media.reel),
                event.head,
                event.tail,
                *((cut.kind, cut.first_frame, cut.last_frame) if (cut := clip.transition) else (None, None, None)),
                *((told.first, told.last) if (told := source.timecodes.get(clip.id)) else (None, None)),
                *facts,
            ]
        )
    return text.getvalue()


def _plain(text: str | None) -> str | None:
    """A text that a stranger wrote: a spreadsheet would run one that begins as a formula does, so that gets an apostrophe before it."""
    return f"'{text}" if text and text[0] in "=+-@\t" else text


_SCENES = ("Start Frame", "End Frame", "Start Time (seconds)", "End Time (seconds)")
_OURS = ("start_frame", "end_frame")
#: Of one field, as what is said in a clip of some hours.
_LONGEST_FIELD = 1 << 24


def read_csv(text: str, video: ReadFor) -> ReadCutList:
    """A table with the columns start_frame and end_frame, as ours; or the scene list of PySceneDetect. Separators: comma, semicolon, tab.

    PySceneDetect counts frames from 1, and from 0 before its version 0.6. Of a source video with a variable rate its times are taken.
    """
    lines = lines_of(text)
    # PySceneDetect may write the times of all cuts above the names of its columns.
    head = next((number for number, line in enumerate(lines[:10]) if any(_has(line, names) for names in (_OURS, _SCENES))), None)
    if head is None:
        raise BadRequestError(f"the table has neither the columns {' and '.join(_OURS)} nor those of PySceneDetect ({', '.join(_SCENES)})")
    delimiter = max(",;\t", key=lines[head].count)
    names, *rows = _rows(lines, head, delimiter)
    places = {name.strip().casefold(): place for place, name in enumerate(names[1])}
    ours = all(name in places for name in _OURS)
    by_time = not ours and not video.is_constant
    columns = _OURS if ours else _SCENES[2:] if by_time else _SCENES[:2]
    edits = []
    for line, row in rows:
        if any(value.strip() for value in row):  # spreadsheets leave empty rows at the end
            where = f"line {line}"
            start, end = (_number(row, places.get(name.casefold()), name, where, delimiter) for name in columns)
            edits.append(ReadEdit(where=where, start=start, end=end))
    if not ours and not by_time:
        base = 0 if edits and edits[0].start == 0 else 1
        edits = [ReadEdit(where=edit.where, start=edit.start - base, end=edit.end) for edit in edits]
    return ReadCutList(counting=Counting.SECONDS if by_time else Counting.FRAMES, edits=tuple(edits), ends_as_stated=by_time)


def _rows(lines: Sequence[str], head: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """(number of its last line, its fields) of each row from the line `head` on."""
    usual = csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader((f"{line}\n" for line in lines[head:]), delimiter=delimiter, strict=True)
    try:
        return [(head + reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise BadRequestError(f"line {head + reader.line_num}: the table is no CSV: {error}") from error
    finally:
        csv.field_size_limit(usual)


def _has(line: str, names: Sequence[str]) -> bool:
    return all(name.casefold() in line.casefold() for name in names)


def _number(row: Sequence[str], place: int | None, name: str, where: str, delimiter: str) -> Fraction:
    text = row[place].strip() if place is not None and place < len(row) else ""
    try:
        # Where the comma separates no columns it is that of a decimal number, as in many countries.
        found = number_of(text if delimiter == "," else text.replace(",", "."))
    except ValueError:
        raise BadRequestError(f"{where}: {name} is a number, not {text[:80]!r}") from None
    if "seconds" not in name and found.denominator != 1:
        raise BadRequestError(f"{where}: {name} is a whole number, not {text!r}")
    return found


CUT_LIST_FORMAT = CutListFormat(name="csv", title="CSV, for spreadsheets", suffix=".csv", write=csv_cut_list, in_zip=True, read=read_csv)
