"""What is known of watched places and of each file in them, so that no file is taken twice, whoever looks and whenever."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, and_, any_, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from heaters_dagster.domain.stages import MAX_ATTEMPTS
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.watching import REFUSED_FOLDER, FileState, KnownFile, SeenFile, below
from resources.postgres.database import Database
from resources.postgres.ingest_tables import watched_files, watched_places
from resources.postgres.tables import source_videos

_file, _place = watched_files.c, watched_places.c
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class WatchedPlace:
    """A place as people see it. problem: why it could not be looked at. files: how many are in which state.

    refused_files: path -> reason, of the newest that were refused at once; one that cannot be fetched has its reason on its source video.
    """

    place: str
    looked_at: datetime
    problem: str | None
    files: dict[FileState, int]
    refused_files: dict[str, str]


@dataclass(frozen=True, slots=True)
class FileToMove:
    """A file with which the pipeline is done. source_video_id: None when it was refused at once. is_good: its original is stored, or was.

    moved_to: where an earlier look has begun to move it.
    """

    path: str
    source_video_id: int | None
    is_good: bool
    moved_to: str | None


class WatchedStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def seconds_since_look(self, place: str) -> float | None:
        """None when nobody has looked at it yet."""
        query = select(func.extract("epoch", func.now() - _place.looked_at)).where(_place.place == place)
        with self._database.read() as connection:
            seconds = connection.scalar(query)
        return None if seconds is None else float(seconds)

    def looked(self, place: str, problem: str | None) -> None:
        """Somebody has looked at a place just now. problem: why that was not possible."""
        row = insert(watched_places).values(place=place, problem=problem)
        with self._database.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[_place.place], set_={"looked_at": func.now(), "problem": problem}))

    def files(self, place: str) -> dict[str, KnownFile]:
        """Path -> what earlier looks have stored."""
        query = select(
            _file.path, _file.state, _file.byte_size, _file.version, _file.inode, func.extract("epoch", func.now() - _file.seen_at)
        )
        with self._database.read() as connection:
            return {
                path: KnownFile(state=FileState(state), byte_size=size, version=version, inode=inode, seconds=float(seconds))
                for path, state, size, version, inode, seconds in connection.execute(query.where(_file.place == place))
            }

    def note(self, place: str, files: Sequence[tuple[SeenFile, FileState]]) -> None:
        """Store how these files look now; they have just been seen so for the first time."""
        self._write([_row(place, seen, state) for seen, state in files])

    def taken(self, place: str, files: Iterable[tuple[SeenFile, int]]) -> None:
        """These files belong to source videos now: (file, source video id)."""
        self._write([{**_row(place, seen, FileState.TAKEN), "source_video_id": video_id} for seen, video_id in files])

    def refused(self, place: str, files: Iterable[tuple[SeenFile, str]]) -> None:
        """These files cannot be submitted: (file, reason)."""
        self._write([{**_row(place, seen, FileState.REFUSED), "reason": reason} for seen, reason in files])

    def forget(self, place: str, paths: Collection[str]) -> None:
        if paths:
            which = and_(_file.place == place, _file.path == any_(literal(list(paths), ARRAY(Text))))
            with self._database.begin() as connection:
                connection.execute(watched_files.delete().where(which))

    def to_move(self, place: str, *, limit: int = _AT_ONCE) -> list[FileToMove]:
        """Files of a place with which the pipeline is done, those first that were begun to be moved."""
        video = source_videos.c
        is_deleted = video.state == SourceVideoState.DELETED.value
        is_good = or_(video.original_filepath.is_not(None), video.duplicate_of_id.is_not(None), is_deleted)
        has_failed = and_(video.state == SourceVideoState.DOWNLOAD_FAILED.value, video.attempts >= MAX_ATTEMPTS)
        is_done = or_(is_good, has_failed)
        is_moved = _file.path.startswith(below(place, REFUSED_FOLDER), autoescape=True)
        query = (
            select(_file.path, _file.source_video_id, is_good.label("is_good"), _file.moved_to)
            .join_from(watched_files, source_videos, video.id == _file.source_video_id, isouter=True)
            .where(_file.place == place)
            .where(
                or_(
                    and_(_file.state == FileState.TAKEN.value, is_done),
                    and_(_file.state == FileState.REFUSED.value, not_(is_moved)),
                    _file.moved_to.is_not(None),
                )
            )
            .order_by(_file.moved_to.is_(None), _file.path)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [FileToMove(row.path, row.source_video_id, bool(row.is_good), row.moved_to) for row in connection.execute(query)]

    def begin_move(self, place: str, path: str, moved_to: str) -> None:
        """Store where a file goes, before it goes there."""
        with self._database.begin() as connection:
            connection.execute(watched_files.update().where(_file.place == place, _file.path == path).values(moved_to=moved_to))

    def end_move(self, place: str, file: FileToMove, moved_to: str) -> None:
        """The file lies there now: its source video, when it was submitted by this path, names the new one, so that a retry finds it.

        A file without a source video stays known, with its reason.
        """
        here = and_(_file.place == place, _file.path == file.path)
        named = and_(source_videos.c.id == file.source_video_id, source_videos.c.source == file.path)
        with self._database.begin() as connection:
            if file.source_video_id is not None:
                connection.execute(source_videos.update().where(named).values(source=moved_to))
                connection.execute(watched_files.delete().where(here))
            else:
                connection.execute(watched_files.delete().where(_file.place == place, _file.path == moved_to))
                connection.execute(watched_files.update().where(here).values(path=moved_to, moved_to=None))

    def problems(self, only: Collection[str]) -> list[str]:
        """Why places that are watched now cannot be looked at."""
        query = select(_place.problem).where(_place.place.in_(only), _place.problem.is_not(None)).order_by(_place.place)
        with self._database.read() as connection:
            return list(connection.scalars(query)) if only else []

    def places(self, only: Collection[str], *, most_refused: int = 20) -> list[WatchedPlace]:
        """The places that are watched now, as far as somebody has looked at them, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(watched_places).where(_place.place.in_(only)).order_by(_place.place)).all()
            counted = connection.execute(
                select(_file.place, _file.state, func.count()).where(_file.place.in_(only)).group_by(_file.place, _file.state)
            ).all()
            refused = {
                row.place: connection.execute(
                    select(_file.path, _file.reason)
                    .where(_file.place == row.place, _file.state == FileState.REFUSED.value)
                    .order_by(_file.seen_at.desc())
                    .limit(most_refused)
                ).all()
                for row in rows
            }
        return [
            WatchedPlace(
                row.place,
                row.looked_at,
                row.problem,
                {FileState(state): count for place, state, count in counted if place == row.place},
                {found.path: found.reason for found in refused[row.place]},
            )
            for row in rows
        ]

    def _write(self, rows: Sequence[dict[str, object]]) -> None:
        for start in range(0, len(rows), _AT_ONCE):
            new = insert(watched_files).values(rows[start : start + _AT_ONCE])
            names = ("state", "byte_size", "version", "inode", "source_video_id", "reason")
            values = {name: new.excluded[name] for name in names} | {"seen_at": func.now(), "moved_to": None}
            with self._database.begin() as connection:
                connection.execute(new.on_conflict_do_update(index_elements=[_file.place, _file.path], set_=values))


def _row(place: str, seen: SeenFile, state: FileState) -> dict[str, object]:
    return {
        "place": place,
        "path": seen.path,
        "state": state.value,
        "byte_size": seen.byte_size,
        "version": seen.version,
        "inode": seen.inode,
        "source_video_id": None,
        "reason": None,
    }
