"""Subscriptions in Postgres: lists of the web that are looked at again, and which of their members were dealt with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.source_facts import clean_line
from heaters_dagster.domain.source_lists import Limits
from resources.postgres.database import Database
from resources.postgres.ingest_tables import subscription_members, subscriptions

SHORTEST_SECONDS = 300
LONGEST_SECONDS = 366 * 86_400
LONGEST_ADDRESS_BYTES = 2_000
#: After the first failed look; it doubles with each further one, up to the interval of the subscription.
_FIRST_RETRY_SECONDS = 900
#: To a look that is put off; until then others have their turn.
_ASKED_AGAIN_SECONDS = 60

_row = subscriptions.c
_member = subscription_members.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One row of `subscriptions`. error: why the last look failed or what it could not read, None when nothing was wrong."""

    id: int
    address: str
    title: str
    limits: Limits
    every_seconds: int
    chapters_as_cuts: bool
    rights: str | None
    subscribed_by: str | None
    created_at: datetime
    looked_at: datetime | None
    next_look_at: datetime
    told: str | None
    error: str | None
    failed_looks: int
    taken_count: int


class SubscriptionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        address: str,
        title: str,
        *,
        every_seconds: int,
        limits: Limits = Limits(),
        chapters_as_cuts: bool = False,
        rights: str | None = None,
        subscribed_by: str | None = None,
        seen: Collection[str] = (),
    ) -> Subscription:
        """A new subscription, which is looked at as soon as possible. seen: keys of members that it shall never take.

        Raises BadRequestError, also when there is one of this address.
        """
        if not SHORTEST_SECONDS <= every_seconds <= LONGEST_SECONDS:
            raise BadRequestError("a list can be looked at every 5 minutes at the most, and once a year at the least")
        if len(address.encode()) > LONGEST_ADDRESS_BYTES:
            raise BadRequestError(f"the address has {len(address.encode()):,} bytes; that of a subscription has at most 2,000")
        values = {
            "address": address,
            "title": title,
            "every_seconds": every_seconds,
            "limits": limits.checked().to_json(),
            "chapters_as_cuts": chapters_as_cuts,
            "rights": clean_line(rights),
            "subscribed_by": subscribed_by,
        }
        with self._database.begin() as connection:
            added = insert(subscriptions).values(**values).on_conflict_do_nothing(index_elements=[_row.address]).returning(subscriptions)
            row = connection.execute(added).first()
            if row is None:
                raise _known(connection.scalar(select(_row.id).where(_row.address == address)), address)
            _see(connection, row.id, seen)
            return _of_row(row)

    def refuse_known(self, address: str) -> None:
        """Raise BadRequestError when there is a subscription of this address."""
        with self._database.read() as connection:
            known = connection.scalar(select(_row.id).where(_row.address == address))
        if known is not None:
            raise _known(known, address)

    def load(self, subscription_id: int) -> Subscription:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(select(subscriptions).where(_row.id == subscription_id)).first()
        if row is None:
            raise NotFoundError(f"there is no subscription {subscription_id}; heaters subscriptions lists all subscriptions")
        return _of_row(row)

    def load_all(self) -> list[Subscription]:
        with self._database.read() as connection:
            return [_of_row(row) for row in connection.execute(select(subscriptions).order_by(_row.id))]

    def due(self) -> list[int]:
        """Ids of those whose next look is due by the clock of the database, the longest overdue first."""
        with self._database.read() as connection:
            return list(connection.scalars(select(_row.id).where(_row.next_look_at <= func.now()).order_by(_row.next_look_at, _row.id)))

    def make_due(self, subscription_id: int) -> Subscription:
        """Have it looked at as soon as possible. Raises NotFoundError."""
        with self._database.begin() as connection:
            return _written(connection, subscription_id, {"next_look_at": func.now()})

    def remove(self, subscription_id: int) -> Subscription:
        """The source videos that it brought stay. Raises NotFoundError."""
        found = self.load(subscription_id)
        with self._database.begin() as connection:
            connection.execute(subscriptions.delete().where(_row.id == subscription_id))
        return found

    def unseen(self, subscription_id: int, keys: Collection[str]) -> set[str]:
        """Those of the keys of members that this subscription has not dealt with."""
        digests = {_digest(key): key for key in keys}
        with self._database.read() as connection:
            seen = set(connection.scalars(select(_member.member_sha256).where(_member.subscription_id == subscription_id)))
        return {key for digest, key in digests.items() if digest not in seen}

    def finish_look(
        self, subscription_id: int, seen: Collection[str], *, taken: int, told: str, title: str, problem: str | None = None
    ) -> Subscription:
        """A look succeeded. seen: keys of the members that are dealt with. problem: what of the list could not be read."""
        values = {
            "looked_at": func.now(),
            "next_look_at": _after(_row.every_seconds),
            "told": told,
            "title": title,
            "error": problem,
            "failed_looks": 0,
            "taken_count": _row.taken_count + taken,
        }
        with self._database.begin() as connection:
            written = _written(connection, subscription_id, values)
            _see(connection, subscription_id, seen)
        return written

    def put_off_look(self, subscription_id: int, reason: str, *, until: datetime | None) -> Subscription:
        """The site must be left alone until then, in words; None: nobody knows for how long. That is no failure."""
        soon = _after(_ASKED_AGAIN_SECONDS)
        values = {"told": reason, "next_look_at": soon if until is None else func.greatest(soon, until)}
        with self._database.begin() as connection:
            return _written(connection, subscription_id, values)

    def fail_look(self, subscription_id: int, reason: str) -> Subscription:
        """A look failed: the next is sooner than usual, and later with each further failure."""
        pause = func.least(_row.every_seconds, _FIRST_RETRY_SECONDS * func.power(2, func.least(_row.failed_looks, 20)))
        failed = {"looked_at": func.now(), "next_look_at": _after(pause), "error": reason, "failed_looks": _row.failed_looks + 1}
        with self._database.begin() as connection:
            return _written(connection, subscription_id, failed)


def _known(subscription_id: int | None, address: str) -> BadRequestError:
    return BadRequestError(f"{address} is subscribed already, as subscription {subscription_id}: unsubscribe it to change its limits")


def _see(connection: Connection, subscription_id: int, keys: Collection[str]) -> None:
    rows = [{"subscription_id": subscription_id, "member_sha256": digest} for digest in sorted(set(map(_digest, keys)))]
    if rows:
        connection.execute(insert(subscription_members).on_conflict_do_nothing(), rows)


def _after(seconds: ColumnElement[Any] | int) -> ColumnElement[Any]:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _written(connection: Connection, subscription_id: int, values: Mapping[str, Any]) -> Subscription:
    """Raises NotFoundError: somebody has unsubscribed meanwhile."""
    query = subscriptions.update().where(_row.id == subscription_id).values(**values).returning(subscriptions)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"there is no subscription {subscription_id}; heaters subscriptions lists all subscriptions")
    return _of_row(row)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _of_row(row: Row[Any]) -> Subscription:
    values = dict(row._mapping)
    return Subscription(**{**values, "limits": Limits.from_json(values["limits"])})
