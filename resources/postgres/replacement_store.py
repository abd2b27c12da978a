"""Source videos that take the place of others: which, how far, and which of the old ones can go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Select, exists, select

from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.related import Relation
from heaters_dagster.domain.stages import EXPORTS
from resources.postgres.database import Database
from resources.postgres.related_tables import source_video_replacements
from resources.postgres.related_videos import link
from resources.postgres.source_video_store import lock_source_video
from resources.postgres.tables import clips, reviewers

_row = source_video_replacements.c
_OPEN = _row.state.in_(["waiting", "carried"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One row of `source_video_replacements`.

    state: waiting for the proxy of the new one and a person's word; carried: the new one has the clips and decisions, and the old one goes
    when its files are made; done: the old one is deleted; kept: it stays, as it was changed since, or has decisions that the new one has no
    frames for, or the new one was deleted; given_up. max_height: tallest picture to download, None for that of the settings. carried: clip
    id of the old one -> its version when its decision was taken over.
    """

    new_id: int
    old_id: int
    state: str
    max_height: int | None
    asked_by: str
    carried: Mapping[str, int] | None


class ReplacementStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of_new(self, new_id: int) -> Replacement | None:
        with self._database.read() as connection:
            return _found(connection, _row.new_id == new_id)

    def open_of_old(self, old_id: int) -> Replacement | None:
        """The one that is to take, or is taking, the place of a source video."""
        with self._database.read() as connection:
            return _found(connection, (_row.old_id == old_id) & _OPEN)

    def waiting(self, video_id: int) -> Replacement:
        """The one that waits for a person's word, by the old or the new source video. Raises NotFoundError."""
        with self._database.read() as connection:
            found = _found(connection, ((_row.old_id == video_id) | (_row.new_id == video_id)) & (_row.state == "waiting"))
        if found is None:
            raise NotFoundError(f"no file waits to replace source video {video_id}: heaters replace {video_id} FILE begins it")
        return found

    def to_finish(self, old_id: int) -> Replacement | None:
        """The replacement of a source video that can go now."""
        with self._database.read() as connection:
            goes = (_row.old_id == old_id) & (_row.state == "carried")  # others may have been given up before
            return _found(connection, goes & _row.old_id.in_(replaced_and_exported()))


def begin(connection: Connection, old_id: int, new_id: int, *, reviewer_id: int, max_height: int | None = None) -> None:
    """Say that a source video, which this transaction has added, is to take the place of an old one.

    In one transaction, so that it is never taken for a source video like others. Raises NotFoundError when the old one is deleted,
    BadRequestError when another one is to take its place already.
    """
    lock_source_video(connection, old_id)
    open_one = _found(connection, (_row.old_id == old_id) & _OPEN)
    if open_one is not None:
        raise BadRequestError(open_words(open_one))
    values = {"new_id": new_id, "old_id": old_id, "max_height": max_height, "asked_by_user_id": reviewer_id}
    connection.execute(source_video_replacements.insert().values(**values))
    link(connection, new_id, old_id, Relation.REPLACES)


def open_words(one: Replacement) -> str:
    """Why there can be no other replacement of its old source video now."""
    if one.state == "waiting":
        return (
            f"source video {one.new_id} waits to replace source video {one.old_id}: heaters replace {one.old_id} goes on with it, "
            f"heaters replace {one.old_id} --give-up forgets it"
        )
    return f"source video {one.old_id} is replaced by source video {one.new_id} already, and is deleted when its files are made"


def locked_waiting(connection: Connection, new_id: int) -> Replacement:
    """The row, locked. Raises NotFoundError when it does not wait any more."""
    found = _found(connection, (_row.new_id == new_id) & (_row.state == "waiting"), lock=True)
    if found is None:
        raise NotFoundError(f"source video {new_id} does not wait to replace another one any more")
    return found


def lock_carried(connection: Connection, new_id: int) -> None:
    """Lock the row. Raises NotFoundError when the old source video is deleted, or stays."""
    if _found(connection, (_row.new_id == new_id) & (_row.state == "carried"), lock=True) is None:
        raise NotFoundError(f"source video {new_id} is not taking the place of another one any more")


def set_state(connection: Connection, new_id: int, state: str, **columns: Any) -> None:
    connection.execute(source_video_replacements.update().where(_row.new_id == new_id).values(state=state, **columns))


def settle_deleted(connection: Connection, source_video_id: int) -> None:
    """A source video is being deleted: nothing waits for it any more, and what it has replaced, and is not deleted yet, stays.

    When another one has replaced it in turn, that one has the decisions, and the older one still goes. Said again, it changes nothing.
    """
    is_new, is_old = _row.new_id == source_video_id, _row.old_id == source_video_id
    update = source_video_replacements.update()
    connection.execute(update.where(is_new | is_old, _row.state == "waiting").values(state="given_up"))
    connection.execute(update.where(is_old, _row.state == "carried").values(state="done"))
    if _found(connection, is_old & (_row.state == "done")) is None:
        connection.execute(update.where(is_new, _row.state == "carried").values(state="kept"))


def waiting_ids() -> Select[Any]:
    """Ids of source videos that wait to replace another one: nothing is made of them before a person has said so."""
    return select(_row.new_id).where(_row.state == "waiting")


def replaced_and_exported() -> Select[Any]:
    """Ids of source videos that can go: another one has their decisions, and the files of its approved clips are made."""
    unmade = exists().where(clips.c.source_video_id == _row.new_id, clips.c.is_live, clips.c.state.in_(sorted(EXPORTS.steps.due)))
    return select(_row.old_id).where(_row.state == "carried", ~unmade)


def _found(connection: Connection, condition: Any, *, lock: bool = False) -> Replacement | None:
    names = [_row[spec.name] for spec in fields(Replacement) if spec.name != "asked_by"]
    query = select(*names, reviewers.c.name.label("asked_by")).join_from(
        source_video_replacements, reviewers, reviewers.c.id == _row.asked_by_user_id
    )
    query = query.where(condition)
    row: Any = connection.execute(query.with_for_update(of=source_video_replacements) if lock else query).first()
    return None if row is None else Replacement(**row._mapping)
