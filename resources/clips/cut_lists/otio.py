"""Cut lists as OpenTimelineIO JSON. The library is imported only when a list is written or read: it takes long to load."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

from heaters_dagster.domain.cut_list_media import CutListMedia, reels_of
from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, name_in
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


def read_otio(text: str, video: ReadFor) -> ReadCutList:
    """The clips on the picture's tracks. Where each file tells its available range they count from that, else they are timecode."""
    import opentimelineio as otio

    try:
        timeline = otio.adapters.read_from_string(text, "otio_json")
    except Exception as error:  # any exception: the library raises its own, and those of JSON
        raise BadRequestError(f"the file is no OpenTimelineIO: {' '.join(str(error).split())[:200]}") from error
    if not hasattr(timeline, "find_clips"):
        raise BadRequestError("the file is OpenTimelineIO, but has no timeline")
    tracks = timeline.video_tracks() if isinstance(timeline, otio.schema.Timeline) else [timeline]
    clips = [clip for track in tracks for clip in track.find_clips() if isinstance(clip.media_reference, otio.schema.ExternalReference)]
    told = all(clip.media_reference.available_range is not None for clip in clips)
    rate = timeline_rate(Fraction(clips[0].trimmed_range().start_time.rate)) if clips else None
    edits = []
    for number, clip in enumerate(clips, start=1):
        media = clip.media_reference
        span = clip.trimmed_range() if clip.source_range is not None or told else None
        if span is None:
            raise BadRequestError(f"clip {number} ({clip.name}): it has no range")
        start, length = _seconds(span.start_time), _seconds(span.duration)
        begin = _seconds(media.available_range.start_time) if told else Fraction(0)
        unit = Fraction(1) if told or rate is None else rate
        edits.append(
            ReadEdit(
                where=f"clip {number}",
                start=(start - begin) * unit,
                end=(start - begin + length) * unit,
                media=tuple(dict.fromkeys(name for name in (name_in(unquote(media.target_url or "")), clip.name) if name)),
            )
        )
    return ReadCutList(counting=Counting.SECONDS if told else Counting.COUNT, edits=tuple(edits), rate=rate)


def _seconds(time: Any) -> Fraction:
    return Fraction(time.value) / timeline_rate(Fraction(time.rate))


CUT_LIST_FORMAT = CutListFormat(name="otio", title="OpenTimelineIO", suffix=".otio", write=otio_cut_list, in_zip=True, read=read_otio)
