"""Cut lists as EDL (CMX 3600), which nearly every editing program reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
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
#: number, reel, channels, transition with its length, source in and out, record in and out.
_EVENT = re.compile(
    r"\s*(\d+)\s+(\S+)\s+(\S+)\s+([CDWK]\S*)(?:\s+(?:[BFO]\s+)?\d+)?" + rf"\s+{_TIMECODE}" * 4 + r"\s*",
)
_NAME = re.compile(r"\*?\s*(?:FROM CLIP NAME|FROM CLIP|FROM FILE|SOURCE FILE)\s*:\s*(.+?)\s*")
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

    Each timecode counts as the sign before its frames says; where that is a colon, as FCM says, and without FCM as the source video does.
    """
    drop: bool | None = None
    day = frames_per_day(video.rate, drop_frame=video.drop_frame)
    edits: list[ReadEdit] = []
    retimed, taken = 0, False
    for number, line in enumerate(lines_of(text), start=1):
        where = f"line {number}"
        if line.strip().upper().startswith("FCM:"):
            drop = "NON" not in line.upper()
        elif event := _EVENT.fullmatch(line):
            reel, channels, taken = event[2], event[3].upper(), False
            if reel.upper() in _EMPTY_REELS or not ("V" in channels or channels.startswith("B")):
                continue
            start, end, record, record_end = (_count(event[part], where, video, drop) for part in (5, 6, 7, 8))
            retimed += (end - start - record_end + record) % day != 0
            # The first line of a transition has the shot that goes, without length.
            if end != start:
                taken = True
                edits.append(ReadEdit(where=where, start=Fraction(start), end=Fraction(end), media=() if reel == "AX" else (reel,)))
        elif (named := _NAME.fullmatch(line)) and taken:
            # Reels are cut short, so the names of files go before.
            edits[-1] = replace(edits[-1], media=(name_in(named[1]), *edits[-1].media))
        elif re.match(r"\s*\d+\s+\S+\s+\S+\s+[CDWK]", line):
            raise BadRequestError(f"{where}: an event has four timecodes HH:MM:SS:FF: {line.strip()[:80]!r}")
    told = f"{counted(retimed, 'edit')} {'plays' if retimed == 1 else 'play'} at another speed: the frames of the source are taken."
    return ReadCutList(counting=Counting.COUNT, edits=tuple(edits), rate=video.rate, day=day, notes=(told,) if retimed else ())


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
