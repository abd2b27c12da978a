"""Gold masters that were asked back from cold storage and are not there yet, and what people have agreed to spend on that.

Exports from them wait, and that is no failure. Whatever leads to such an export, a decision that is taken back or a new version of a
profile, no gold master is asked for before a person has agreed to its price.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Float, ForeignKey, Select, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.cold_storage import Restore, RestoreOffer
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

restore_agreements = Table(
    "restore_agreements",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("storage_class", Text),
    Column("byte_size", BigInteger),
    Column("wanted_at", DateTime(timezone=True), comment="when an export needed it and nobody had agreed"),
    Column("agreed_usd", Float, comment="what it may cost at most"),
    Column("agreed_by", Text, comment="a reviewer, or the command line"),
    Column("agreed_at", DateTime(timezone=True)),
    Column(
        "looked_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when a machine last looked whether it can be read all the same",
    ),
    CheckConstraint("(wanted_at is null) = (storage_class is null or byte_size is null)", name="question"),
    CheckConstraint("(agreed_at is null) = (agreed_usd is null or agreed_by is null)", name="agreed"),
    CheckConstraint("wanted_at is not null or agreed_at is not null", name="said"),
    comment="what a person has agreed to spend on getting a gold master back, or that exports wait for a word",
)

_row = master_restores.c
_word = restore_agreements.c
#: Of prices that were computed twice: less than half a cent is no difference.
_SAME_PRICE_USD = 0.005


def waiting_for_master() -> Select[tuple[int]]:
    """Source videos whose gold master is on its way, or is in cold storage and nobody has agreed to get it back."""
    return select(_row.source_video_id).union_all(select(_word.source_video_id).where(_word.agreed_at.is_(None)))  # type: ignore[return-value]


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


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A gold master in cold storage that exports need, and to whose price nobody has agreed."""

    storage_class: str
    byte_size: int


class RestoreAgreements:
    """What people have agreed to. An agreement serves until the gold master can be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def agree(self, source_video_ids: Iterable[int], usd: float, *, by: str) -> None:
        """A person knows what each of these gold masters costs at most. Exports that waited for that are due."""
        values = {"agreed_usd": usd, "agreed_by": by, "agreed_at": func.now()}
        with self._database.begin() as connection:
            for source_video_id in sorted(set(source_video_ids)):
                new = insert(restore_agreements).values(source_video_id=source_video_id, **values)
                connection.execute(new.on_conflict_do_update(index_elements=[_word.source_video_id], set_=values))

    def covers(self, source_video_id: int, usd: float) -> bool:
        """Whether a person has agreed to so much."""
        query = select(_word.agreed_usd).where(_word.source_video_id == source_video_id)
        with self._database.read() as connection:
            agreed: float | None = connection.scalar(query)
        return agreed is not None and usd <= agreed + _SAME_PRICE_USD

    def ask(self, offer: RestoreOffer) -> None:
        """Exports wait until a person agrees to this offer; what was agreed to before was less, or served already."""
        values = {"storage_class": offer.storage_class, "byte_size": offer.byte_size, "wanted_at": func.now()}
        values |= {"agreed_usd": None, "agreed_by": None, "agreed_at": None}
        new = insert(restore_agreements).values(source_video_id=offer.source_video_id, **values)
        with self._database.begin() as connection:
            connection.execute(new.on_conflict_do_update(index_elements=[_word.source_video_id], set_=values))

    def unanswered(self, source_video_ids: Collection[int] | None = None) -> dict[int, Unanswered]:
        """Source video id -> what exports of it wait for; of all when None."""
        query = select(_word.source_video_id, _word.storage_class, _word.byte_size).where(_word.agreed_at.is_(None))
        if source_video_ids is not None:
            query = query.where(among(_word.source_video_id, source_video_ids))
        with self._database.read() as connection:
            return {row.source_video_id: Unanswered(row.storage_class, row.byte_size) for row in connection.execute(query)}

    def to_look_at(self, *, every_seconds: float) -> list[int]:
        """Those without an answer at which no machine has looked for so long; they count as looked at now."""
        old = func.extract("epoch", func.now() - _word.looked_at) >= every_seconds
        waits = _word.agreed_at.is_(None)
        with self._database.read() as connection:
            if connection.execute(select(_word.source_video_id).where(waits).limit(1)).first() is None:
                return []
        looked = restore_agreements.update().where(waits, old).values(looked_at=func.now()).returning(_word.source_video_id)
        with self._database.begin() as connection:
            return list(connection.scalars(looked))

    def forget(self, source_video_id: int) -> None:
        """The gold master can be read, or is gone."""
        mine = _word.source_video_id == source_video_id
        with self._database.read() as connection:
            if connection.execute(select(_word.source_video_id).where(mine)).first() is None:
                return
        with self._database.begin() as connection:
            connection.execute(restore_agreements.delete().where(mine))
