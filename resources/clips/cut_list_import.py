"""Reads a cut list of another program for a stored source video, and says what it would change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np

from heaters_dagster.domain import cuts
from heaters_dagster.domain.cut_list_rates import count_of_beginning, drops_frames, first_count, frame_places, place_at
from heaters_dagster.domain.cut_list_reading import MOST_LIST_BYTES, ClipFile, FoundCuts, ReadFor, cuts_of, decoded
from heaters_dagster.domain.cut_lists import CutListFormat, timeline_range
from heaters_dagster.domain.cuts import Change
from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings
from resources.clips.clips_zip import name_in_zip
from resources.clips.cut_list_writer import list_rate, place_of_file, submitted_path
from resources.files.ordinary_file import opened_file
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_rows import Clip, review_clip
from resources.postgres.clip_store import ClipStore
from resources.postgres.cut_imports import decided_on
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore

#: The file in an FCPXML bundle that is the list.
_IN_BUNDLE = "Info.fcpxml"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListPreview:
    """What an import would do.

    form: of the list. listed: its cuts, ascending. frames: the cuts that there would be. added, removed: of them, against now.
    kept_clips: clips that stay as they are. decided: clips that would be replaced although there is a decision on them. notes: a sentence
    each.
    """

    source_video_id: int
    form: str
    listed: tuple[int, ...]
    frames: tuple[int, ...]
    added: tuple[int, ...]
    removed: tuple[int, ...]
    kept_clips: int
    decided: tuple[Clip, ...]
    notes: tuple[str, ...]


def previewed(
    source_video_id: int,
    path: Path,
    *,
    form: str | None = None,
    keep: bool = False,
    database: Database,
    objects: ObjectStore,
    settings: Settings,
) -> CutListPreview:
    """What the cuts in a file would change. form: its format, None: by its name and content. keep: the present cuts stay too.

    Raises BadRequestError with the line for what cannot be read or lies outside the source video, NotFoundError without clips, OSError.
    """
    if path.is_dir():
        if not (path / _IN_BUNDLE).exists():
            raise BadRequestError(f"{path} is a folder without {_IN_BUNDLE}, so it is no FCPXML bundle: give the file of the list")
        path /= _IN_BUNDLE
    with opened_file(path) as file:
        data = file.read(MOST_LIST_BYTES + 1)
    with _named(path):
        text = decoded(data)
    chosen = _format(form, path, text)
    video = SourceVideoStore(database).load(source_video_id)
    live = sorted(ClipStore(database).load_live(source_video_id), key=lambda clip: clip.start_frame)
    if not live:
        raise NotFoundError(f"source video {source_video_id} has no clips yet (its state: {video.state}), so no cuts can be imported")
    with _named(path):
        assert chosen.read is not None
        read_for = _read_for(video, live, database, objects, settings)
        found: FoundCuts = cuts_of(chosen.read(text, read_for), read_for)
    present = {clip.start_frame for clip in live[1:]}
    wanted = set(found.frames) | (present if keep else set())
    change: Change = cuts.import_cuts(map(review_clip, live), wanted)
    retired = {step.after.id for step in change.clips if step.before is not None and not step.after.is_live}
    decided = set(decided_on(change))
    return CutListPreview(
        source_video_id=source_video_id,
        form=chosen.name,
        listed=found.frames,
        frames=tuple(sorted(wanted)),
        added=tuple(sorted(wanted - present)),
        removed=tuple(sorted(present - wanted)),
        kept_clips=sum(clip.id not in retired for clip in live),
        decided=tuple(clip for clip in live if clip.id in decided),
        notes=found.notes,
    )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is wrong with a list is told with its name."""
    try:
        yield
    except BadRequestError as error:
        raise BadRequestError(f"{path.name}: {error}") from error


def readable_formats() -> list[CutListFormat]:
    return [form for form in CUT_LIST_FORMATS.usable() if form.read is not None]


def _format(name: str | None, path: Path, text: str) -> CutListFormat:
    readable = readable_formats()
    told = ", ".join(form.name for form in readable)
    if name is not None:
        chosen = CUT_LIST_FORMATS.load(name)
        if chosen.read is None:
            raise BadRequestError(f"a list in the format {name} cannot be read; these can: {told}")
        return chosen
    if "<xmeml" in text[:2000]:
        raise BadRequestError(
            f"{path.name}: Final Cut Pro 7 XML, as Premiere writes it, cannot be read: export an EDL ({told} can be read)"
        )
    suffix = path.suffix.lower()
    of_content = "fcpxml" if "<fcpxml" in text[:2000] else "otio" if '"OTIO_SCHEMA"' in text[:2000] else None
    for form in readable:
        if form.name == of_content or (of_content is None and form.suffix == suffix):
            return form
    raise BadRequestError(f"{path.name}: its ending {suffix!r} tells no format that can be read: choose one with --format ({told})")


def _read_for(video: SourceVideo, live: list[Clip], database: Database, objects: ObjectStore, settings: Settings) -> ReadFor:
    indexes, facts = FrameIndexes(objects), FactsStore(database).load(video.id)
    index = indexes.load(video.id)
    rate, _ = list_rate(video, live, indexes)
    time = facts.usable_source_time(video.frame_rate)
    pts = np.append(index.pts, index.header.end_pts)
    places = frame_places(pts, index.header.time_base, rate)
    names = {PurePosixPath(key).name for key in (video.original_filepath, video.proxy_filepath, video.gold_master_filepath) if key}
    if (submitted := submitted_path(video, settings)) is not None:
        names.add(submitted.name)
    if facts.reel:
        names.add(facts.reel)
    return ReadFor(
        rate=Fraction(rate),
        drop_frame=drops_frames(time, rate),
        first_count=count_of_beginning(time, rate, int(places[0])),
        places=places,
        names=frozenset(names | {PurePosixPath(name).stem for name in names}),
        clip_files=_clip_files(video, live, database, indexes, time, rate),
    )


def _clip_files(
    video: SourceVideo, live: list[Clip], database: Database, indexes: FrameIndexes, time: SourceTime | None, rate: Fraction
) -> dict[str, ClipFile]:
    """The exported files of clips, by the names that they have in lists: those of the object store, and those in the zip of clips."""
    with_file = [clip for clip in live if clip.clip_filepath is not None]
    exports = ExportStore(database).of_clips([clip.id for clip in with_file])
    found: dict[str, ClipFile] = {}
    for clip in with_file:
        assert clip.clip_filepath is not None
        place = place_of_file(clip, exports[clip.id], rate, indexes)
        whole = timeline_range(clip, rate)
        began = place.start - place_at(live[0].start_time_seconds, rate)
        count = first_count(time.beginning_at(began / rate), rate) if time is not None else 0
        stored = PurePosixPath(clip.clip_filepath)
        for name in (stored.name, name_in_zip(video.title, clip.sequence, stored.suffix)):
            file = ClipFile(place.start, place.length, count, head=place.start - whole.start, tail=whole.end - place.end)
            found |= {name.casefold(): file, PurePosixPath(name).stem.casefold(): file}
    return found
