"""Takes the subtitles and the thumbnail that people gave an old source video over to the one that replaces it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import ObjectNotFoundError, StaleClipError
from heaters_dagster.domain.fact_fields import SUBTITLES, THUMBNAIL
from heaters_dagster.domain.keys import given_subtitle_key, given_thumbnail_key
from heaters_dagster.domain.source_facts import Origin
from heaters_dagster.domain.subtitles import PERSON, SubtitleFile, within
from resources.object_store.interface import ObjectStore, put_missing
from resources.postgres.database import Database
from resources.postgres.facts_store import facts_in, write_facts
from resources.postgres.ingest_tables import given_thumbnails
from resources.postgres.source_video_store import SourceVideo
from resources.postgres.transcript_store import (
    Transcript,
    TranscriptStore,
    add_transcript,
    kinds_taken_away,
    live_transcripts,
    make_live,
    transcript_with_key,
)


@dataclass(frozen=True, slots=True)
class CarriedFiles:
    """Copies of files that people gave, stored under keys of the new source video.

    names: the facts of subtitles and thumbnail that people have changed. known, thumbnail: what the old source video has of both.
    subtitles: (object key, file) of the copies, by id of the transcript. picture: (object key, data) of the copied thumbnail.
    """

    names: frozenset[str]
    known: tuple[Transcript, ...]
    thumbnail: str | None
    subtitles: Mapping[int, tuple[str, SubtitleFile]]
    picture: tuple[str, bytes] | None


def copied_files(old: SourceVideo, new: SourceVideo, *, database: Database, objects: ObjectStore) -> CarriedFiles:
    """Copy them. Objects that are gone from the store are left out. Raises StoreUnavailableError.

    Have the turn of `given_files_turn` of the new one until the rows are written.
    """
    store = TranscriptStore(database)
    with database.read() as connection:
        facts, origins = facts_in(connection, old.id)
        known = tuple(live_transcripts(connection, old.id))
    names = frozenset(name for name in _of_files(origins) if origins[name] == Origin.PERSON)
    subtitles: dict[int, tuple[str, SubtitleFile]] = {}
    for one in known:
        data = _data(objects, one.subtitle_filepath) if one.origin == PERSON else None
        lines = within(store.lines(one.id), new.duration_seconds)[0] if data is not None else ()
        if data is not None and lines:
            suffix = PurePosixPath(one.subtitle_filepath).suffix
            key = given_subtitle_key(new.id, one.language, suffix, hashlib.sha256(data).hexdigest())
            subtitles[one.id] = key, SubtitleFile(PERSON, one.language, one.name, suffix, data, lines, one.kind)
    jpeg = _data(objects, facts.thumbnail_filepath) if THUMBNAIL in names and facts.thumbnail_filepath is not None else None
    picture = None if jpeg is None else (given_thumbnail_key(new.id, hashlib.sha256(jpeg).hexdigest()), jpeg)
    carried = CarriedFiles(names, known, facts.thumbnail_filepath, subtitles, picture)
    _make_sure(carried, objects)
    return carried


def write_carried(connection: Connection, old_id: int, new_id: int, carried: CarriedFiles) -> None:
    """Write the rows of the copies, which are stored; both source videos are locked.

    Raises StaleClipError when the old one has other files since.
    """
    thumbnail = facts_in(connection, old_id)[0].thumbnail_filepath
    if (tuple(live_transcripts(connection, old_id)), thumbnail) != (carried.known, carried.thumbnail):
        raise StaleClipError(f"somebody has changed subtitles or thumbnail of source video {old_id} meanwhile: try again")
    for name in carried.names - {THUMBNAIL}:
        of_old = [one for one in live_transcripts(connection, old_id, name) if one.id in carried.subtitles]
        # Of these kinds a person has replaced or taken away what the old one had.
        changed = {one.kind for one in of_old} | kinds_taken_away(connection, old_id, name)
        ids = [one.id for one in live_transcripts(connection, new_id, name) if one.kind not in changed]
        for copied in (carried.subtitles[one.id] for one in of_old):
            ids.append(transcript_with_key(connection, copied[0]) or add_transcript(connection, new_id, *copied, is_live=False))
        make_live(connection, new_id, name, ids)
    values: dict[str, Any] = {}
    if THUMBNAIL in carried.names:
        values[THUMBNAIL] = carried.picture and carried.picture[0]
        keys = filter(None, (facts_in(connection, new_id)[0].thumbnail_filepath, values[THUMBNAIL]))
        rows = [{"thumbnail_filepath": one, "source_video_id": new_id} for one in keys]
        if rows:
            connection.execute(insert(given_thumbnails).on_conflict_do_nothing(), rows)
    if carried.names:
        write_facts(connection, new_id, values, dict.fromkeys(carried.names, Origin.PERSON.value))


def _of_files(origins: Mapping[str, str]) -> list[str]:
    return [name for name in origins if name.startswith(SUBTITLES) or name == THUMBNAIL]


def _data(objects: ObjectStore, key: str) -> bytes | None:
    try:
        return objects.get_bytes(key)
    except ObjectNotFoundError:
        return None


def _make_sure(carried: CarriedFiles, objects: ObjectStore) -> None:
    pictures = [] if carried.picture is None else [carried.picture]
    for key, data in [*((key, file.data) for key, file in carried.subtitles.values()), *pictures]:
        put_missing(objects, key, data)
