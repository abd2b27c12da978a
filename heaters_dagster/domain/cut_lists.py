"""Cut lists for editing programs: CSV, EDL (CMX 3600) and FCPXML as text. OpenTimelineIO is written by `resources/clips/cut_list_otio.py`.

Editing programs count time in frames of the timeline's rate. A cut is therefore placed at `round(seconds x frame_rate)` of the time that
the frame index gives: with a constant rate that is the frame's ordinal, with a variable rate the timeline frame shown at that moment.
"""

from __future__ import annotations

import csv
import io
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

from heaters_dagster.domain.errors import BadRequestError

CUT_LIST_FORMATS = ("csv", "edl", "fcpxml", "otio")
#: Event numbers of a CMX 3600 list have three digits.
MAX_EDL_EVENTS = 999
CSV_COLUMNS = (
    "id", "sequence", "name", "start_frame", "end_frame", "frame_count", "start_time_seconds", "end_time_seconds",
    "start_timecode", "end_timecode", "state", "confidence", "grouped_with_clip_id", "clip_filepath",
)  # fmt: skip
_COMMON_RATES = tuple(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
)
_ONE_HOUR = 3600

T = TypeVar("T")


class CutListClip(Protocol):
    """What a cut list says about a clip; the store's `Clip` has it all. Frames: end exclusive. Times: seconds by the frame index."""

    @property
    def id(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def start_frame(self) -> int: ...
    @property
    def end_frame(self) -> int: ...
    @property
    def start_time_seconds(self) -> float: ...
    @property
    def end_time_seconds(self) -> float: ...
    @property
    def state(self) -> str: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def grouped_with_clip_id(self) -> int | None: ...
    @property
    def clip_filepath(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListSource:
    """The source video as an editing program must know it.

    media_url: where the program finds the file (file:, https: or a relative name); its last part is the media's name.
    frame_rate: frames per second, the average for a variable rate. width, height: of the displayed picture, in pixels.
    """

    id: int
    title: str
    media_url: str
    frame_rate: Fraction
    duration_seconds: float
    width: int
    height: int
    has_audio: bool

    def __post_init__(self) -> None:
        if self.frame_rate <= 0:
            raise BadRequestError(f"source video {self.id}: a cut list needs a frame rate above 0, not {self.frame_rate}")

    @property
    def media_name(self) -> str:
        return self.media_url.rstrip("/").rsplit("/", 1)[-1].split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class TimelineRange:
    """[start, end) in frames of the timeline's rate, at least one frame long."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def timeline_rate(frame_rate: Fraction) -> Fraction:
    """`frame_rate`, or the common rate that it means when it is written as a decimal: 23.976 is 24000/1001, 29.97 is 30000/1001."""
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - frame_rate))
    return nearest if abs(nearest - frame_rate) * 10_000 <= nearest else frame_rate


def timeline_range(clip: CutListClip, rate: Fraction) -> TimelineRange:
    """Where `clip` lies in the source, in frames of `rate`."""
    start = round(Fraction(clip.start_time_seconds) * rate)
    return TimelineRange(start, max(start + 1, round(Fraction(clip.end_time_seconds) * rate)))


def timecode(frame: int, rate: Fraction, *, drop_frame: bool = False) -> str:
    """`HH:MM:SS:FF` of a frame number, counted at the whole number nearest to `rate`; after 24 hours it starts at zero again.

    drop_frame: `HH:MM:SS;FF`, which skips the first frame numbers of each minute except every tenth, so that 30000/1001 and 60000/1001 stay
    in step with the clock (SMPTE ST 12-1). Raises BadRequestError for other rates.
    """
    nominal = max(1, round(rate))
    if drop_frame:
        if rate not in (Fraction(30_000, 1001), Fraction(60_000, 1001)):
            raise BadRequestError(f"drop-frame timecode exists for 30000/1001 and 60000/1001 frames per second, not for {rate}")
        dropped = nominal // 15
        per_minute = nominal * 60 - dropped
        per_ten_minutes = per_minute * 10 + dropped
        tens, rest = divmod(frame, per_ten_minutes)
        minutes = 0 if rest < nominal * 60 else 1 + (rest - nominal * 60) // per_minute
        frame += dropped * (9 * tens + minutes)
    seconds, frames = divmod(frame, nominal)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{';' if drop_frame else ':'}{frames:02d}"


def clip_name(source: CutListSource, clip: CutListClip) -> str:
    """The name of the clip's file without its ending: `video_{id}_clip_{nnn}`."""
    return f"video_{source.id}_clip_{clip.sequence:03d}"


def csv_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """A header row of CSV_COLUMNS, then one row per clip (RFC 4180); an empty field is a value that is not known."""
    rate = timeline_rate(source.frame_rate)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for clip in clips:
        place = timeline_range(clip, rate)
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
                timecode(place.start, rate),
                timecode(place.end, rate),
                str(clip.state),
                clip.confidence,
                clip.grouped_with_clip_id,
                clip.clip_filepath,
            ]
        )
    return text.getvalue()


def edl_cut_list(source: CutListSource, clips: Sequence[CutListClip], *, drop_frame: bool = False) -> str:
    """A CMX 3600 edit decision list that plays `clips` one after another from record timecode 01:00:00:00.

    Raises BadRequestError for more than MAX_EDL_EVENTS clips (see `edl_parts`), and for drop-frame at other rates than 29.97 and 59.94.
    """
    if len(clips) > MAX_EDL_EVENTS:
        raise BadRequestError(
            f"a CMX 3600 list holds up to {MAX_EDL_EVENTS} events, not {len(clips)}: write it in parts, or choose FCPXML or OpenTimelineIO"
        )
    rate = timeline_rate(source.frame_rate)
    lines = [f"TITLE: {_ascii(source.title)[:70]}", f"FCM: {'DROP FRAME' if drop_frame else 'NON-DROP FRAME'}", ""]
    recorded = _first_frame_of_hour(rate, drop_frame=drop_frame)
    for number, clip in enumerate(clips, start=1):
        place = timeline_range(clip, rate)
        edges = (place.start, place.end, recorded, recorded + place.length)
        times = " ".join(timecode(edge, rate, drop_frame=drop_frame) for edge in edges)
        recorded += place.length
        lines += [
            f"{number:03d}  {'AX':<8} {'AA/V' if source.has_audio else 'V':<5} {'C':<8} {times}",
            f"* FROM CLIP NAME: {_ascii(source.media_name)}",
            f"* COMMENT: {clip_name(source, clip)} frames {clip.start_frame}..{clip.end_frame - 1} {clip.state}",
        ]
    return "\n".join(lines) + "\n"


def edl_parts(clips: Sequence[T]) -> list[Sequence[T]]:
    """`clips` divided into lists that fit into one EDL each."""
    return [clips[first : first + MAX_EDL_EVENTS] for first in range(0, len(clips), MAX_EDL_EVENTS)]


def fcpxml_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An FCPXML 1.10 project that plays `clips` one after another; each is marked with its state and the confidence of its cuts."""
    rate = timeline_rate(source.frame_rate)
    title = _xml_text(source.title)
    places = [timeline_range(clip, rate) for clip in clips]
    total = sum(place.length for place in places)
    held = max([round(Fraction(source.duration_seconds) * rate), *(place.end for place in places)])

    root = ET.Element("fcpxml", version="1.10")
    resources = ET.SubElement(root, "resources")
    ET.SubElement(resources, "format", id="r1", frameDuration=_seconds(1, rate), width=str(source.width), height=str(source.height))
    media = {
        "id": "r2",
        "name": _xml_text(source.media_name),
        "start": "0s",
        "duration": _seconds(held, rate),
        "hasVideo": "1",
        "format": "r1",
    }
    sound = {"hasAudio": "1", "audioSources": "1", "audioChannels": "2"} if source.has_audio else {}
    asset = ET.SubElement(resources, "asset", {**media, **sound})
    ET.SubElement(asset, "media-rep", kind="original-media", src=_xml_text(source.media_url))
    event = ET.SubElement(ET.SubElement(root, "library"), "event", name=title)
    project = ET.SubElement(event, "project", name=title)
    sequence = ET.SubElement(project, "sequence", format="r1", duration=_seconds(total, rate), tcStart="0s", tcFormat="NDF")
    spine = ET.SubElement(sequence, "spine")
    offset = 0
    for clip, place in zip(clips, places, strict=True):
        start, length = _seconds(place.start, rate), _seconds(place.length, rate)
        times = {"offset": _seconds(offset, rate), "start": start, "duration": length, "tcFormat": "NDF"}
        element = ET.SubElement(spine, "asset-clip", {"ref": "r2", "name": clip_name(source, clip), **times})
        sure = "" if clip.confidence is None else f", confidence {clip.confidence:.2f}"
        ET.SubElement(element, "note").text = f"clip {clip.sequence}, frames {clip.start_frame}..{clip.end_frame - 1}{sure}"
        ET.SubElement(element, "keyword", start=start, duration=length, value=str(clip.state))
        offset += place.length
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{ET.tostring(root, encoding="unicode")}\n'


def _first_frame_of_hour(rate: Fraction, *, drop_frame: bool) -> int:
    """Frame number whose timecode is 01:00:00:00."""
    nominal = max(1, round(rate))
    return _ONE_HOUR * nominal - (54 * (nominal // 15) if drop_frame else 0)


def _seconds(frames: int, rate: Fraction) -> str:
    """FCPXML's rational time. The denominator stays that of the rate, because the format requires multiples of its frameDuration."""
    if frames == 0:
        return "0s"
    numerator, denominator = frames * rate.denominator, rate.numerator
    return f"{numerator // denominator}s" if numerator % denominator == 0 else f"{numerator}/{denominator}s"


def _ascii(text: str) -> str:
    """One line of ASCII, as the format requires: accents are removed, a character without an ASCII form becomes `?`."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(plain.encode("ascii", "replace").decode().translate(_CONTROLS).split())


def _xml_text(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot hold."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r" or "\x20" <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter >= "\U00010000"
    )


_CONTROLS = dict.fromkeys((*range(32), 127), " ")
