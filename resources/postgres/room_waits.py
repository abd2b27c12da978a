"""Which stages wait for room on the disk, where pages, commands and all machines can read it.

A stage that finds too little room writes it, and so does every look that holds back a run. A stage that begins takes it away, and so does a
look that finds room on its machine, or nothing to do any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, and_, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.due import RETRY_AFTER_SECONDS, RunWanted
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.ingest_tables import room_waits

_row = room_waits.c

#: Asset -> what its stage waits for.
WaitsByAsset: TypeAlias = dict[str, RoomWait]


@dataclass(frozen=True, slots=True)
class KnownWait:
    """A wait as it is stored. is_here: this machine has found it. seconds: since it was last found."""

    wait: RoomWait
    is_here: bool
    seconds: float

    @property
    def was_just_found_elsewhere(self) -> bool:
        """Another machine has found it, so short a time ago that it still counts."""
        return not self.is_here and self.seconds < RETRY_AFTER_SECONDS


class RoomWaitStore:
    """host: this machine."""

    def __init__(self, database: Database, *, host: str | None = None) -> None:
        self._database = database
        self._host = host or database.host

    def load(self) -> dict[tuple[int, str], KnownWait]:
        """(source video id, asset) -> its wait."""
        query = select(room_waits, func.extract("epoch", func.now() - _row.seen_at).label("seconds"))
        with self._database.read() as connection:
            return {
                (row.source_video_id, row.asset): KnownWait(
                    RoomWait(row.asset, row.bytes_needed, row.bytes_free), row.host == self._host, float(row.seconds)
                )
                for row in connection.execute(query)
            }

    def found_by(self, run: RunWanted) -> str | None:
        """What a stage of a run that has ended waits for, in words; None when it found room."""
        with self._database.read() as connection:
            waits = waits_of(connection, [int(run.partition_key)]).get(int(run.partition_key), {})
        return next((wait.words for asset, wait in waits.items() if asset in run.assets), None)

    def put(self, waits: Mapping[int, Collection[RoomWait]]) -> None:
        """Store what waits, by source video."""
        rows = [
            {
                "source_video_id": source_video_id,
                "asset": wait.asset,
                "bytes_needed": wait.bytes_needed,
                "bytes_free": wait.bytes_free,
                "host": self._host,
            }
            for source_video_id, found in waits.items()
            for wait in found
        ]
        if not rows:
            return
        new = insert(room_waits).values(rows)
        values = {name: new.excluded[name] for name in ("bytes_needed", "bytes_free", "host")} | {"seen_at": func.now()}
        with self._database.begin() as connection:
            connection.execute(new.on_conflict_do_update(index_elements=[_row.source_video_id, _row.asset], set_=values))

    def forget(self, waits: Collection[tuple[int, str]]) -> None:
        """These no longer wait: (source video id, asset)."""
        if waits:
            which = or_(*(and_(_row.source_video_id == source_video_id, _row.asset == asset) for source_video_id, asset in waits))
            with self._database.begin() as connection:
                connection.execute(room_waits.delete().where(which))


def waits_of(connection: Connection, source_video_ids: Collection[int] | None) -> dict[int, WaitsByAsset]:
    """Source video id -> what waits, by asset; only those with a wait. source_video_ids None: of all."""
    which = true() if source_video_ids is None else among(_row.source_video_id, source_video_ids)
    found: dict[int, WaitsByAsset] = {}
    for row in connection.execute(select(room_waits).where(which)):
        found.setdefault(row.source_video_id, {})[row.asset] = RoomWait(row.asset, row.bytes_needed, row.bytes_free)
    return found
