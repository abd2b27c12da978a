"""With what the files of source videos were made, one row each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from resources.postgres import row_locks
from resources.postgres.database import Database
from resources.postgres.making_tables import source_video_making

_row = source_video_making.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One row of `source_video_making`. None: the file is not made yet, or it was made before this was kept.

    *_made_with: version and settings of the stage that made it. proxy_version: another proxy has another one. proxy_is_being_replaced: a
    new proxy is being put in place of the old one; when no process does it, it was killed, and the proxy must be made again.
    proxy_in_one_piece: why the proxy cannot be made in pieces, as was found out.
    """

    proxy_made_with: str | None = None
    proxy_version: str | None = None
    proxy_is_being_replaced: bool = False
    gold_master_made_with: str | None = None
    proxy_in_one_piece: str | None = None


_COLUMNS = [_row[spec.name] for spec in fields(Making)]


class MakingStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, source_video_id: int) -> Making:
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(_row.source_video_id == source_video_id)).first()
        return Making() if row is None else Making(**row._mapping)

    def put(self, source_video_id: int, **columns: Any) -> None:
        """Write these members of Making."""
        with self._database.begin() as connection:
            put_making(connection, source_video_id, **columns)


def put_making(connection: Connection, source_video_id: int, **columns: Any) -> None:
    """As MakingStore.put, in a transaction of the caller."""
    row_locks.lock_source_video(connection, source_video_id)
    row = insert(source_video_making).values(source_video_id=source_video_id, **columns)
    connection.execute(row.on_conflict_do_update(index_elements=[_row.source_video_id], set_=columns))
