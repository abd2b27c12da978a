"""Cut lists of other programs, read as cuts of a source video.

A reader tells for each edit where in the media it begins and ends, in the list's own way of counting. Which frames of the source video
these are is decided here, in one place: by its frame index, its timecode and the rate of its lists.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.words import counted

#: A list of a day's cuts is below this by far; a larger file is no list.
MOST_LIST_BYTES = 64 * 1024**2
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{0,20}|/\d{1,20})?", re.ASCII)
_NAMED = 5
#: By so many seconds the length that a file states lies beside the end of its picture, at most.
_STATED_LENGTH_OFF = Fraction(1, 2)


class Counting(StrEnum):
    """How a list says where an edit begins. FRAMES: of the source video, from 0. COUNT: frames of its timecode since 00:00:00:00.

    SECONDS: from the beginning of the media.
    """

    FRAMES = "frames"
    COUNT = "count"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEdit:
    """One edit. where: in the file, for people: "line 12". start, end: end exclusive. media: names of its file that the list tells."""

    where: str
    start: Fraction
    end: Fraction
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCutList:
    """What a file says. rate: of its counts and frames, None for that of the source video. notes: what was left out, a sentence each.

    day: counts after which they start again from 0, as written timecode does at midnight; None: they go on. ends_as_stated: the last edit
    ends with the length that the file states, as in lists of PySceneDetect: at a variable rate some frames before or after its true end.
    """

    counting: Counting
    edits: tuple[ReadEdit, ...]
    rate: Fraction | None = None
    day: int | None = None
    notes: tuple[str, ...] = ()
    ends_as_stated: bool = False


@dataclass(frozen=True, slots=True)
class ClipFile:
    """The file of a clip, which a list may name in place of that of the source video. Frames are those of the rate of its lists.

    begins_at, length_frames: what it has of the source video. first_count: of the timecode of its first frame. head, tail: frames of the
    transitions at the ends of its clip that it leaves out: who takes the file up to its end means the cut.
    """

    begins_at: int
    length_frames: int
    first_count: int
    head: int = 0
    tail: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFor:
    """The source video for which a list is read.

    rate: of its lists. drop_frame: whether its timecode leaves out numbers. first_count: of the timecode at its beginning.
    places: (n + 1,) where each frame, and the end, lies in frames of `rate`.
    names: of its files, as lists may tell them. clip_files: of its clips, by such names in lower case (`str.casefold`).
    """

    rate: Fraction
    drop_frame: bool
    first_count: int
    places: NDArray[np.int64]
    names: frozenset[str] = frozenset()
    clip_files: Mapping[str, ClipFile] = field(default_factory=dict)

    @property
    def frame_count(self) -> int:
        return len(self.places) - 1

    @property
    def is_constant(self) -> bool:
        return bool(self.places[-1] == self.frame_count)


@dataclass(frozen=True, slots=True)
class FoundCuts:
    """frames: where clips begin, ascending, without 0 and the end. notes: what the person must know of the list, a sentence each."""

    frames: tuple[int, ...]
    notes: tuple[str, ...]


def decoded(data: bytes) -> str:
    """The text of a list in the encoding that its first bytes tell; else UTF-8, else that of Western Windows. Raises BadRequestError."""
    if len(data) > MOST_LIST_BYTES:
        raise BadRequestError(f"the file has more than {MOST_LIST_BYTES:,} bytes: that is no cut list")
    if not data.strip():
        raise BadRequestError("the file is empty")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise BadRequestError("the file is no text, so it is no cut list that can be read: EDL, FCPXML, OTIO or CSV")
    return text


def number_of(text: str) -> Fraction:
    """The number that a list writes: `12`, `1.5`, `-3`, `1001/30000`. Raises ValueError for others.

    An exponent is none: a few characters would be a number that fills the memory.
    """
    if _NUMBER.fullmatch(text.strip()) is None:
        raise ValueError(f"{text[:40]!r} is no number")
    try:
        return Fraction(text.strip())
    except ZeroDivisionError as error:
        raise ValueError(f"{text[:40]!r} is divided by zero") from error


def notes_on_clips(*, disabled: int, retimed: int) -> list[str]:
    """What was done with such clips of a timeline, a sentence each."""
    found = [counted(disabled, "disabled clip is left out.", "disabled clips are left out.")] if disabled else []
    plays = counted(retimed, "clip plays", "clips play")
    return [*found, *([f"{plays} at another speed: the beginning and the length on the timeline are taken."] if retimed else [])]


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever system wrote it. Other characters that end lines for Python belong to names."""
    return _LINE_ENDS.split(text)


def cuts_of(read: ReadCutList, video: ReadFor) -> FoundCuts:
    """The frames of `video` where the edits of a list begin and end. Raises BadRequestError, with the place in the file."""
    edits, notes = _of_this_video(read.edits, {*video.names, *video.clip_files})
    if not edits:
        raise BadRequestError("the list has no edit with a picture")
    edits = _to_the_end(read, _in_source(read, edits, video), video)
    base, told = _base(read, edits, video)
    found: set[int] = set()
    for edit in edits:
        if edit.end <= edit.start:
            raise BadRequestError(f"{edit.where}: an edit must end after it begins")
        found |= {_frame(read, edit, edge, base, video) for edge in (edit.start, edit.end)}
    overlaps = [second.where for first, second in pairwise(sorted(edits, key=lambda edit: edit.start)) if second.start < first.end]
    if overlaps:
        many = f"{counted(len(overlaps), 'edit')} {'begins' if len(overlaps) == 1 else 'begin'} inside another one ({overlaps[0]})"
        told = [*told, f"{many}, as in a list with handles: each edge becomes a cut."]
    return FoundCuts(tuple(sorted(found - {0, video.frame_count})), (*read.notes, *notes, *told))


def name_in(path: str) -> str:
    """The last part of what a list gives as a file, whichever system that is of."""
    return PureWindowsPath(PurePosixPath(path).name).name


def _of_this_video(edits: Sequence[ReadEdit], names: Iterable[str]) -> tuple[Sequence[ReadEdit], list[str]]:
    """The edits of the source video: all of them when the list has one file, whatever that is called; else those that name one of its."""
    named = [{name.casefold() for name in edit.media} for edit in edits]
    told = [called for called in named if called]
    if not told or set.intersection(*told):
        return edits, []
    known = {name.casefold() for name in names}
    own = [edit for edit, called in zip(edits, named, strict=True) if known & called]
    if not own:
        files = list(dict.fromkeys(edit.media[0] for edit in edits if edit.media))
        some = ", ".join(files[:_NAMED]) + (" and others" if len(files) > _NAMED else "")
        raise BadRequestError(f"the list has edits of {counted(len(files), 'file')} ({some}); none has a name of this source video")
    left = len(edits) - len(own)
    return own, [counted(left, "edit of other files is left out.", "edits of other files are left out.")] if left else []


def _in_source(read: ReadCutList, edits: Sequence[ReadEdit], video: ReadFor) -> list[ReadEdit]:
    """The edits as if each named the file of the source video, in counts that go on after midnight."""
    frames = (read.rate or video.rate) / video.rate
    files = [next((found for name in edit.media if (found := video.clip_files.get(name.casefold()))), None) for edit in edits]
    own = [edit for edit, file in zip(edits, files, strict=True) if file is None]
    if read.counting is Counting.COUNT:
        own = _after_midnight(own, video.first_count * frames, int(video.places[-1]) * frames, read.day)
    placed, following = list[ReadEdit](), iter(own)
    for edit, file in zip(edits, files, strict=True):
        if file is None:
            placed.append(next(following))
        elif read.counting is Counting.SECONDS:
            placed.append(_with_transitions(_moved(edit, file.begins_at / video.rate), file, 1 / video.rate, 0))
        else:
            first, length = file.first_count * frames, file.length_frames * frames
            (edit,) = _after_midnight([edit], first, length, read.day)
            begins = first if first <= edit.start and edit.end <= first + length else 0
            moved = _moved(edit, (file.begins_at + video.first_count) * frames - begins)
            placed.append(_with_transitions(moved, file, frames, video.first_count))
    return placed


def _to_the_end(read: ReadCutList, edits: list[ReadEdit], video: ReadFor) -> list[ReadEdit]:
    """The edits, the last one up to the true end where it ends with the length that the file states."""
    if not read.ends_as_stated or video.is_constant:
        return edits
    last, end = max(edits, key=lambda edit: edit.end), Fraction(int(video.places[-1])) / video.rate
    is_meant = last.start < end and abs(last.end - end) < _STATED_LENGTH_OFF
    return [replace(edit, end=end) if is_meant and edit is last else edit for edit in edits]


def _with_transitions(edit: ReadEdit, file: ClipFile, unit: Fraction, first: int) -> ReadEdit:
    """The edit up to the cuts of the clip, where it reaches an end of a file that leaves out transitions.

    unit: how the list counts a frame of the file. first: the frame at which it begins to count.
    """
    begins, ends = file.begins_at + first, file.begins_at + file.length_frames + first
    head = file.head if round(edit.start / unit) == begins else 0
    tail = file.tail if round(edit.end / unit) == ends else 0
    return replace(edit, start=edit.start - head * unit, end=edit.end + tail * unit)


def _moved(edit: ReadEdit, by: Fraction) -> ReadEdit:
    return replace(edit, start=edit.start + by, end=edit.end + by)


def _after_midnight(edits: Sequence[ReadEdit], first: Fraction, length: Fraction, day: int | None) -> list[ReadEdit]:
    """The edits in counts that go on after midnight, where the timecode of their file passes it. first: its first count.

    They stay as they are where they count from 0: then none begins before midnight, and some lie further on than the file goes after it.
    """
    edges = [edge for edit in edits for edge in (edit.start, edit.end)]
    if not edges or day is None or first + length <= day or first + length - day < max(edges) < first:
        return list(edits)
    return [
        replace(edit, start=edit.start + (day if edit.start < first else 0), end=edit.end + (day if edit.end < first else 0))
        for edit in edits
    ]


def _base(read: ReadCutList, edits: Sequence[ReadEdit], video: ReadFor) -> tuple[int, list[str]]:
    """The count of frame 0 in the list: that of the source video's timecode; 0 when the list plainly counts from there."""
    if read.counting is not Counting.COUNT or not video.first_count:
        return 0, []
    rate = read.rate or video.rate
    first = round(video.first_count * rate / video.rate)
    length = round(int(video.places[-1]) * rate / video.rate)
    low, high = min(edit.start for edit in edits), max(edit.end for edit in edits)
    if first <= low and high <= first + length:
        return first, []
    if low >= 0 and high <= length:
        return 0, ["The list counts from 00:00:00:00, not from the timecode of the source video."]
    return first, []


def _frame(read: ReadCutList, edit: ReadEdit, edge: Fraction, base: int, video: ReadFor) -> int:
    """The frame of the source video at an edge of an edit."""
    if read.counting is Counting.FRAMES:
        frame = int(edge)
        if not 0 <= frame <= video.frame_count:
            raise BadRequestError(
                f"{edit.where}: frame {frame} is not in the source video, which has {counted(video.frame_count, 'frame')}"
            )
        return frame
    seconds = edge if read.counting is Counting.SECONDS else (edge - base) / (read.rate or video.rate)
    place = round(seconds * video.rate)
    end = int(video.places[-1])
    # The end of a container may lie a frame after that of its picture: sounds end later.
    if not 0 <= place <= end + 1:
        raise BadRequestError(
            f"{edit.where}: {_clock(seconds)} lies outside the source video, which has {_clock(Fraction(end) / video.rate)}:"
            " is it a list of another video, or of another rate or timecode?"
        )
    return min(int(np.searchsorted(video.places, place, side="left")), video.frame_count)


def _clock(seconds: Fraction) -> str:
    sign, whole = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{int(whole) // 3600:02d}:{int(whole) % 3600 // 60:02d}:{float(whole % 60):06.3f}"
