"""Gold masters that were asked back from cold storage and are not there yet. Exports from them wait, and that is no failure."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BigInteger, Column, DateTime, Float, ForeignKey, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.cold_storage import Restore
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.tables import metadata

master_restores = Table(
    "master_restores",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("expected_at", DateTime(timezone=True), nullable=False, comment="when it is there at the latest, by what S3 promises"),
    Column("byte_size", BigInteger, nullable=False),
    Column("estimated_usd", Float, nullable=False, comment="by list prices"),
    Column("looked_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="when a machine last asked for it"),
    comment="a gold master that was asked back from cold storage and is not there yet",
)

_row = master_restores.c


class MasterRestores:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, source_video_id: int, restore: Restore) -> None:
        """Note that it was asked for. The first note stays: it says since when."""
        new = insert(master_restores).values(
            source_video_id=source_video_id,
            asked_at=restore.asked_at,
            expected_at=restore.expected_at,
            byte_size=restore.byte_size,
            estimated_usd=restore.estimated_usd,
        )
        with self._database.begin() as connection:
            connection.execute(new.on_conflict_do_nothing())

    def load(self, source_video_ids: Collection[int] | None = None) -> dict[int, Restore]:
        """Source video id -> what was asked for; of all when None."""
        query = select(master_restores)
        if source_video_ids is not None:
            query = query.where(among(_row.source_video_id, source_video_ids))
        with self._database.read() as connection:
            return {
                row.source_video_id: Restore(row.asked_at, row.expected_at, row.byte_size, row.estimated_usd)
                for row in connection.execute(query)
            }

    def to_look_at(self, *, every_seconds: float) -> list[int]:
        """Source videos whose gold master nobody has looked for so long; they count as looked at now, so that one machine does it."""
        with self._database.read() as connection:
            if connection.execute(select(_row.source_video_id).limit(1)).first() is None:
                return []
        old = func.extract("epoch", func.now() - _row.looked_at) >= every_seconds
        looked = master_restores.update().where(old).values(looked_at=func.now()).returning(_row.source_video_id)
        with self._database.begin() as connection:
            return list(connection.scalars(looked))

    def forget(self, source_video_id: int) -> None:
        with self._database.begin() as connection:
            connection.execute(master_restores.delete().where(_row.source_video_id == source_video_id))
