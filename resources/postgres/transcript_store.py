"""Transcripts of source videos in Postgres: what is said or shown when, in which language."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.fact_fields import SUBTITLES, subtitles_name
from heaters_dagster.domain.source_facts import Origin
from heaters_dagster.domain.subtitles import AUTOMATIC, NO_LANGUAGE, PERSON, Line, SubtitleFile, searchable
from resources.postgres import row_locks
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.facts_store import facts_in
from resources.postgres.ingest_tables import transcript_lines, transcripts

_own = transcripts.c
_HEADS = (_own.id, _own.source_video_id, _own.kind, _own.origin, _own.language, _own.name, _own.subtitle_filepath, _own.line_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One transcript without its lines. origin, language, name: as in SubtitleFile. subtitle_filepath: object key of its file."""

    id: int
    source_video_id: int
    kind: str
    origin: str
    language: str | None
    name: str | None
    subtitle_filepath: str
    line_count: int

    @property
    def called(self) -> str:
        """`en (English)`, `de (made by a machine)`: language, name and kind, for people."""
        more = ", ".join(filter(None, [self.name, "made by a machine" if self.kind == AUTOMATIC else ""]))
        return f"{self.language or 'language not said'}{f' ({more})' if more else ''}"


class TranscriptStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of_video(self, source_video_id: int) -> list[Transcript]:
        """Without those that a person took away."""
        with self._database.read() as connection:
            return live_transcripts(connection, source_video_id)

    def load(self, transcript_id: int) -> Transcript:
        """Raises NotFoundError, also when a person took it away."""
        with self._database.read() as connection:
            row = connection.execute(select(*_HEADS).where(_own.id == transcript_id, _own.is_live)).first()
        if row is None:
            raise NotFoundError(f"there is no transcript {transcript_id} any more: load the page again")
        return Transcript(**row._mapping)

    def lines(self, transcript_id: int, *, limit: int | None = None) -> list[Line]:
        """The lines in order."""
        own = transcript_lines.c
        query = select(own.start_seconds, own.end_seconds, own.text).where(own.transcript_id == transcript_id)
        with self._database.read() as connection:
            return [Line(*row) for row in connection.execute(query.order_by(own.number).limit(limit))]

    def replace_subtitles(self, source_video_id: int, files: Sequence[tuple[str, SubtitleFile]]) -> None:
        """Make these the subtitles of a source video, in place of those that it has. files: (object key, file), with lines that fit.

        Languages in which a person has changed the subtitles stay as they are.
        """
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            _, origins = facts_in(connection, source_video_id)
            by_people = {name for name, origin in origins.items() if name.startswith(SUBTITLES) and origin == Origin.PERSON}
            of_ingest = (_own.source_video_id == source_video_id) & (_own.origin != PERSON)
            rows = connection.execute(select(_own.id, _own.language).where(of_ingest)).all()
            gone = [row.id for row in rows if subtitles_name(row.language) not in by_people]
            connection.execute(transcripts.delete().where(among(_own.id, gone)))
            for key, file in files:
                if subtitles_name(file.language) not in by_people:
                    add_transcript(connection, source_video_id, key, file)

    def keys(self, source_video_id: int) -> set[str]:
        """Object keys of all its files, also of those that a person took away."""
        with self._database.read() as connection:
            return set(connection.scalars(select(_own.subtitle_filepath).where(_own.source_video_id == source_video_id)))


def live_transcripts(connection: Connection, source_video_id: int, name: str | None = None) -> list[Transcript]:
    """Those that nobody took away. name: of `subtitles_name`; only those in this language."""
    query = select(*_HEADS).where(_own.source_video_id == source_video_id, _own.is_live)
    if name is not None:
        query = query.where(_in_language(name))
    return [Transcript(**row._mapping) for row in connection.execute(query.order_by(_own.id))]


def transcript_with_key(connection: Connection, key: str) -> int | None:
    """The id of the transcript of this file, also when a person took it away."""
    found = connection.scalar(select(_own.id).where(_own.subtitle_filepath == key))
    return None if found is None else int(found)


def kinds_taken_away(connection: Connection, source_video_id: int, name: str) -> set[str]:
    """Kinds of which subtitles in a language were there, but none is any more or others are. name: of `subtitles_name`."""
    gone = (_own.source_video_id == source_video_id) & _in_language(name) & ~_own.is_live & (_own.origin != PERSON)
    return set(connection.scalars(select(_own.kind).where(gone)))


def make_live(connection: Connection, source_video_id: int, name: str, ids: Collection[int]) -> bool:
    """Make these, and no others, the subtitles in a language; False when one of them is no longer stored. name: of `subtitles_name`."""
    in_language = (_own.source_video_id == source_video_id) & _in_language(name)
    found = set(connection.scalars(select(_own.id).where(in_language, among(_own.id, ids))))
    if found != set(ids):
        return False
    connection.execute(transcripts.update().where(in_language).values(is_live=among(_own.id, ids)))
    return True


def _in_language(name: str) -> ColumnElement[bool]:
    return func.lower(func.coalesce(_own.language, NO_LANGUAGE)) == name.removeprefix(SUBTITLES)


def add_transcript(connection: Connection, source_video_id: int, key: str, file: SubtitleFile, *, is_live: bool = True) -> int:
    """Its id. The row of the source video is locked. is_live: False until `make_live` makes it so."""
    row = transcripts.insert().values(
        source_video_id=source_video_id,
        kind=file.kind,
        origin=file.origin,
        language=file.language,
        name=file.name,
        subtitle_filepath=key,
        line_count=len(file.lines),
        is_live=is_live,
        searchable=searchable(file.lines),
    )
    transcript_id = int(connection.execute(row.returning(_own.id)).scalar_one())
    lines = [
        {
            "transcript_id": transcript_id,
            "number": number,
            "start_seconds": one.start_seconds,
            "end_seconds": one.end_seconds,
            "text": one.text,
        }
        for number, one in enumerate(file.lines, start=1)
    ]
    if lines:
        connection.execute(transcript_lines.insert(), lines)
    return transcript_id
