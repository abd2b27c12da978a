"""Source videos in Postgres: one row each, changed under its lock and only along the table of legal transitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select
from sqlalchemy.exc import IntegrityError

from heaters_dagster.domain.due import attempts_after_failure
from heaters_dagster.domain.errors import IllegalTransitionError, NotFoundError, PermanentError
from heaters_dagster.domain.room_needed import MediaSize
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.stages import MAX_ATTEMPTS, SOURCE_VIDEO
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.transitions import SOURCE_VIDEO_RETRY, checked_source_video_transition, is_past
from heaters_dagster.event_log import tell_of_failure, tell_when_committed
from resources.postgres import row_locks
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.facts_store import add_facts, add_unsaid, facts_in, put_facts
from resources.postgres.source_video_words import have_words
from resources.postgres.tables import source_videos

#: States in which a stage has succeeded: the number of failed tries begins at zero again.
_DONE = frozenset({SourceVideoState.DOWNLOADED, SourceVideoState.PREPROCESSED, SourceVideoState.SCENES_DETECTED})
_KEPT = {
    *("id", "state", "created_at", "updated_at", "state_changed_at", "gold_master_failed_at"),
    *("next_clip_sequence", "warnings", "duplicate_of_id", "site"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """One row of `source_videos`.

    source: as submitted. confined_to: the folder that its file must lie in, None when it may lie anywhere.
    error: why the last stage failed, None when nothing is wrong. attempts: failed tries of the current stage,
    MAX_ATTEMPTS when it waits for a person. *_filepath: object keys. content_sha256: hex, of the stored original; None until it is
    stored. frame_count: decoded frames of the proxy, which the clips cover. duplicate_of_id: the source video that holds the same
    bytes; this one goes no further. state_changed_at: when it came into this state. source_bytes, source_modified_ns,
    source_fingerprint, source_sha256: of the submitted file, see resources/sources/file_identity.py. chapters_as_cuts: its chapters begin
    clips. site: host of a web address, without www; downloads from one site take turns. forced: a source video of its own, also when
    another one holds the same bytes.
    """

    id: int
    source: str
    confined_to: str | None
    title: str
    state: SourceVideoState
    error: str | None
    attempts: int
    warnings: tuple[str, ...]
    original_filepath: str | None
    original_bytes: int | None
    content_sha256: str | None
    duplicate_of_id: int | None
    probe: Mapping[str, Any] | None
    proxy_filepath: str | None
    frame_index_filepath: str | None
    frame_count: int | None
    duration_seconds: float | None
    scenes_filepath: str | None
    scene_settings: Mapping[str, Any] | None
    gold_master_filepath: str | None
    gold_master_sha256: str | None
    gold_master_bytes: int | None
    gold_master_error: str | None
    gold_master_attempts: int
    gold_master_failed_at: datetime | None
    next_clip_sequence: int
    source_bytes: int | None
    source_modified_ns: int | None
    source_fingerprint: str | None
    source_sha256: str | None
    chapters_as_cuts: bool
    site: str | None = None
    forced: bool
    created_at: datetime
    updated_at: datetime
    state_changed_at: datetime

    @property
    def frame_rate(self) -> Fraction | None:
        """Of the picture, on average, as its file says it; None when that is not known yet."""
        return (Fraction(self.probe["video"]["average_frame_rate"]) or None) if self.probe else None

    @property
    def media(self) -> MediaSize:
        """What is known of its size, for estimates of what stages need."""
        return MediaSize.of(
            self.probe,
            source_bytes=self.source_bytes,
            original_bytes=self.original_bytes,
            duration_seconds=self.duration_seconds,
            frame_count=self.frame_count,
        )


#: Gets the rows that were added, in their transaction.
AlsoWritten: TypeAlias = Callable[[Connection, Sequence[SourceVideo]], None]


class SourceVideoStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """For stores of what belongs to source videos."""
        return self._database

    def add(self, source: str, title: str, *, confined_to: str | None = None, **columns: Any) -> SourceVideo:
        """Submit: a new row in state `new`. confined_to: the folder that its file must lie in whenever it is read; None: anywhere."""
        _check_columns(columns)
        with self._database.begin() as connection:
            row = source_videos.insert().values(**columns, source=source, title=title, confined_to=confined_to)
            video = video_of_row(connection.execute(row.returning(source_videos)).one())
            tell_when_committed(connection, "submit", source_video_id=video.id, title=video.title)
            return video

    def add_all(
        self, rows: Sequence[Mapping[str, Any]], facts: Sequence[SourceFacts] = (), *, also: AlsoWritten | None = None
    ) -> list[SourceVideo]:
        """Submit many at once: all or none, in the order given. rows: each with `source`, `title` and the same further columns.

        facts: for each row what its submitter said of it; empty: nothing of any. also: writes what belongs to them, in their transaction.
        """
        for columns in rows:
            _check_columns(columns)
        if not rows:
            return []
        with self._database.begin() as connection:
            query = source_videos.insert().returning(source_videos, sort_by_parameter_order=True)
            added = [video_of_row(row) for row in connection.execute(query, list(rows))]
            add_facts(connection, {video.id: said for video, said in zip(added, facts, strict=False)}, Origin.SUBMISSION)
            if also is not None:
                also(connection, added)
            for video in added:
                tell_when_committed(connection, "submit", source_video_id=video.id, title=video.title)
            return added

    def newest_id(self) -> int:
        """Of all source videos, deleted ones too; 0 when there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(source_videos.c.id))) or 0

    def find(self, query: Select[Any]) -> list[SourceVideo]:
        """The source videos that a query of whole rows finds, without deleted ones."""
        with self._database.read() as connection:
            return [video_of_row(row) for row in connection.execute(query.where(is_there()))]

    def load(self, source_video_id: int) -> SourceVideo:
        """Raises NotFoundError; for a deleted source video the message says that it was deleted."""
        with self._database.read() as connection:
            row = connection.execute(select(source_videos).where(source_videos.c.id == source_video_id)).first()
        return video_of_row(_present(row, source_video_id))

    def load_all(
        self,
        *,
        states: Collection[SourceVideoState] = (),
        text: str | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> list[SourceVideo]:
        """Source videos by id. states: only these, all when empty. text: words of title, source, facts or subtitles.
        after_id: the last id of the page before.
        """
        query = select(source_videos).where(source_videos.c.id > after_id, is_there()).order_by(source_videos.c.id).limit(limit)
        if states:
            query = query.where(source_videos.c.state.in_([state.value for state in states]))
        if text:
            query = query.where(have_words(text))
        with self._database.read() as connection:
            return [video_of_row(row) for row in connection.execute(query)]

    def of_source(self, source: str) -> list[SourceVideo]:
        """Those that were submitted under exactly this path or address, oldest first."""
        return self.find(select(source_videos).where(source_videos.c.source == source).order_by(source_videos.c.id))

    def waiting_to_be_fetched(self) -> list[int]:
        """Ids of those whose original is still to come, also of those on which fetching failed."""
        query = select(source_videos.c.id).where(source_videos.c.state.in_(sorted(SOURCE_VIDEO.steps.due)))
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def in_states(self, source_video_ids: Collection[int], states: Collection[SourceVideoState]) -> set[int]:
        """Those of them that are in one of these states."""
        query = select(source_videos.c.id).where(among(source_videos.c.id, source_video_ids), source_videos.c.state.in_(sorted(states)))
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def find_by_hash(self, content_sha256: str) -> SourceVideo | None:
        """The source video that holds these bytes; never one that is marked as a duplicate. Of several, made by force, the first."""
        query = select(source_videos).where(source_videos.c.content_sha256 == content_sha256, source_videos.c.duplicate_of_id.is_(None))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(source_videos.c.forced, source_videos.c.id)).first()
        return None if row is None else video_of_row(row)

    def set_state(
        self,
        source_video_id: int,
        new: SourceVideoState,
        *,
        expected: Collection[SourceVideoState] | None = None,
        error: str | None = None,
        **columns: Any,
    ) -> SourceVideo:
        """Change the state, and `columns` with it, in one transaction under the row's lock.

        A state in which a stage has succeeded resets the failed tries. expected: the present state must be one of these.
        Raises IllegalTransitionError, NotFoundError, PermanentError for a duplicate that would be processed further.
        """
        _check_columns(columns)
        with self._database.begin() as connection:
            video = _locked(connection, source_video_id)
            if expected is not None and video.state not in expected:
                raise IllegalTransitionError(
                    f"source video {source_video_id} has the state {video.state}; this needs the state {' or '.join(sorted(expected))}"
                )
            checked_source_video_transition(video.state, new)
            if video.duplicate_of_id is not None and new == SourceVideoState.PREPROCESSING:
                raise PermanentError(
                    f"source video {source_video_id} holds the same bytes as source video {video.duplicate_of_id}: use that one"
                )
            if new in _DONE:
                columns["attempts"] = 0
            tell_when_committed(connection, new.value, source_video_id=source_video_id, title=video.title)
            return _written(connection, source_video_id, {**columns, "state": new.value, "error": error})

    def update(self, source_video_id: int, **columns: Any) -> SourceVideo:
        """Store facts: probe, object keys, hashes. State, warnings and `duplicate_of_id` have methods of their own."""
        with self._database.begin() as connection:
            return put_columns(connection, source_video_id, **columns)

    def finish_download(
        self, source_video_id: int, content_sha256: str, *, facts: SourceFacts = SourceFacts(), **columns: Any
    ) -> SourceVideo:
        """The original is stored: the row becomes `downloaded`, holds these bytes, and gets `columns`, in one transaction.

        facts: what the site or the bucket said of it.

        If another source video holds the same bytes, this one is only marked as its duplicate; the returned row shows it. When two are
        fetched at the same moment, the unique index of the database decides which is first. Raises IllegalTransitionError.
        """
        _check_columns(columns)
        done = {**columns, "state": SourceVideoState.DOWNLOADED.value, "error": None, "attempts": 0}
        with self._database.begin() as connection:
            video = _locked(connection, source_video_id)
            checked_source_video_transition(video.state, SourceVideoState.DOWNLOADED)
            put_facts(connection, source_video_id, facts, Origin.SITE)
            try:
                with connection.begin_nested():
                    return _written(connection, source_video_id, {**done, "content_sha256": content_sha256, "duplicate_of_id": None})
            except IntegrityError as error:
                if "source_videos_content_sha256_key" not in str(error.orig):
                    raise
            unique = (
                source_videos.c.content_sha256 == content_sha256,
                source_videos.c.duplicate_of_id.is_(None),
                ~source_videos.c.forced,
            )
            first_id: int = connection.execute(select(source_videos.c.id).where(*unique)).scalar_one()
        return self.mark_duplicate(source_video_id, first_id)

    def mark_duplicate(self, source_video_id: int, of_id: int) -> SourceVideo:
        """Say that this source video holds the same bytes as `of_id`. It goes no further; its error says why.

        What its submitter said of it is kept with `of_id`, as far as nobody said it there.
        """
        with self._database.begin() as connection:
            for one in sorted((source_video_id, of_id)):
                _locked(connection, one)
            said, origins = facts_in(connection, source_video_id)
            add_unsaid(connection, of_id, said.only(name for name, origin in origins.items() if origin == Origin.SUBMISSION))
            return _written(connection, source_video_id, {"duplicate_of_id": of_id})

    def add_facts(self, source_video_id: int, facts: SourceFacts) -> tuple[str, ...]:
        """Keep what a submitter says of a source video that is there already, as far as nobody said it; the names of what is new."""
        with self._database.begin() as connection:
            _locked(connection, source_video_id)
            return add_unsaid(connection, source_video_id, facts)

    def record_failure(
        self, source_video_id: int, failed_state: SourceVideoState, message: str, *, transient: bool, at_once: bool = False
    ) -> SourceVideo:
        """Put the row into its failed state with the reason. A temporary failure counts one try; any other uses up all of them.

        at_once: the process that worked on it has ended. While tries are left it stays in its state, and is due again at once.
        A row that is past the stage (its files were to be made again) keeps its state and tries, and gets the reason.
        Raises IllegalTransitionError when the row has not reached the stage yet.
        """
        with self._database.begin() as connection:
            video = _locked(connection, source_video_id)
            if is_past(video.state, failed_state):
                return _written(connection, source_video_id, {"error": message})
            if video.state != failed_state:
                checked_source_video_transition(video.state, failed_state)
            attempts = attempts_after_failure(video.attempts, transient=transient)
            tell_of_failure(connection, failed_state.value, message, attempts, source_video_id=source_video_id, title=video.title)
            if at_once and attempts < MAX_ATTEMPTS:
                return _written(connection, source_video_id, {"attempts": attempts})
            return _written(connection, source_video_id, {"state": failed_state.value, "error": message, "attempts": attempts})

    def record_gold_master_failure(self, source_video_id: int, message: str, *, transient: bool, at_once: bool = False) -> SourceVideo:
        """Store why the gold master could not be made; the state of the row stays. Tries are counted as by `record_failure`.

        at_once: as there. A try that left no reason is followed by the next at once.
        """
        with self._database.begin() as connection:
            video = _locked(connection, source_video_id)
            attempts = attempts_after_failure(video.gold_master_attempts, transient=transient)
            error = None if at_once and attempts < MAX_ATTEMPTS else message
            tell_of_failure(connection, "gold_master_failed", message, attempts, source_video_id=source_video_id, title=video.title)
            return _written(connection, source_video_id, {"gold_master_error": error, "gold_master_attempts": attempts})

    def retry_gold_master(self, source_video_id: int) -> SourceVideo:
        """Reset the failed tries of a gold master, so that it is made again."""
        return self.update(source_video_id, gold_master_error=None, gold_master_attempts=0)

    def add_warning(self, source_video_id: int, warning: str) -> SourceVideo:
        """Store a sentence about what was unusual in the file and what was done; the same sentence is stored once."""
        with self._database.begin() as connection:
            return add_warning(connection, source_video_id, warning)

    def put_back(self, source_video_id: int) -> SourceVideo:
        """Put a source video that is being fetched back before that: it has to wait, which is no failure and counts no try."""
        return self.set_state(source_video_id, SourceVideoState.NEW, expected=[SourceVideoState.DOWNLOADING])

    def retry(self, source_video_id: int) -> SourceVideo:
        """Put a failed source video back before the stage that failed, with no failed tries.

        Raises IllegalTransitionError when it has not failed.
        """
        with self._database.begin() as connection:
            video = _locked(connection, source_video_id)
            before = SOURCE_VIDEO_RETRY.get(video.state)
            if before is None:
                raise IllegalTransitionError(
                    f"source video {source_video_id} has not failed (its state: {video.state}), so there is nothing to retry"
                )
            again = {"state": before.value, "error": None, "attempts": 0, "duplicate_of_id": None}
            return _written(connection, source_video_id, again)


def add_warning(connection: Connection, source_video_id: int, warning: str) -> SourceVideo:
    """As `SourceVideoStore.add_warning`, in a transaction that is open."""
    video = _locked(connection, source_video_id)
    return _written(connection, source_video_id, {"warnings": list(dict.fromkeys([*video.warnings, warning]))})


def lock_source_video(connection: Connection, source_video_id: int) -> SourceVideo:
    """Read the row and lock it until the transaction ends. Raises NotFoundError."""
    return _locked(connection, source_video_id)


def _locked(connection: Connection, source_video_id: int) -> SourceVideo:
    return video_of_row(_present(row_locks.lock_source_video(connection, source_video_id), source_video_id))


def put_columns(connection: Connection, source_video_id: int, **columns: Any) -> SourceVideo:
    """As SourceVideoStore.update, in a transaction of the caller."""
    _check_columns(columns)
    _locked(connection, source_video_id)
    return _written(connection, source_video_id, columns)


def _written(connection: Connection, source_video_id: int, columns: Mapping[str, Any]) -> SourceVideo:
    if not columns:
        return video_of_row(connection.execute(select(source_videos).where(source_videos.c.id == source_video_id)).one())
    query = source_videos.update().where(source_videos.c.id == source_video_id).values(**columns).returning(source_videos)
    return video_of_row(connection.execute(query).one())


def _check_columns(columns: Mapping[str, Any]) -> None:
    unknown = {name for name in columns if name not in source_videos.c or name in _KEPT}
    if unknown:
        raise TypeError(f"these columns cannot be written in this way: {', '.join(sorted(unknown))}")


def video_of_row(row: Row[Any]) -> SourceVideo:
    """A row of `source_videos`, whichever query it came from."""
    return video_of_values(dict(row._mapping))


def video_of_values(values: Mapping[str, Any]) -> SourceVideo:
    """values: column -> value, of a whole row."""
    return SourceVideo(**{**values, "state": SourceVideoState(values["state"]), "warnings": tuple(values["warnings"])})


def is_there() -> ColumnElement[bool]:
    """The condition that a source video is not deleted. A deleted one is shown only in the history."""
    return source_videos.c.state != SourceVideoState.DELETED.value


def _present(row: Row[Any] | None, source_video_id: int) -> Row[Any]:
    if row is None:
        raise NotFoundError(f"there is no source video {source_video_id}; heaters status lists all source videos")
    if row.state == SourceVideoState.DELETED:
        raise NotFoundError(f"source video {source_video_id} ({row.title}) was deleted; heaters review history says by whom")
    return row
