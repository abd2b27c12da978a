"""Cut lists as EDL (CMX 3600), which nearly every editing program reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from heaters_dagster.domain.cut_list_media import ascii_of, one_line, reels_of
from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, lines_of, name_in
from heaters_dagster.domain.cut_lists import (
    CutListClip,
    CutListEvent,
    CutListFormat,
    CutListSource,
    Verdict,
    clip_name,
    events,
    labels,
    verdict,
)
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import delivered
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.timecode import DROP_FRAME_RATES, frames_per_day, read_timecode
from heaters_dagster.domain.words import clip_state_words, counted

#: Event numbers of a CMX 3600 list have three digits.
MAX_EDL_EVENTS = 999
#: Frame numbers of a timecode have two.
_MOST_FRAMES_A_SECOND = 100
_FACTS = ("rights", "licence", "external_id", "uploader", "page_address", "tags")
_FACT_CHARACTERS = 100
_COLOURS = {Verdict.APPROVED: "GREEN", Verdict.PENDING: "YELLOW", Verdict.SKIPPED: "RED", Verdict.ARCHIVED: "RED"}
_CHANNELS = {0: "V", 1: "B"}
_TIMECODE = r"(\d\d?:\d\d:\d\d[:;.]\d\d\d?)"
#: number, reel, channels, transition (with its length, and which picture of a key), source in and out, record in and out. Some programs
#: write reels with spaces.
_EVENT = re.compile(
    r"\s*(\d+)\s+(\S.*?)\s+(NONE|[ABV][A-Z0-9/]*)\s+([CDWK]\w*)(?:\s+(?:\(?[BFO]\)?|\d{1,4}))*" + rf"\s+{_TIMECODE}" * 4 + r"\s*",
    re.IGNORECASE,
)
#: A line that is meant as an event: a number, and at least one timecode.
_LIKE_EVENT = re.compile(r"\s*\d+\s+[^\s*:]+\s.*(?:\d\d:\d\d:\d\d[:;.]\d\d|\s[CDWK](?:\s|$))", re.IGNORECASE)
#: What separates a reel from what follows is looked for at each place of a line.
_LONGEST_EVENT = 500
_NAME = re.compile(r"\*?\s*(FROM CLIP NAME|FROM CLIP|FROM FILE|SOURCE FILE|TO CLIP NAME)\s*:\s*(.+?)\s*", re.IGNORECASE)
_SPEED = re.compile(r"M2\s+.*?\s([+-]?\d+(?:\.\d*)?)\s+\S+\s*", re.IGNORECASE)
_PYSCENEDETECT = re.compile(r"^\* CREATED WITH PYSCENEDETECT", re.MULTILINE)
_SIGNED = re.compile(r"\d\d:\d\d:\d\d[;.]\d\d")
_EMPTY_REELS = {"BL", "BLACK"}


def edl_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """A CMX 3600 edit decision list that plays `clips` from record timecode 01:00:00:00.

    Event lines and reels are ASCII, as the format requires. The names of files in comments are as they are, in UTF-8: programs find the
    files by them. Raises BadRequestError for more than MAX_EDL_EVENTS clips (see `CutListFormat.parts`), and for rates of three digits.
    """
    if len(clips) > MAX_EDL_EVENTS:
        raise BadRequestError(
            f"a CMX 3600 list has at most {MAX_EDL_EVENTS} events, not {counted(len(clips), 'clip')}: write it in parts, or choose "
            "FCPXML or OpenTimelineIO"
        )
    if round(source.frame_rate) > _MOST_FRAMES_A_SECOND:
        raise BadRequestError(f"a CMX 3600 list has two digits for frames, too few for the rate {round(source.frame_rate)}")
    reels = reels_of([source.media, *source.clip_media.values()])
    lines = [f"TITLE: {_ascii(source.title)[:70]}", f"FCM: {'DROP FRAME' if source.drop_frame else 'NON-DROP FRAME'}", ""]
    # Comments belong to events: between the head and the first event some programs take them for a fault.
    known = delivered(source.facts)
    facts = [f"* COMMENT: {name.upper()}: {_ascii(known[name])[:_FACT_CHARACTERS]}" for name in _FACTS if name in known]
    for number, event in enumerate(events(source, clips), start=1):
        lines += [*_event(source, event, number, reels[event.media.path]), *facts]
    return "\n".join(lines) + "\n"


def _event(source: CutListSource, event: CutListEvent, number: int, reel: str) -> list[str]:
    clip, media = event.clip, event.media
    record = source.timeline_start + event.record
    edges = (event.source_start, event.source_end, record, record + event.length)
    times = " ".join(map(source.written, edges))
    # The channels of an event are its picture and the first two of its sound; the line AUD names the others.
    lines = [f"{number:03d}  {reel:<8} {_CHANNELS.get(media.audio_channels, 'AA/V'):<5} {'C':<8} {times}"]
    if media.audio_channels > 2:
        lines.append(f"AUD  {'  '.join(str(channel) for channel in range(3, min(media.audio_channels, 4) + 1))}")
    lines += [f"* FROM CLIP NAME: {one_line(media.name)}", f"* SOURCE FILE: {one_line(media.path)}"]
    if media.reel and media.reel != reel:
        lines.append(f"* COMMENT: REEL: {one_line(media.reel)}")
    handles = f", handles {event.head} and {event.tail}" if event.head or event.tail else ""
    state = clip_state_words(ClipState(clip.state))
    lines.append(f"* COMMENT: {clip_name(source, clip)} frames {clip.start_frame}..{clip.end_frame - 1}{handles} {state}")
    said = verdict(clip)
    lines.append(f"* LOC: {source.written(record + event.head)} {_COLOURS[said]:<7} {', '.join(labels(clip))}")
    return lines


def _ascii(text: str) -> str:
    """One line of ASCII."""
    return ascii_of(one_line(text))


def read_edl(text: str, video: ReadFor) -> ReadCutList:
    """The edits of a CMX 3600 list that have a picture, by their source timecode. It has no rate: it is read at that of the source video.

    Each timecode counts as the sign before its frames says; where a list has colons alone, as FCM says, and without FCM as the source video
    does. FCM is often that of the sequence: where fewer edits lie in the source video by it than as that one counts, it is not followed.
    """
    if _PYSCENEDETECT.search(text) and (video.rate.denominator != 1 or not video.is_constant):
        others = "FCPXML or OTIO" if video.is_constant else "which has their times"
        raise BadRequestError(
            "PySceneDetect counts the frames of its EDL from whole seconds of the clock, so they are not those of the cuts at the rate"
            f" {f'{float(video.rate):.6g}' if video.is_constant else 'of this source video, which varies'}: take its CSV, {others}"
        )
    shots = _shots(text)
    signed = _SIGNED.search(text) is not None
    day = frames_per_day(video.rate, drop_frame=video.drop_frame)
    notes: list[str] = []
    counts = [_counts(shot, video, False if signed else shot.drop) for shot in shots]
    if not signed and video.first_count and any(shot.drop not in (None, video.drop_frame) for shot in shots):
        as_source = [_counts(shot, video, video.drop_frame) for shot in shots]
        if _inside(as_source, video, day) > _inside(counts, video, day):
            counts = as_source
            notes.append(f"FCM is of the sequence: the timecodes of the source are {'drop' if video.drop_frame else 'non-drop'} frame.")
    edits, retimed = [], 0
    for shot, (start, end, record, record_end) in zip(shots, counts, strict=True):
        if shot.backwards and end < start:
            start, end = end, start
        retimed += (end - start - record_end + record) % day != 0
        # The first line of a transition has the shot that goes, without length.
        if end != start:
            edits.append(ReadEdit(where=shot.where, start=Fraction(start), end=Fraction(end), media=shot.media))
    if retimed:
        notes.append(
            f"{counted(retimed, 'edit')} {'plays' if retimed == 1 else 'play'} at another speed: the frames of the source are taken."
        )
    return ReadCutList(counting=Counting.COUNT, edits=tuple(edits), rate=video.rate, day=day, notes=tuple(notes))


@dataclass(slots=True)
class _Shot:
    """An event with a picture, as it is written. times: source in and out, record in and out. drop: what FCM says.

    is_transition: the shot that comes in a dissolve or wipe: comments behind it name the one that goes, then the one that comes.
    """

    where: str
    reel: str
    times: tuple[str, ...]
    is_transition: bool
    drop: bool | None
    names: tuple[str, ...] = ()
    comes: str | None = None
    backwards: bool = False

    @property
    def media(self) -> tuple[str, ...]:
        """Reels are cut short, so the names of files go before."""
        named = self.names if self.comes is None else (self.comes,)
        return named if self.reel.upper() == "AX" else (*named, self.reel)


def _shots(text: str) -> list[_Shot]:
    found: list[_Shot] = []
    drop: bool | None = None
    #: That to which comments belong; None behind an event without a picture.
    shot: _Shot | None = None
    for number, line in enumerate(lines_of(text), start=1):
        where = f"line {number}"
        if line.strip().upper().startswith("FCM:"):
            drop = "NON" not in line.upper()
        elif len(line) <= _LONGEST_EVENT and (event := _EVENT.fullmatch(line)):
            reel, channels, kind = event[2], event[3].upper(), event[4].upper()
            has_picture = reel.upper() not in _EMPTY_REELS and ("V" in channels or channels.startswith("B"))
            shot = _Shot(where, reel, event.groups()[4:8], kind[0] in "DW", drop) if has_picture else None
            if shot is not None:
                found.append(shot)
        elif shot is not None and (named := _NAME.fullmatch(line)):
            name = name_in(named[2])
            if named[1].upper() != "TO CLIP NAME":
                shot.names = (name, *shot.names)
            elif shot.is_transition:
                shot.comes = name
        elif shot is not None and (speed := _SPEED.fullmatch(line)):
            shot.backwards = speed[1].startswith("-")
        elif _LIKE_EVENT.match(line):
            raise BadRequestError(f"{where}: an event has four timecodes HH:MM:SS:FF: {line.strip()[:80]!r}")
    return found


def _counts(shot: _Shot, video: ReadFor, drop: bool | None) -> tuple[int, ...]:
    return tuple(_count(text, shot.where, video, drop) for text in shot.times)


def _inside(counts: Sequence[tuple[int, ...]], video: ReadFor, day: int) -> int:
    """How many edits lie in the source video."""
    length = int(video.places[-1])
    return sum((start - video.first_count) % day + (end - start) % day <= length for start, end, *_ in counts)


def _count(text: str, where: str, video: ReadFor, drop: bool | None) -> int:
    if ";" in text or "." in text:
        drop = True
    elif drop is None:
        drop = video.drop_frame
    try:
        return read_timecode(text, video.rate, drop_frame=drop and video.rate in DROP_FRAME_RATES, mend=True).frame
    except BadRequestError as error:
        raise BadRequestError(f"{where}: {error}") from error


CUT_LIST_FORMAT = CutListFormat(
    name="edl", title="EDL (CMX 3600)", suffix=".edl", write=edl_cut_list, in_zip=True, most_clips=MAX_EDL_EVENTS, read=read_edl
)
