"""Cut lists as OpenTimelineIO JSON. The library is imported only when a list is written or read: it takes long to load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from heaters_dagster.domain.cut_list_media import CutListMedia, reels_of
from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, name_in, notes_on_clips
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
from heaters_dagster.domain.fact_fields import chapter_at, delivered
from heaters_dagster.domain.timecode import timeline_rate

_COLOURS = {Verdict.APPROVED: "GREEN", Verdict.PENDING: "YELLOW", Verdict.SKIPPED: "RED", Verdict.ARCHIVED: "RED"}


def otio_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An OpenTimelineIO timeline that plays `clips`; the metadata of each has, under `heaters`, what Heaters knows.

    Ranges are those of the files' timecode. A clip's name is its file's, by which Resolve finds the file. Under `cmx_3600` stands the reel.
    """
    import opentimelineio as otio

    rate = float(source.frame_rate)

    def span(start: int, frames: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))

    def reference(media: CutListMedia) -> otio.schema.ExternalReference:
        found = otio.schema.ExternalReference(target_url=media.address, available_range=span(media.first_frame, media.length_frames))
        found.name = media.name
        return found

    placed = events(source, clips)
    reels = reels_of([source.media, *source.clip_media.values()])
    about: dict[str, object] = {"source_video_id": source.id, "frame_rate": str(source.frame_rate), "drop_frame": source.drop_frame}
    if known := delivered(source.facts):
        about["facts"] = known
    begin = otio.opentime.RationalTime(source.timeline_start, rate)
    timeline = otio.schema.Timeline(name=source.title, global_start_time=begin, metadata={"heaters": about})
    kinds = [otio.schema.TrackKind.Video]
    if any(event.media.audio_channels for event in placed) or (not placed and source.media.audio_channels):
        kinds.append(otio.schema.TrackKind.Audio)
    for kind in kinds:
        track, reached = otio.schema.Track(name=kind, kind=kind), 0
        for event in placed:
            if event.record > reached:
                track.append(otio.schema.Gap(source_range=span(0, event.record - reached)))
            reached = event.record_end
            clip = otio.schema.Clip(
                name=event.media.name,
                media_reference=reference(event.media),
                source_range=span(event.source_start, event.length),
                metadata={"heaters": _known(source, event), "cmx_3600": {"reel": reels[event.media.path]}},
            )
            if kind == otio.schema.TrackKind.Video:
                said = verdict(event.clip)
                mark = otio.schema.Marker(marked_range=span(event.source_start + event.head, 1), color=_COLOURS[said])
                mark.name = ", ".join(labels(event.clip))
                clip.markers.append(mark)
            track.append(clip)
        timeline.tracks.append(track)
    return str(otio.adapters.write_to_string(timeline, "otio_json")) + "\n"


def _known(source: CutListSource, event: CutListEvent) -> dict[str, object]:
    clip = event.clip
    values: dict[str, object] = {
        "id": clip.id,
        "sequence": clip.sequence,
        "name": clip_name(source, clip),
        "start_frame": clip.start_frame,
        "end_frame": clip.end_frame,
        "start_time_seconds": clip.start_time_seconds,
        "end_time_seconds": clip.end_time_seconds,
        "state": str(clip.state),
        "verdict": str(verdict(clip)),
        "cut": transition.to_json() if (transition := clip.transition) else None,
        "confidence": clip.confidence,
        "grouped_with_clip_id": clip.grouped_with_clip_id,
        "clip_filepath": clip.clip_filepath,
        "chapter": chapter_at(source.facts.chapters, clip.start_time_seconds),
        "subtitles": source.said_in(clip),
        "handles": [event.head, event.tail] if event.head or event.tail else None,
        "reel": event.media.reel,
    }
    return {name: value for name, value in values.items() if value is not None}


#: 24000/1001 is this part off, where it is written as 23.976; twice that.
_AS_A_DECIMAL = Fraction(2, 1_000_000)
#: PySceneDetect tells of every file that it has so many frames.
_PYSCENEDETECT_FRAMES = 1980
#: The library reads what lies in one another by calls in one another, and would be ended by the system.
_DEEPEST = 500
_STRINGS_OR_EDGES = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def read_otio(text: str, video: ReadFor) -> ReadCutList:
    """The clips on the picture's tracks. Where each file tells its available range they count from that, else they are timecode.

    Clips without a file are taken where there are no others, as in timelines that were made from an EDL.
    """
    import opentimelineio as otio

    if _depth(text) > _DEEPEST:
        raise BadRequestError(f"the file is no OpenTimelineIO: its parts lie more than {_DEEPEST} deep in one another")
    try:
        timeline = otio.adapters.read_from_string(text, "otio_json")
    except Exception as error:  # any exception: the library raises its own, and those of JSON
        raise BadRequestError(f"the file is no OpenTimelineIO: {' '.join(str(error).split())[:200]}") from error
    if not hasattr(timeline, "find_clips"):
        raise BadRequestError("the file is OpenTimelineIO, but has no timeline")
    pictures = [clip for clip in timeline.find_clips() if not any(getattr(one, "kind", None) == "Audio" for one in _around(clip))]
    clips = [clip for clip in pictures if isinstance(clip.media_reference, otio.schema.ExternalReference)]
    clips = clips or [clip for clip in pictures if isinstance(clip.media_reference, otio.schema.MissingReference)]
    listed = len(clips)
    clips = [clip for clip in clips if all(getattr(one, "enabled", True) for one in (clip, *_around(clip)))]
    told = all(clip.media_reference.available_range is not None for clip in clips)
    as_written = told and not video.is_constant
    edits, retimed, rate = [], 0, None
    for number, clip in enumerate(clips, start=1):
        where, media = f"clip {number}", clip.media_reference
        if clip.source_range is None and not told:
            raise BadRequestError(f"{where} ({clip.name}): it has no range")
        try:
            span = _shown(clip)
            if span is None:
                continue
            begin = _seconds(media.available_range.start_time, as_written) if told else Fraction(0)
            start, length = _seconds(span.start_time, as_written) - begin, _seconds(span.duration, as_written)
            rate = rate or _rate(span.start_time.rate, as_written)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise BadRequestError(f"{where} ({clip.name}): its range is no time: {error}") from error
        retimed += any(isinstance(effect, otio.schema.TimeEffect) for one in (clip, *_around(clip)) for effect in one.effects)
        unit = Fraction(1) if told else rate
        named = (name_in(unquote(getattr(media, "target_url", None) or "")), clip.name)
        edits.append(
            ReadEdit(
                where=where, start=start * unit, end=(start + length) * unit, media=tuple(dict.fromkeys(name for name in named if name))
            )
        )
    notes = notes_on_clips(disabled=listed - len(clips), retimed=retimed)
    return ReadCutList(
        counting=Counting.SECONDS if told else Counting.COUNT,
        edits=tuple(edits),
        rate=rate,
        notes=tuple(notes),
        ends_as_stated=told and all(clip.media_reference.available_range.duration.value == _PYSCENEDETECT_FRAMES for clip in clips),
    )


def _depth(text: str) -> int:
    depth = deepest = 0
    for part in _STRINGS_OR_EDGES.finditer(text):
        if part[0] in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif part[0] in ("]", "}"):
            depth -= 1
    return deepest


def _around(clip: Any) -> list[Any]:
    """The tracks and stacks in which a clip lies, the nearest first."""
    found = []
    while (clip := clip.parent()) is not None:
        found.append(clip)
    return found


def _shown(clip: Any) -> Any:
    """The range of a clip's file that is seen: tracks and stacks in which it lies may show a part of it. None: nothing."""
    seen = clip.trimmed_range()
    for parent in _around(clip):
        if parent.source_range is not None:
            limits = parent.transformed_time_range(parent.source_range, clip)
            first, end = max(seen.start_time, limits.start_time), min(seen.end_time_exclusive(), limits.end_time_exclusive())
            if end <= first:
                return None
            seen = type(seen)(first, end - first)
    return seen


def _seconds(time: Any, as_written: bool) -> Fraction:
    return Fraction(time.value) / _rate(time.rate, as_written)


@lru_cache(maxsize=64)
def _rate(written: float, as_written: bool) -> Fraction:
    """Each time of a list has its rate, and nearly always the same one.

    as_written: of a file whose rate varies: its average may lie beside a common rate, and an hour at 29.9985 taken for 30 is 0.18 s off.
    """
    if not written > 0:
        raise ValueError(f"a rate of {written:g}")
    exact = Fraction(written)
    common = timeline_rate(exact)
    return exact if as_written and abs(common - exact) > common * _AS_A_DECIMAL else common


CUT_LIST_FORMAT = CutListFormat(name="otio", title="OpenTimelineIO", suffix=".otio", write=otio_cut_list, in_zip=True, read=read_otio)
