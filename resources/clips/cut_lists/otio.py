"""Cut lists as OpenTimelineIO JSON. The library is imported only when a list is written: it takes long to load."""

from __future__ import annotations

from collections.abc import Sequence

from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, timeline_range, timeline_rate
from heaters_dagster.domain.fact_fields import chapter_at, delivered


def otio_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An OpenTimelineIO timeline that plays `clips` one after another; the metadata of each has, under `heaters`, what Heaters knows."""
    import opentimelineio as otio

    rate = timeline_rate(source.frame_rate)

    def time(frames: int) -> otio.opentime.RationalTime:
        return otio.opentime.RationalTime(frames, float(rate))

    held = max([round(source.duration_seconds * rate), *(timeline_range(clip, rate).end for clip in clips)])
    about: dict[str, object] = {"source_video_id": source.id, "frame_rate": str(rate)}
    if known := delivered(source.facts):
        about["facts"] = known
    timeline = otio.schema.Timeline(name=source.title, metadata={"heaters": about})
    kinds = [otio.schema.TrackKind.Video, otio.schema.TrackKind.Audio][: 2 if source.has_audio else 1]
    for kind in kinds:
        track = otio.schema.Track(name=kind, kind=kind)
        for clip in clips:
            place = timeline_range(clip, rate)
            track.append(
                otio.schema.Clip(
                    name=clip_name(source, clip),
                    media_reference=otio.schema.ExternalReference(
                        target_url=source.media_url, available_range=otio.opentime.TimeRange(time(0), time(held))
                    ),
                    source_range=otio.opentime.TimeRange(time(place.start), time(place.length)),
                    metadata={"heaters": _known(source, clip)},
                )
            )
        timeline.tracks.append(track)
    return str(otio.adapters.write_to_string(timeline, "otio_json")) + "\n"


def _known(source: CutListSource, clip: CutListClip) -> dict[str, object]:
    values: dict[str, object] = {
        "id": clip.id,
        "sequence": clip.sequence,
        "start_frame": clip.start_frame,
        "end_frame": clip.end_frame,
        "start_time_seconds": clip.start_time_seconds,
        "end_time_seconds": clip.end_time_seconds,
        "state": str(clip.state),
        "confidence": clip.confidence,
        "grouped_with_clip_id": clip.grouped_with_clip_id,
        "clip_filepath": clip.clip_filepath,
        "chapter": chapter_at(source.facts.chapters, clip.start_time_seconds),
        "subtitles": source.said_in(clip),
    }
    return {name: value for name, value in values.items() if value is not None}


CUT_LIST_FORMAT = CutListFormat(name="otio", title="OpenTimelineIO", suffix=".otio", write=otio_cut_list)
