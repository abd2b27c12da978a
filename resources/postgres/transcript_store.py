"""Transcripts of source videos in Postgres: what is said or shown when, in which language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.subtitles import AUTOMATIC, Line, SubtitleFile, searchable
from resources.postgres import row_locks
from resources.postgres.database import Database
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
        with self._database.read() as connection:
            rows = connection.execute(select(*_HEADS).where(_own.source_video_id == source_video_id).order_by(_own.id))
            return [Transcript(**row._mapping) for row in rows]

    def load(self, transcript_id: int) -> Transcript:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(select(*_HEADS).where(_own.id == transcript_id)).first()
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
        """Make these the subtitles of a source video, in place of those that it has. files: (object key, file), with lines that fit."""
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            connection.execute(transcripts.delete().where(_own.source_video_id == source_video_id))
            for key, file in files:
                _add(connection, source_video_id, key, file)


def _add(connection: Connection, source_video_id: int, key: str, file: SubtitleFile) -> None:
    row = transcripts.insert().values(
        source_video_id=source_video_id,
        kind=file.kind,
        origin=file.origin,
        language=file.language,
        name=file.name,
        subtitle_filepath=key,
        line_count=len(file.lines),
        searchable=searchable(file.lines),
    )
    transcript_id = connection.execute(row.returning(_own.id)).scalar_one()
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
