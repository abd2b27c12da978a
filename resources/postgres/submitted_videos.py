"""Source videos by where they come from: path, address, name of the file, name at a site. Many are looked up at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, TextClause, any_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from resources.postgres.database import Database
from resources.postgres.ingest_tables import source_video_facts
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore, is_there, video_of_values
from resources.postgres.tables import source_videos


@dataclass(frozen=True, slots=True)
class LastSubmission:
    """The newest source video of a path or address. holder_id: itself, or the one that had the same bytes already. submitted_at: when.

    byte_size: of what was fetched; None when another one had the same bytes. waits: whether nothing was fetched yet.
    """

    holder_id: int
    submitted_at: datetime
    byte_size: int | None
    waits: bool


class SubmittedVideos:
    """Only reads; rows of source videos that were deleted are never among what it finds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_for_each(self, query: TextClause, wanted: Mapping[str, list[Any]]) -> dict[int, list[SourceVideo]]:
        """What a query of `place` and whole rows finds: place -> different rows, oldest first. wanted: its parameters, a list for each."""
        found: dict[int, dict[int, SourceVideo]] = {}
        if all(wanted.values()):
            with self._database.read() as connection:
                for row in connection.execute(query, wanted):
                    values = dict(row._mapping)
                    place = values.pop("place")
                    found.setdefault(place, {})[row.id] = video_of_values(values)
        return {place: [rows[video_id] for video_id in sorted(rows)] for place, rows in found.items()}

    def first_of_sources(self, sources: Sequence[str], *, duplicates: bool = False) -> dict[str, SourceVideo]:
        """Path or address -> the oldest that was submitted under exactly this name. duplicates: also one that is a duplicate of another."""
        query = (
            select(source_videos)
            .where(source_videos.c.source == any_(literal(list(sources), ARRAY(Text))))
            .order_by(source_videos.c.id.desc())
        )
        if not duplicates:
            query = query.where(source_videos.c.duplicate_of_id.is_(None))
        return {video.source: video for video in (SourceVideoStore(self._database).find(query) if sources else [])}

    def last_submissions(self, sources: Sequence[str]) -> dict[str, LastSubmission]:
        """Path or address -> the newest source video of exactly this name."""
        row = source_videos.c
        query = (
            select(row.id, row.source, row.created_at, row.original_bytes, row.duplicate_of_id)
            .distinct(row.source)
            .where(row.source == any_(literal(list(sources), ARRAY(Text))), is_there())
            .order_by(row.source, row.id.desc())
        )
        found: dict[str, LastSubmission] = {}
        if sources:
            with self._database.read() as connection:
                for one in connection.execute(query):
                    waits = one.original_bytes is None and one.duplicate_of_id is None
                    found[one.source] = LastSubmission(one.duplicate_of_id or one.id, one.created_at, one.original_bytes, waits)
        return found

    def firsts_of_duplicates(self, sources: Sequence[str]) -> dict[str, SourceVideo]:
        """Address -> the source video that holds the bytes that were found there, where that is another one."""
        duplicate = source_videos.alias()
        query = (
            select(source_videos, duplicate.c.source.label("_source"))
            .join(duplicate, duplicate.c.duplicate_of_id == source_videos.c.id)
            .where(duplicate.c.source == any_(literal(list(sources), ARRAY(Text))), duplicate.c.state != "deleted", is_there())
            .order_by(source_videos.c.id.desc())
        )
        found: dict[str, SourceVideo] = {}
        if sources:
            with self._database.read() as connection:
                for row in connection.execute(query):
                    values = dict(row._mapping)
                    source = values.pop("_source")
                    found[source] = video_of_values(values)
        return found

    def first_of_site_ids(self, names: Collection[tuple[str, str]], *, duplicates: bool = False) -> dict[tuple[str, str], SourceVideo]:
        """(site, its name of the video) -> the oldest source video of it. duplicates: also one that is a duplicate of another."""
        site, site_id = source_video_facts.c.site.label("fact_site"), source_video_facts.c.site_id.label("fact_site_id")
        there = [tuple_(source_video_facts.c.site, source_video_facts.c.site_id).in_(list(names)), is_there()]
        there += [] if duplicates else [source_videos.c.duplicate_of_id.is_(None)]
        query = select(source_videos, site, site_id).join(source_video_facts).where(*there).order_by(source_videos.c.id.desc())
        found: dict[tuple[str, str], SourceVideo] = {}
        if names:
            with self._database.read() as connection:
                for row in connection.execute(query):
                    values = dict(row._mapping)
                    name = values.pop("fact_site"), values.pop("fact_site_id")
                    found[name] = video_of_values(values)
        return found

    def stored_by_file_name(self, names: Collection[str]) -> dict[str, bool]:
        """File name -> whether the original is in the store, of the source videos that were submitted as a file of such a name."""
        called = func.substring(source_videos.c.source, "[^/]*$")
        query = select(called, source_videos.c.original_filepath.is_not(None)).where(is_there())
        with self._database.read() as connection:
            rows = connection.execute(query.where(called == any_(literal(list(names), ARRAY(Text))))) if names else ()
            return {row[0]: row[1] for row in rows}
