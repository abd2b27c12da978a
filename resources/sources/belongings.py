"""Keeps what belongs to a source video: facts of the site and the file, subtitles as files and as transcripts, the thumbnail.

Objects are stored first and named by rows after that, all before the source video is `downloaded`: what is killed in between is done again,
under the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from heaters_dagster.domain.fact_fields import THUMBNAIL
from heaters_dagster.domain.kept_tags import KeptTags
from heaters_dagster.domain.keys import given_prefix, subtitle_key, thumbnail_key
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.subtitles import SubtitleFile, webvtt, within
from heaters_dagster.domain.words import counted
from resources.media.container_facts import container_facts, positions_left_out
from resources.media.first_look import MediaProbe
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore, forget_thumbnail
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.fetched import Fetched


@dataclass(frozen=True, slots=True)
class WhatIsKept:
    """tags: of files. rights: what may be done with videos of which nobody says it."""

    tags: KeptTags = KeptTags()
    rights: str | None = None


def keep_belongings(
    source_video_id: int,
    fetched: Fetched,
    probe: MediaProbe,
    *,
    called: str,
    kept: WhatIsKept,
    database: Database,
    objects: ObjectStore,
) -> tuple[SourceFacts, tuple[str, ...]]:
    """(facts that the site says, warnings). Everything else is stored afterwards. called: what people call the file.

    Raises StoreUnavailableError, DatabaseUnavailableError, InvalidMediaError when the file cannot be read.
    """
    of_file = container_facts(fetched.path, probe, name=called, kept=kept.tags)
    embedded = [SubtitleFile("file", one.language, one.name, ".vtt", webvtt(one.lines), one.lines) for one in of_file.subtitles]
    warnings = [*of_file.notes]
    given = fetched.subtitles if kept.tags.places else tuple(_without_positions(fetched.subtitles, warnings))
    fitting = list(_fitting([*given, *embedded], probe.duration_seconds, warnings))
    keyed = [(subtitle_key(source_video_id, number, one.language, one.suffix), one) for number, one in enumerate(fitting, start=1)]
    for key, one in keyed:
        objects.put_bytes(key, one.data)
    TranscriptStore(database).replace_subtitles(source_video_id, keyed)
    _delete_subtitles(source_video_id, objects, but=TranscriptStore(database).keys(source_video_id))
    of_site = replace(fetched.facts, place=fetched.facts.place if kept.tags.places else None)
    if fetched.thumbnail is not None and FactsStore(database).with_origins(source_video_id)[1].get(THUMBNAIL) != Origin.PERSON:
        objects.put_bytes(thumbnail_key(source_video_id), fetched.thumbnail)
        of_site = replace(of_site, thumbnail_filepath=thumbnail_key(source_video_id))
    FactsStore(database).put(source_video_id, replace(of_file.facts, rights=kept.rights), Origin.FILE)
    return of_site, tuple(warnings)


def forget_belongings(source_video_id: int, *, database: Database, objects: ObjectStore) -> None:
    """Delete subtitles and thumbnail of a source video that is not kept: it is the same file as another."""
    TranscriptStore(database).replace_subtitles(source_video_id, [])
    _delete_subtitles(source_video_id, objects, but=set())
    forget_thumbnail(source_video_id, database)
    objects.delete(thumbnail_key(source_video_id))


def _without_positions(files: Sequence[SubtitleFile], warnings: list[str]) -> Iterator[SubtitleFile]:
    """The files without what says where the video was filmed."""
    for one in files:
        kept, hidden = one.without_positions()
        if hidden:
            warnings.append(positions_left_out(hidden))
        if kept.lines:
            yield kept


def _fitting(files: Sequence[SubtitleFile], length_seconds: float | None, warnings: list[str]) -> Iterator[SubtitleFile]:
    """The files with those of their lines that the video is long enough for."""
    for one in files:
        lines, late = within(one.lines, length_seconds)
        if late:
            subtitles = f"the subtitles in {one.language or 'a language that is not said'}"
            warnings.append(
                f"{counted(late, 'line')} of {len(one.lines)} of {subtitles} would begin after the end of the video; "
                f"{'these are left out' if lines else 'so these subtitles are not of this video, and are not kept'}"
            )
        if lines:
            yield replace(one, lines=lines)


def _delete_subtitles(source_video_id: int, objects: ObjectStore, *, but: set[str]) -> None:
    """An earlier try may have found others. Files that people gave are stored before their rows are written, so none of them is deleted."""
    for found in list(objects.list(f"subtitles/video_{source_video_id}_")):
        if found.key not in but and not found.key.startswith(given_prefix("subtitles", source_video_id)):
            objects.delete(found.key)
