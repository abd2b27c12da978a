"""Clips as people name them: `14 of Harbour`.

The number counts within the source video, stands on every page and in every file name, and never changes. Messages of the domain and of
the stores know a clip by its id only and write `clip id:812`. Whoever shows one to people has the ids replaced first
(`ClipLookup.in_words`); what is left of them can still be typed wherever a clip is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.words import counted

_NUMBER_FIRST = re.compile(r"(?:clip\s+)?(\d{1,9})\s+of\s+(.+)", re.IGNORECASE | re.ASCII)
_CLIP_LAST = re.compile(r"(.+?)[\s,·]+clip\s+(\d{1,9})", re.IGNORECASE | re.ASCII)
_VIDEO = re.compile(r"(\d{1,18})(?:\.\s.*)?", re.ASCII | re.DOTALL)
_REFERENCE = re.compile(r"(\d{1,18}):(\d{1,9})", re.ASCII)
_FILE = re.compile(r"(?:.*/)?video_(\d{1,18})_clip_(\d{1,9})(?:[_.].*)?", re.ASCII)
_ID = re.compile(r"id:(\d{1,18})", re.IGNORECASE | re.ASCII)
_BY_ID = re.compile(r"\b([Cc]lips?) (id:[0-9]+(?:(?:, | and )id:[0-9]+)*)")
_ONE_ID = re.compile(r"id:([0-9]+)")
_RANGE = re.compile(r"(\d{1,9})(?:\s*[-–]\s*(\d{1,9}))?", re.ASCII)
_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class ClipName:
    """number: of the clip. words: words of its source video's title. source_video_id: given when it was written, as in `7. Harbour`.

    With an id and no words, as in `7:14`, only that source video is meant.
    """

    number: int
    words: tuple[str, ...]
    source_video_id: int | None


@dataclass(frozen=True, slots=True)
class NumberRanges:
    """Numbers of clips as people write several: `3, 5-9`. A number is in it when it is in one of the ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parsed(cls, text: str) -> NumberRanges:
        """Raises BadRequestError, which says how to write it."""
        found = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
        ranges = tuple((int(one[1]), int(one[2] or one[1])) for one in found if one is not None)
        if None in found or any(first > last for first, last in ranges):
            raise BadRequestError(f"{text.strip()[:60]!r} does not name clips: write their numbers as in 3, 5-9")
        return cls(ranges)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)


def parsed_clip_name(text: str) -> ClipName | None:
    """`7:14`, `14 of Harbour`, `clip 14 of Harbour`, `Harbour, clip 14`, `14 of 7. Harbour`, `video_7_clip_014.mp4`; None for else."""
    text = text.strip()
    if exact := _REFERENCE.fullmatch(text) or _FILE.fullmatch(text):
        return ClipName(int(exact[2]), (), int(exact[1]))
    if found := _NUMBER_FIRST.fullmatch(text):
        number, title = found.groups()
    elif found := _CLIP_LAST.fullmatch(text):
        title, number = found.groups()
    else:
        return None
    of_id = _VIDEO.fullmatch(title.strip())
    return ClipName(int(number), tuple(title.split()), int(of_id[1]) if of_id else None)


def parsed_clip_id(text: str) -> int | None:
    """`id:812`: the way to write an id where a number would mean another clip; None for anything else."""
    found = _ID.fullmatch(text.strip())
    return int(found[1]) if found else None


def reference(source_video_id: int, number: int) -> str:
    """`7:14`, the shortest name of a clip that can be typed: clip 14 of source video 7."""
    return f"{source_video_id}:{number}"


def field_text(number: int, source_video_id: int, title: str) -> str:
    """Text from which `parsed_clip_name` finds exactly this clip."""
    return f"{number} of {source_video_id}. {title}"


def clips_by_id(clip_ids: Sequence[int]) -> str:
    """`clip id:4`, `clips id:4, id:5 and id:6`, `clips id:4, id:5, id:6 and 7 more`: for messages of code that has only ids."""
    return _several([f"id:{clip_id}" for clip_id in clip_ids])


def no_clips(clip_ids: Sequence[int]) -> str:
    """The message for clips that do not exist."""
    return (
        f"there {'is' if len(clip_ids) == 1 else 'are'} no {clips_by_id(clip_ids)}; heaters clips VIDEO lists the clips of a source video"
    )


def clips_by_number(numbers: Sequence[int]) -> str:
    """`clips 14 and 15`, where the source video has been named already."""
    return _several([str(number) for number in numbers])


def clips_in_words(named: Iterable[tuple[int, str]]) -> str:
    """`clip 14 of Harbour`, `clips 14 and 15 of Harbour and clip 1 of Snow`, `20,000 clips of 41 source videos`.

    named: (number, title of the source video).
    """
    by_title: dict[str, list[int]] = {}
    for number, title in named:
        by_title.setdefault(title, []).append(number)
    if len(by_title) > _NAMED_AT_MOST:
        return f"{counted(sum(map(len, by_title.values())), 'clip')} of {counted(len(by_title), 'source video')}"
    return " and ".join(f"{clips_by_number(numbers)} of {title}" for title, numbers in by_title.items())


def ids_in(message: str) -> list[int]:
    """Ids of the clips that a message names by id."""
    return [int(one) for found in _BY_ID.finditer(message) for one in _ONE_ID.findall(found[2])]


def with_names(message: str, names: Mapping[int, tuple[int, str]]) -> str:
    """`message` with numbers and titles in place of ids. names: id -> (number of the clip, title of its source video)."""

    def named(match: re.Match[str]) -> str:
        ids = [int(one) for one in _ONE_ID.findall(match[2])]
        if any(clip_id not in names for clip_id in ids):
            return match[0]
        titles = {names[clip_id][1] for clip_id in ids}
        if len(titles) == 1:
            return f"{match[1]} {_ONE_ID.sub(lambda one: str(names[int(one[1])][0]), match[2])} of {titles.pop()}"
        return " and ".join(f"clip {number} of {title}" for number, title in map(names.__getitem__, ids))

    return _BY_ID.sub(named, message)


def _several(shown: Sequence[str]) -> str:
    if len(shown) == 1:
        return f"clip {shown[0]}"
    first, more = shown[:_NAMED_AT_MOST], len(shown) - _NAMED_AT_MOST
    if more > 0:
        return f"clips {', '.join(first)} and {more:,} more"
    return f"clips {', '.join(shown[:-1])} and {shown[-1]}"
