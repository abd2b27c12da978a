"""The approved clips of a source video as one zip. It is made while it is sent, so it is never on disk and never whole in memory."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, StoreUnavailableError
from heaters_dagster.domain.fact_fields import chapter_at
from heaters_dagster.domain.source_facts import SourceFacts, json_of_value
from heaters_dagster.domain.states import APPROVED_STATES
from heaters_dagster.domain.subtitles import TimedLines
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings
from resources.clips.cut_list_writer import CutListChoices, gathered_cut_list
from resources.clips.source_times import timecodes_of
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_clocks import clocks_of
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import Transcript, TranscriptStore

#: Bytes of one read; with a bucket each read is one request.
_RANGE_BYTES = 8 * 1024**2
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_LONGEST_TITLE = 100


@dataclass(frozen=True, slots=True)
class ZippedFile:
    """One exported clip, or what belongs to its source video. name: its name in the zip. key: its object key."""

    name: str
    key: str
    byte_size: int


@dataclass(frozen=True, slots=True)
class ClipsZip:
    """name: the file name of the zip. texts: {name in the zip: content}. files: the clips, in order, then subtitles and thumbnail."""

    name: str
    texts: dict[str, str]
    files: tuple[ZippedFile, ...]

    def chunks(self, objects: ObjectStore) -> Iterator[bytes]:
        """The zip's bytes: without compression, because video does not get smaller, and with 64-bit sizes.

        Raises StoreUnavailableError when a file changes while the zip is sent: the receiver then sees that the zip is incomplete.
        """
        sink = _Sink()
        now = time.localtime()[:6]
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, text in self.texts.items():
                archive.writestr(zipfile.ZipInfo(name, now), text)
                yield sink.taken()
            for file in self.files:
                with archive.open(zipfile.ZipInfo(file.name, now), "w", force_zip64=True) as entry:
                    for start in range(0, file.byte_size, _RANGE_BYTES):
                        end = min(start + _RANGE_BYTES, file.byte_size)
                        data = objects.get_range(file.key, start, end)
                        if len(data) != end - start:
                            raise StoreUnavailableError(f"{file.key} was changed while it was sent")
                        entry.write(data)
                        yield sink.taken()
        yield sink.taken()


class _Sink:
    """The output for a ZipFile. It cannot be rewound, so the size of each file is written after it, not before."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def clips_zip(source_video_id: int, *, database: Database, objects: ObjectStore, settings: Settings) -> ClipsZip:
    """The zip of all approved clips that have a file. Raises NotFoundError when there is none."""
    store = ClipStore(database)
    video = SourceVideoStore(database).load(source_video_id)
    approved = [clip for clip in store.load_live(source_video_id) if clip.state in APPROVED_STATES]
    title = file_name(video.title)
    exports = ExportStore(database).of_clips([clip.id for clip in approved])
    files: list[ZippedFile] = []
    described = []
    known = FactsStore(database).load(source_video_id)
    subtitles = [(one, TranscriptStore(database).lines(one.id)) for one in TranscriptStore(database).of_video(source_video_id)]
    timed = [(one, TimedLines(lines)) for one, lines in subtitles]
    named: dict[int, str] = {}
    timecodes = timecodes_of(approved, clocks_of([video.id], database=database), FrameIndexes(objects))
    for clip in approved:
        about: dict[str, Any] = {
            "clip": clip.sequence,
            "clip_id": clip.id,
            "start_frame": clip.start_frame,
            "end_frame": clip.end_frame,
            "start_seconds": clip.start_time_seconds,
            "end_seconds": clip.end_time_seconds,
            "first_timecode": timecodes[clip.id].first if clip.id in timecodes else None,
            "last_timecode": timecodes[clip.id].last if clip.id in timecodes else None,
            "file": None,
            "proof": None,
            "exports": [],
            "chapter": chapter_at(known.chapters, clip.start_time_seconds),
            "subtitles": [
                {"language": one.language, "kind": one.kind, "lines": [asdict(line) for line in said]}
                for one, lines in timed
                if (said := lines.between(clip.start_time_seconds, clip.end_time_seconds))
            ],
        }
        # The first export, from which all else is made, is the clip's file; the others have their profile in the name.
        for export in sorted(exports[clip.id], key=lambda export: (export.key != clip.clip_filepath, export.profile)):
            found = objects.info(export.key) if export.key is not None and export.has_file else None
            if export.key is None or found is None:
                continue
            is_first = export.key == clip.clip_filepath
            file = name_in_zip(video.title, clip.sequence, ("" if is_first else f" {export.profile}") + PurePosixPath(export.key).suffix)
            files.append(ZippedFile(file, export.key, found.byte_size))
            about["exports"].append({"profile": export.profile, "file": file, "proof": dict(export.manifest)})
            if is_first:
                about |= {"file": file, "proof": dict(export.manifest)}
                named[clip.id] = file
        described.append(about)
    if not files:
        raise NotFoundError(f"{video.title} has no exported clips yet; {counted(len(approved), 'clip is', 'clips are')} approved")
    about_video = {"source_video_id": video.id, "title": video.title, "facts": _facts_of(known)}
    manifest = {**about_video, **_belongings(title, known, [one for one, _ in subtitles], files, objects), "clips": described}
    texts: dict[str, str] = {}
    notes: list[str] = []
    choices = CutListChoices(media=MediaKind.CLIPS, names=named)
    gathered = gathered_cut_list(video.id, choices, database=database, settings=settings, objects=objects) if named else None
    for form in CUT_LIST_FORMATS.usable():
        if form.in_zip and gathered is not None:
            try:
                parts = gathered.written(form).texts
            except BadRequestError as error:  # the clips are what people came for
                notes.append(f"There is no cut list in the format {form.name} ({form.title}): {error}. The other files have all clips.")
                continue
            names = form.file_names(title, len(parts))
            texts |= dict(zip(names, parts, strict=True))
            if len(parts) > 1:
                most, files_told = counted(form.most_clips or 1, "clip"), counted(len(parts), "file")
                notes.append(
                    f"One file in the format {form.name} ({form.title}) holds up to {most}, so this cut list is in {files_told}, in order:"
                    f" {', '.join(names)}. Each is a timeline of its own, which begins with its first clip."
                )
    if notes:
        texts[f"{title} read me.txt"] = "\n".join(notes) + "\n"
    texts[f"{title} manifest.json"] = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    return ClipsZip(f"{title} clips.zip", texts, tuple(files))


def _belongings(
    title: str, known: SourceFacts, subtitles: Sequence[Transcript], files: list[ZippedFile], objects: ObjectStore
) -> dict[str, Any]:
    """What the manifest says of subtitles and thumbnail; their files are added to `files`."""

    def added(key: str, name: str) -> str | None:
        found = objects.info(key)
        if found is None:
            return None
        files.append(ZippedFile(name, key, found.byte_size))
        return name

    told = []
    for number, one in enumerate(subtitles, start=1):
        name = f"{title} subtitles {number} {one.language or 'und'}{PurePosixPath(one.subtitle_filepath).suffix}"
        about = {"language": one.language, "name": one.name, "kind": one.kind, "origin": one.origin}
        told.append({**about, "file": added(one.subtitle_filepath, name)})
    thumbnail = known.thumbnail_filepath and added(known.thumbnail_filepath, f"{title} thumbnail.jpg")
    return {"subtitles": told, "thumbnail": thumbnail}


def _facts_of(known: SourceFacts) -> dict[str, Any]:
    """What is known of the source video, without what is about files of Heaters."""
    about_files = {"thumbnail_filepath", "quality"}
    return {name: json_of_value(value) for name, value in known.said().items() if name not in about_files}


def name_in_zip(title: str, sequence: int, ending: str) -> str:
    """The name of a clip's file in the zip of its source video."""
    return f"{file_name(title)} clip {sequence:03d}{ending}"


def file_name(title: str) -> str:
    """A file name from a title, which every system accepts."""
    return _NOT_IN_NAMES.sub("_", title)[:_LONGEST_TITLE].strip(" .") or "untitled"
