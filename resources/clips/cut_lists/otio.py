"""Cut lists as OpenTimelineIO JSON. The library is imported only when a list is written or read: it takes long to load."""

from __future__ import annotations

from collections.abc import Sequence

from heaters_dagster.domain.cut_list_media import CutListMedia, reels_of
from heaters_dagster.domain.cut_lists import (
    CutListClip,
    CutListEvent,
    CutListFormat,
    CutListSource,
    Verdict,
    clip_name,
    events,
    verdict,
)
from heaters_dagster.domain.fact_fields import chapter_at, delivered

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
                clip.markers.append(
                    otio.schema.Marker(name=str(said), marked_range=span(event.source_start + event.head, 1), color=_COLOURS[said])
                )
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
        "confidence": clip.confidence,
        "grouped_with_clip_id": clip.grouped_with_clip_id,
        "clip_filepath": clip.clip_filepath,
        "chapter": chapter_at(source.facts.chapters, clip.start_time_seconds),
        "subtitles": source.said_in(clip),
        "handles": [event.head, event.tail] if event.head or event.tail else None,
        "reel": event.media.reel,
    }
    return {name: value for name, value in values.items() if value is not None}


CUT_LIST_FORMAT = CutListFormat(name="otio", title="OpenTimelineIO", suffix=".otio", write=otio_cut_list, in_zip=True)
