"""Source videos as pages list them: a page of them, how many there are, and their titles; never all of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select

from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.clip_counts import among, counts_of_videos
from resources.database import Database
from resources.source_video_store import SourceVideo, containing, is_there, video_of_row
from resources.tables import source_videos

_video = source_videos.c


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A source video and how many of its live clips are in which state."""

    video: SourceVideo
    clips: dict[ClipState, int]


class SourceVideoLists:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, *, text: str = "", only: int | None = None, before_id: int | None = None, limit: int) -> list[ListedVideo]:
        """The newest first. text: part of title or address, in any case. only: this one. before_id: the last id of the page before."""
        query = select(source_videos).where(*_matching(text, only)).order_by(_video.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(_video.id < before_id)
        with self._database.read() as connection:
            videos = [video_of_row(row) for row in connection.execute(query)]
            counts = counts_of_videos(connection, [video.id for video in videos])
        return [ListedVideo(video, counts.get(video.id, {})) for video in videos]

    def counts_by_state(self, *, text: str = "", only: int | None = None) -> dict[SourceVideoState, int]:
        """How many there are in which state, the most frequent first."""
        query = (
            select(_video.state, func.count())
            .where(*_matching(text, only))
            .group_by(_video.state)
            .order_by(func.count().desc(), _video.state)
        )
        with self._database.read() as connection:
            return {SourceVideoState(state): count for state, count in connection.execute(query)}

    def count(self) -> int:
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(source_videos).where(is_there())).scalar_one()

    def titles(self, *, text: str = "", limit: int) -> dict[int, str]:
        """Id -> title of the newest whose title, address or id the text is part of."""
        query = select(_video.id, _video.title).where(is_there(), _named_or_numbered(text)).order_by(_video.id.desc()).limit(limit)
        with self._database.read() as connection:
            return {row.id: row.title for row in connection.execute(query)}

    def titles_of(self, source_video_ids: Collection[int]) -> dict[int, str]:
        """Id -> title, of those that are there."""
        query = select(_video.id, _video.title).where(is_there(), among(_video.id, source_video_ids))
        with self._database.read() as connection:
            return {row.id: row.title for row in connection.execute(query)}

    def pages(self, *, page: int = 1000) -> Iterator[list[ListedVideo]]:
        """All of them by id, page by page."""
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(select(source_videos).where(is_there(), _video.id > last).order_by(_video.id).limit(page)).all()
                videos = [video_of_row(row) for row in rows]
                counts = counts_of_videos(connection, [video.id for video in videos])
            if not videos:
                return
            yield [ListedVideo(video, counts.get(video.id, {})) for video in videos]
            last = videos[-1].id


def _matching(text: str, only: int | None) -> list[ColumnElement[bool]]:
    return [is_there(), *([_named(text)] if text else []), *([_video.id == only] if only is not None else [])]


def _named(text: str) -> ColumnElement[bool]:
    pattern = containing(text)
    return or_(_video.title.ilike(pattern), _video.source.ilike(pattern))


def _named_or_numbered(text: str) -> ColumnElement[bool]:
    is_number = text.isascii() and text.isdigit() and int(text) <= MAX_ID
    return or_(_named(text), _video.id == int(text)) if is_number else _named(text)
