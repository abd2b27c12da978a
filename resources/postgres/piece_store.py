"""The pieces of proxies that are made on several machines: which there are, which are made, and who makes one now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import NoRoomError
from heaters_dagster.domain.profiles import SideStream
from heaters_dagster.domain.proxy_pieces import MOST_TRIES, Piece
from resources.postgres import row_locks
from resources.postgres.conditions import among
from resources.postgres.database import Database, lock_key
from resources.postgres.making_tables import proxy_pieces, source_video_making

#: Held by who makes a piece, by its id.
PIECE_LOCK = "proxy_piece"

_row = proxy_pieces.c


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """One row of `proxy_pieces`. sides: the small frames that it keeps."""

    id: int
    source_video_id: int
    made_with: str
    piece: Piece
    sides: tuple[SideStream, ...]
    tries: int
    is_made: bool


class PieceStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, source_video_id: int) -> list[StoredPiece]:
        """In order; none when the proxy is not made in pieces, or is made already."""
        query = select(proxy_pieces).where(_row.source_video_id == source_video_id).order_by(_row.number)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(query)]

    def plan(self, source_video_id: int, made_with: str, pieces: Sequence[Piece], sides: Sequence[SideStream]) -> list[StoredPiece]:
        """Write these pieces. Those that an earlier try has planned in the same way stay, made or not; all others go."""
        known = {one.piece.number: one for one in self.load(source_video_id)}
        if [(one.piece, one.sides, one.made_with) for one in known.values()] != [(piece, tuple(sides), made_with) for piece in pieces]:
            rows = [
                {"source_video_id": source_video_id, "number": piece.number, "made_with": made_with, "plan": _plan(piece, sides)}
                for piece in pieces
            ]
            with self._database.begin() as connection:
                row_locks.lock_source_video(connection, source_video_id)
                connection.execute(proxy_pieces.delete().where(_row.source_video_id == source_video_id))
                connection.execute(proxy_pieces.insert(), rows)
        return self.load(source_video_id)

    @contextmanager
    def claim(self, piece_id: int) -> Iterator[StoredPiece | None]:
        """Be the only one who makes this piece. None when another one makes it, or when it is made or gone by now. Counts a try."""
        with self._database.first_free_lock([lock_key(PIECE_LOCK, piece_id)]) as is_mine:
            yield self._begun(piece_id) if is_mine else None

    def _begun(self, piece_id: int) -> StoredPiece | None:
        mine = (_row.id == piece_id) & _row.made_at.is_(None)
        with self._database.begin() as connection:
            row = connection.execute(proxy_pieces.update().where(mine).values(tries=_row.tries + 1).returning(proxy_pieces)).first()
        return None if row is None else _stored(row)

    @contextmanager
    def no_try_without_room(self, piece_id: int) -> Iterator[None]:
        """Take back the try of a piece for which the disk of this machine has no room: that says nothing about the piece."""
        try:
            yield
        except NoRoomError:
            mine = (_row.id == piece_id) & (_row.tries > 0)
            with self._database.begin() as connection:
                connection.execute(proxy_pieces.update().where(mine).values(tries=_row.tries - 1))
            raise

    def is_claimed(self, piece_id: int) -> bool:
        return self._database.stage_is_busy(PIECE_LOCK, piece_id)

    def put_made(self, piece_id: int) -> bool:
        """Its files are stored. False when nobody wants it any more."""
        with self._database.begin() as connection:
            made = proxy_pieces.update().where(_row.id == piece_id).values(made_at=func.now(), host=self._database.host)
            return bool(connection.execute(made).rowcount)

    def put_lost(self, piece_id: int) -> None:
        """Its files are gone: it is to be made again."""
        with self._database.begin() as connection:
            connection.execute(proxy_pieces.update().where(_row.id == piece_id).values(made_at=None, host=None))

    def give_up(self, piece_id: int) -> None:
        """No machine is to help with it any more: only who makes the proxy tries it again."""
        with self._database.begin() as connection:
            connection.execute(proxy_pieces.update().where(_row.id == piece_id).values(tries=MOST_TRIES))

    def leave_to_joiner(self, source_video_id: int) -> int:
        """No machine is to help with this proxy any more: who makes it makes the rest itself. Returns how many pieces that are."""
        rest = (_row.source_video_id == source_video_id) & _row.made_at.is_(None)
        with self._database.begin() as connection:
            left = proxy_pieces.update().where(rest, _row.tries < MOST_TRIES).values(tries=MOST_TRIES)
            return connection.execute(left).rowcount

    def why_one_piece(self, source_video_id: int) -> str | None:
        """Why this proxy is not made in pieces; None when nobody knows of a reason."""
        with self._database.read() as connection:
            return one_piece_reasons(connection, [source_video_id]).get(source_video_id)

    def forget(self, source_video_id: int, *, one_piece: str | None = None) -> None:
        """The pieces are joined, or not wanted. one_piece: why this proxy is never made in pieces again."""
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            connection.execute(proxy_pieces.delete().where(_row.source_video_id == source_video_id))
            if one_piece is not None:
                columns = {"proxy_in_one_piece": one_piece}
                row = insert(source_video_making).values(source_video_id=source_video_id, **columns)
                connection.execute(row.on_conflict_do_update(index_elements=[source_video_making.c.source_video_id], set_=columns))

    def known(self, source_video_ids: Collection[int]) -> set[int]:
        """Those of these source videos that have pieces."""
        with self._database.read() as connection:
            return set(connection.scalars(select(_row.source_video_id).where(among(_row.source_video_id, source_video_ids)).distinct()))


def one_piece_reasons(connection: Connection, source_video_ids: Collection[int]) -> dict[int, str]:
    """Source video id -> why its proxy is not made in pieces; only those for which somebody has found a reason."""
    row = source_video_making.c
    query = select(row.source_video_id, row.proxy_in_one_piece).where(
        among(row.source_video_id, source_video_ids), row.proxy_in_one_piece.is_not(None)
    )
    return {found.source_video_id: found.proxy_in_one_piece for found in connection.execute(query)}


def free_pieces(connection: Connection, source_video_ids: Collection[int], held: Collection[int]) -> Mapping[int, tuple[int, ...]]:
    """Source video id -> numbers of its pieces that nobody makes and that another machine may make. held: see `held_locks`."""
    query = select(_row.id, _row.source_video_id, _row.number).where(
        among(_row.source_video_id, source_video_ids), _row.made_at.is_(None), _row.tries < MOST_TRIES
    )
    found: dict[int, tuple[int, ...]] = {}
    for row in connection.execute(query.order_by(_row.number)):
        if lock_key(PIECE_LOCK, row.id) not in held:
            found[row.source_video_id] = (*found.get(row.source_video_id, ()), row.number)
    return found


def _plan(piece: Piece, sides: Sequence[SideStream]) -> dict[str, Any]:
    return {"piece": piece.to_json(), "sides": [asdict(side) for side in sides]}


def _stored(row: Any) -> StoredPiece:
    sides = tuple(SideStream(**side) for side in row.plan["sides"])
    return StoredPiece(row.id, row.source_video_id, row.made_with, Piece(**row.plan["piece"]), sides, row.tries, row.made_at is not None)
