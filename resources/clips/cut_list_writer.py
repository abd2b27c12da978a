"""Writes the cut list of a stored source video in one of the formats, from its rows and its frame index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np

from heaters_dagster.domain.cut_list_media import CutListMedia, MediaKind, path_under
from heaters_dagster.domain.cut_list_rates import (
    EDITING_RATES,
    constant_rate,
    count_of_beginning,
    drops_frames,
    first_count,
    frame_places,
    is_steady,
    place_at,
    rate_without_loss,
)
from heaters_dagster.domain.cut_lists import (
    CutListFormat,
    CutListSource,
    FcpxmlVersion,
    Gaps,
    TimelineRange,
    Verdict,
    timeline_range,
    verdict,
)
from heaters_dagster.domain.errors import HeatersError, NotFoundError
from heaters_dagster.domain.frame_index import FrameIndexHeader
from heaters_dagster.domain.ingest import SourceKind, s3_location, source_kind
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.subtitles import AUTOMATIC, PERSON, Line
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings
from resources.clips.source_times import timecodes_of
from resources.media.constant_rate import write_constant_rate
from resources.media.first_look import MediaProbe
from resources.media.frame_index_reader import FrameIndexes
from resources.media.proxy_bytes import open_proxy
from resources.media.timecode_reader import timecode_of_made
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ClipExport, ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_clocks import clocks_of
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.begun_uploads import source_of_upload

_PROXY_CHANNELS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListChoices:
    """What a person chooses about a list.

    media: which files it names. root: their folder on the editing program's machine; None: where they are on this machine, or their names
    alone when they are in a bucket. handles: frames more at each end of a clip. only: the verdicts of the clips that are listed; none for
    all. names: clip id -> name of its file, for MediaKind.CLIPS; None: the names of the exports. companion: the path of a file of a
    constant rate that is named instead of the original. names_alone: never a path of this machine, for people elsewhere. fcpxml_version:
    of a list in that format.
    """

    media: MediaKind = MediaKind.ORIGINAL
    root: str | None = None
    handles: int = 0
    gaps: Gaps = Gaps.CLOSE
    only: frozenset[Verdict] = frozenset()
    names: Mapping[int, str] | None = None
    companion: str | None = None
    names_alone: bool = False
    fcpxml_version: FcpxmlVersion = FcpxmlVersion.V1_8


@dataclass(frozen=True, slots=True)
class WrittenCutList:
    """texts: of each of its files, several when one cannot hold all clips. warnings: what the reader must know, a sentence each."""

    texts: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatheredCutList:
    """All that a cut list says, to be written in any format: what it needs of files and rows is read once."""

    source: CutListSource
    clips: tuple[Clip, ...]
    warnings: tuple[str, ...] = ()

    def written(self, chosen: CutListFormat) -> WrittenCutList:
        """Raises BadRequestError when the format cannot hold these clips."""
        return WrittenCutList(tuple(chosen.write(self.source, part) for part in chosen.parts(self.clips)), self.warnings)


def stored_cut_list(
    source_video_id: int,
    form: str,
    choices: CutListChoices = CutListChoices(),
    *,
    database: Database,
    settings: Settings,
    objects: ObjectStore | None = None,
) -> WrittenCutList:
    """The cut list of a source video in the format named `form`.

    Raises UnknownNameError when there is no such format, BadRequestError when the format cannot hold these clips, and what
    `gathered_cut_list` raises.
    """
    chosen = CUT_LIST_FORMATS.load(form)
    return gathered_cut_list(source_video_id, choices, database=database, settings=settings, objects=objects).written(chosen)


def gathered_cut_list(
    source_video_id: int,
    choices: CutListChoices = CutListChoices(),
    *,
    database: Database,
    settings: Settings,
    objects: ObjectStore | None = None,
) -> GatheredCutList:
    """What the cut list of a source video says.

    Raises NotFoundError when it has no clips yet, or none of those asked for, or its file is not there; BadRequestError for choices that
    no list can have.
    """
    video, clips = _with_clips(source_video_id, database)
    objects = objects or open_object_store(settings)
    indexes = FrameIndexes(objects)
    rate, warnings = list_rate(video, clips, indexes)
    if choices.companion is not None:
        warnings = ()
    listed = [clip for clip in clips if not choices.only or verdict(clip) in choices.only]
    if choices.media is MediaKind.CLIPS:
        listed = [clip for clip in listed if (clip.id in choices.names if choices.names is not None else clip.clip_filepath)]
    if not listed:
        asked = " or ".join(sorted(choices.only)) or "no"
        files = " with an exported file" if choices.media is MediaKind.CLIPS else ""
        raise NotFoundError(f"source video {source_video_id} has no {asked if choices.only else ''} clip{files}".replace("  ", " "))
    header = indexes.header(source_video_id)
    facts = FactsStore(database).load(source_video_id)
    time, is_read = _time_of_file(video, facts, choices.media, objects)
    if time is not None and not is_read and choices.companion is None:
        name = "gold master" if choices.media is MediaKind.MASTER else "proxy"
        warnings += (
            f"The {name} of {video.title} cannot be read now, as it is while it lies in cold storage: the list has the timecode of the"
            " source video. If somebody has corrected that since the file was made, the file has another one.",
        )
    whole = _whole(video, header, clips, rate, (time, facts.reel), choices, _file(video, choices.media, objects, settings))
    of_clips: dict[int, CutListMedia] = {}
    drops = drops_frames(time, rate) and choices.companion is None
    if choices.media is MediaKind.CLIPS:
        exports = ExportStore(database).of_clips([clip.id for clip in listed])
        times = {clip.id: _time_of_clip(clip, exports[clip.id], rate, objects) for clip in listed}
        drops = any(drops_frames(one, rate) for one in times.values())
        held = {clip.id: place_of_file(clip, exports[clip.id], rate, indexes) for clip in listed}
        of_clips = _of_clips(listed, whole, rate, times, held, choices, objects)
    source = CutListSource(
        id=video.id,
        title=video.title,
        media=whole,
        clip_media=of_clips,
        frame_rate=rate,
        width=round(header.width * header.sample_aspect_ratio),
        height=header.height,
        drop_frame=drops,
        handles=choices.handles,
        gaps=choices.gaps,
        # Clips and a companion do not begin where the source video does: what they have of a timecode is told of each file.
        facts=replace(facts, start_timecode=None, timecode_rate=None) if of_clips or choices.companion is not None else facts,
        lines=tuple(_first_subtitles(TranscriptStore(database), source_video_id)),
        timecodes=timecodes_of(listed, clocks_of([video.id], database=database), indexes),
        fcpxml_version=choices.fcpxml_version,
    )
    return GatheredCutList(source, tuple(listed), warnings)


def list_rate(video: SourceVideo, clips: Sequence[Clip], indexes: FrameIndexes) -> tuple[Fraction, tuple[str, ...]]:
    """The rate of the list, and a warning when the source video has none that is constant. clips: at least one."""
    header = indexes.header(video.id)
    begins = min(clip.start_time_seconds for clip in clips)
    duration = header.end_pts * header.time_base - Fraction(begins)
    average = Fraction(header.frame_count) / duration if duration else Fraction(25)
    edges = [(0, begins), *((clip.end_frame, clip.end_time_seconds) for clip in clips)]
    probe = _probe(video)
    found = constant_rate(average, edges, stated=probe.video.average_frame_rate if probe else None)
    if found in EDITING_RATES:
        return found, ()
    index = indexes.load(video.id)
    if found is not None and is_steady(index.pts, header.time_base, found):
        return found, ()
    rate, lost = rate_without_loss(index.pts, header.time_base)
    told = f" {counted(lost, 'frame')} cannot be told from their neighbours at this rate." if lost else ""
    return rate, (
        f"{video.title} has a variable frame rate: the list counts at the constant rate {float(rate):.6g}, and an editing program may show"
        f" other frames of a file whose rate varies.{told} With --companion there is a file of that constant rate, which fits exactly.",
    )


def write_companion(source_video_id: int, target: Path, *, database: Database, settings: Settings) -> bool:
    """Write the file of a constant rate that lists of this source video fit exactly; False when its rate is constant already.

    Raises NotFoundError when it has no clips yet.
    """
    objects = open_object_store(settings)
    indexes = FrameIndexes(objects)
    video, clips = _with_clips(source_video_id, database)
    rate, warnings = list_rate(video, clips, indexes)
    if not warnings:
        return False
    index = indexes.load(source_video_id)
    pts = np.append(index.pts, index.header.end_pts)
    source = open_proxy(objects, video.proxy_filepath or proxy_key(source_video_id))
    write_constant_rate(source, target, frame_places(pts, index.header.time_base, rate), rate)
    return True


def _with_clips(source_video_id: int, database: Database) -> tuple[SourceVideo, Sequence[Clip]]:
    """The source video and its live clips. Raises NotFoundError when it is not there or has none yet."""
    video = SourceVideoStore(database).load(source_video_id)
    clips = ClipStore(database).load_live(source_video_id)
    if not clips:
        raise NotFoundError(f"source video {source_video_id} has no clips yet (its state: {video.state})")
    return video, clips


def _probe(video: SourceVideo) -> MediaProbe | None:
    return MediaProbe.from_json(dict(video.probe)) if video.probe else None


def _time_of_file(video: SourceVideo, facts: SourceFacts, kind: MediaKind, objects: ObjectStore) -> tuple[SourceTime | None, bool]:
    """The timecode that the file itself has, because an editing program finds a file only at its own; and whether it was read.

    Of a file that cannot be read now, as in cold storage, where gold masters are by default: that of the source video, which it was given.
    """
    if kind is MediaKind.ORIGINAL:
        return facts.usable_source_time(video.frame_rate), True
    key = video.gold_master_filepath if kind is MediaKind.MASTER else video.proxy_filepath
    if key is None or kind is MediaKind.CLIPS:
        return None, True
    try:
        return timecode_of_made(open_proxy(objects, key), video.frame_rate or Fraction(25)), True
    except (HeatersError, av.FFmpegError, OSError):
        return facts.usable_source_time(video.frame_rate), False


def _time_of_clip(clip: Clip, exports: Sequence[ClipExport], rate: Fraction, objects: ObjectStore) -> SourceTime | None:
    """The timecode in the exported file of a clip; of one that cannot be read now: what its manifest says that it was given."""
    if clip.clip_filepath is None:
        return None
    try:
        return timecode_of_made(open_proxy(objects, clip.clip_filepath), rate)
    except (HeatersError, av.FFmpegError, OSError):
        told = _manifest_of(clip, exports)
        given = SourceFacts(start_timecode=told.get("first_timecode"), timecode_rate=told.get("timecode_rate"))
        return given.usable_source_time(rate)


def _manifest_of(clip: Clip, exports: Sequence[ClipExport]) -> Mapping[str, Any]:
    """Of the file that a list names."""
    return next((export.manifest for export in exports if export.key == clip.clip_filepath), {})


def _whole(
    video: SourceVideo,
    header: FrameIndexHeader,
    clips: Sequence[Clip],
    rate: Fraction,
    clock: tuple[SourceTime | None, str | None],
    choices: CutListChoices,
    file: tuple[str, str | None],
) -> CutListMedia:
    """The file of the whole source video that the list names. clock: its timecode, and the reel. file: its name, and its path here."""
    (name, place), (time, reel) = file, clock
    if choices.companion is not None:
        name, place = PurePosixPath(choices.companion).name, choices.companion
    path = path_under(choices.root, name) if choices.root is not None or place is None or choices.names_alone else place
    probe = _probe(video)
    sounds = probe.audio if probe else ()
    heard = [stream for stream in sounds if stream.channels > 0 and stream.sample_rate > 0]
    own_sound = choices.media in (MediaKind.ORIGINAL, MediaKind.MASTER) and choices.companion is None
    used = probe.used_audio if probe else None
    channels = sum(stream.channels for stream in heard) if own_sound else min(used.channels if used else 0, _PROXY_CHANNELS)
    frame_0 = min(timeline_range(clip, rate).start for clip in clips)
    return CutListMedia(
        name=name,
        path=path,
        length_frames=max(timeline_range(clip, rate).end for clip in clips),
        # A file of a constant rate is made here, and has no timecode.
        first_frame=count_of_beginning(time, rate, frame_0) if choices.companion is None else 0,
        reel=reel,
        audio_channels=(channels or (0 if probe else _PROXY_CHANNELS)) if header.has_audio or own_sound else 0,
        audio_rate=used.sample_rate if used and own_sound else 48_000,
    )


def _file(video: SourceVideo, kind: MediaKind, objects: ObjectStore, settings: Settings) -> tuple[str, str | None]:
    """The name of a source video's file, and its path when it is on this machine."""
    keys = {MediaKind.ORIGINAL: video.original_filepath, MediaKind.MASTER: video.gold_master_filepath}
    key = keys.get(kind, video.proxy_filepath or proxy_key(video.id))
    if key is None:
        what = "original" if kind is MediaKind.ORIGINAL else "gold master"
        raise NotFoundError(f"the {what} of source video {video.id} is not stored: choose another file with --media, as proxy")
    stored = objects.local_path(key)
    place = str(stored) if stored is not None else None
    submitted = submitted_path(video, settings) if kind is MediaKind.ORIGINAL else None
    if submitted is None:
        return PurePosixPath(key).name, place
    return submitted.name, str(submitted) if submitted.is_absolute() and Path(submitted).exists() else place


def submitted_path(video: SourceVideo, settings: Settings) -> PurePosixPath | None:
    """The file that somebody submitted, which an editor has under the same name: its path on this machine, or the key of an object.

    None for downloads and uploads: they have only the name that Heaters gave them.
    """
    kind = source_kind(video.source)
    path = PurePosixPath(s3_location(video.source)[1] if kind is SourceKind.S3_ADDRESS else video.source)
    uploaded = source_of_upload(path.name, settings) == video.source
    return None if kind is SourceKind.WEB_ADDRESS or uploaded or not path.suffix else path


def _of_clips(
    clips: Sequence[Clip],
    whole: CutListMedia,
    rate: Fraction,
    times: Mapping[int, SourceTime | None],
    places: Mapping[int, TimelineRange],
    choices: CutListChoices,
    objects: ObjectStore,
) -> dict[int, CutListMedia]:
    """Clip id -> its exported file. times: the timecode in it. places: what it has of the source video."""
    found = {}
    for clip in clips:
        place = places[clip.id]
        if choices.names is not None:
            name = path = choices.names[clip.id]
        else:
            assert clip.clip_filepath is not None
            name = PurePosixPath(clip.clip_filepath).name
            stored = objects.local_path(clip.clip_filepath) if choices.root is None and not choices.names_alone else None
            path = str(stored) if stored is not None else path_under(choices.root, name)
        found[clip.id] = CutListMedia(
            name=name,
            path=path,
            length_frames=place.length,
            begins_at=place.start,
            first_frame=first_count(times[clip.id], rate),
            reel=whole.reel,
            audio_channels=min(whole.audio_channels, _PROXY_CHANNELS),
        )
    return found


def place_of_file(clip: Clip, exports: Sequence[ClipExport], rate: Fraction, indexes: FrameIndexes) -> TimelineRange:
    """What the exported file of a clip has of the source video: all of the clip, or without the transitions at its ends."""
    told = _manifest_of(clip, exports)
    start, end = told.get("start_frame", clip.start_frame), told.get("end_frame", clip.end_frame)
    if (start, end) == (clip.start_frame, clip.end_frame):
        return timeline_range(clip, rate)
    first, last = (place_at(seconds, rate) for seconds in indexes.times(clip.source_video_id, [start, end]))
    return TimelineRange(first, max(first + 1, last))


def _first_subtitles(transcripts: TranscriptStore, source_video_id: int) -> list[Line]:
    """Those that people wrote before those that a machine made."""
    known = sorted(transcripts.of_video(source_video_id), key=lambda one: (one.kind == AUTOMATIC, one.origin != PERSON, one.id))
    return transcripts.lines(known[0].id) if known else []
