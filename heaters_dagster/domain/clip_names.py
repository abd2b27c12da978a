"""Clips as people name them: `14 of Harbour`. The number counts within the source video, is written on every page and file, and stays."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER_FIRST = re.compile(r"(?:clip\s+)?(\d{1,9})\s+of\s+(.+)", re.IGNORECASE | re.ASCII)
_CLIP_LAST = re.compile(r"(.+?)[\s,·]+clip\s+(\d{1,9})", re.IGNORECASE | re.ASCII)
_VIDEO = re.compile(r"(\d{1,18})(?:\.\s.*)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClipName:
    """number: of the clip. words: words of its source video's title. source_video_id: given when the title was written `7. Harbour`."""

    number: int
    words: tuple[str, ...]
    source_video_id: int | None


def parsed_clip_name(text: str) -> ClipName | None:
    """`14 of Harbour`, `clip 14 of Harbour`, `Harbour, clip 14`, `14 of 7. Harbour`; None for anything else."""
    text = text.strip()
    if found := _NUMBER_FIRST.fullmatch(text):
        number, title = found.groups()
    elif found := _CLIP_LAST.fullmatch(text):
        title, number = found.groups()
    else:
        return None
    of_id = _VIDEO.fullmatch(title.strip())
    return ClipName(int(number), tuple(title.split()), int(of_id[1]) if of_id else None)


def field_text(number: int, source_video_id: int, title: str) -> str:
    """Text from which `parsed_clip_name` finds exactly this clip."""
    return f"{number} of {source_video_id}. {title}"
