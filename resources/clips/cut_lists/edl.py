"""Cut lists as EDL (CMX 3600), which nearly every editing program reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, timecode, timeline_range, timeline_rate
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import delivered
from heaters_dagster.domain.words import counted

#: Event numbers of a CMX 3600 list have three digits.
MAX_EDL_EVENTS = 999
_ONE_HOUR = 3600
_FACTS = ("rights", "licence", "external_id", "uploader", "page_address")
_FACT_CHARACTERS = 100
_CONTROLS = dict.fromkeys((*range(32), 127), " ")


def edl_cut_list(source: CutListSource, clips: Sequence[CutListClip], *, drop_frame: bool = False) -> str:
    """A CMX 3600 edit decision list that plays `clips` one after another from record timecode 01:00:00:00.

    Raises BadRequestError for more than MAX_EDL_EVENTS clips (see `CutListFormat.parts`), and for drop-frame at other rates than 29.97
    and 59.94.
    """
    if len(clips) > MAX_EDL_EVENTS:
        raise BadRequestError(
            f"a CMX 3600 list has at most {MAX_EDL_EVENTS} events, not {counted(len(clips), 'clip')}: write it in parts, or choose "
            "FCPXML or OpenTimelineIO"
        )
    rate = timeline_rate(source.frame_rate)
    lines = [f"TITLE: {_ascii(source.title)[:70]}", f"FCM: {'DROP FRAME' if drop_frame else 'NON-DROP FRAME'}", ""]
    recorded = _first_frame_of_hour(rate, drop_frame=drop_frame)
    # Comments belong to events: between the head and the first event some programs take them for a fault.
    known = delivered(source.facts)
    facts = [f"* COMMENT: {name.upper()}: {_ascii(known[name])[:_FACT_CHARACTERS]}" for name in _FACTS if name in known]
    for number, clip in enumerate(clips, start=1):
        place = timeline_range(clip, rate)
        edges = (place.start, place.end, recorded, recorded + place.length)
        times = " ".join(timecode(edge, rate, drop_frame=drop_frame) for edge in edges)
        recorded += place.length
        lines += [
            f"{number:03d}  {'AX':<8} {'AA/V' if source.has_audio else 'V':<5} {'C':<8} {times}",
            f"* FROM CLIP NAME: {_ascii(source.media_name)}",
            f"* COMMENT: {clip_name(source, clip)} frames {clip.start_frame}..{clip.end_frame - 1} {clip.state}",
            *facts,
        ]
    return "\n".join(lines) + "\n"


def _first_frame_of_hour(rate: Fraction, *, drop_frame: bool) -> int:
    """Frame number whose timecode is 01:00:00:00."""
    nominal = max(1, round(rate))
    return _ONE_HOUR * nominal - (54 * (nominal // 15) if drop_frame else 0)


def _ascii(text: str) -> str:
    """One line of ASCII, as the format requires: accents are removed, a character without an ASCII form becomes `?`."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(plain.encode("ascii", "replace").decode().translate(_CONTROLS).split())


CUT_LIST_FORMAT = CutListFormat(
    name="edl",
    title="CMX 3600 edit decision list",
    suffix=".edl",
    write=edl_cut_list,
    in_zip=True,
    most_clips=MAX_EDL_EVENTS,
)
