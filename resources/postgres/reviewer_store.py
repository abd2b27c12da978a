"""Reviewers in Postgres: a name, and the OIDC subject of those who sign in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.review import checked_reviewer_name, is_name_at_command_line, name_at_command_line
from resources.postgres.database import Database
from resources.postgres.row_locks import lock_reviewer
from resources.postgres.tables import reviewers


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """name: unique, and what the ledger shows. oidc_subject: who signs in under it; None for a name chosen on trust."""

    id: int
    name: str
    oidc_subject: str | None
    created_at: datetime
    last_seen_at: datetime


class ReviewerStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def named(self, name: str) -> Reviewer:
        """The reviewer with that name, created if new. For a review app without sign-in, which trusts names.

        Raises BadRequestError for an unusable name, for the name of somebody who signs in, and for a name of the command line:
        nobody may decide under these.
        """
        if is_name_at_command_line(name):
            raise BadRequestError(f"the name {name!r} is reserved for decisions on the command line; choose another")
        with self._database.begin() as connection:
            reviewer = _reviewer(lock_reviewer(connection, name))
        if reviewer.oidc_subject is not None:
            raise BadRequestError(f"the name {reviewer.name!r} belongs to somebody who signs in; choose another")
        return reviewer

    def at_command_line(self, name: str) -> Reviewer:
        """The reviewer for decisions on the command line when `name` is given there, created if new.

        On the command line nobody proves who they are. While nobody signs in anywhere, a name is used as given, as in the browser. Once
        somebody signs in, plain names in the ledger belong to people who did, and decisions made here have `NAME (command line)`.
        """
        with self._database.begin() as connection:
            somebody_signs_in = connection.scalar(select(exists().where(reviewers.c.oidc_subject.is_not(None))))
            return _reviewer(lock_reviewer(connection, name_at_command_line(name) if somebody_signs_in else name))

    def signed_in(self, *, oidc_subject: str, name: str) -> Reviewer:
        """The reviewer with that OIDC subject, created if new.

        If the name is taken, the new reviewer gets a number: `Ann (2)`. Names never change, because people read the ledger by them.
        """
        if is_name_at_command_line(name):
            name = f"{name}, signed in"
        with self._database.begin() as connection:
            for number in range(1, 1000):
                row = connection.execute(
                    reviewers.update()
                    .where(reviewers.c.oidc_subject == oidc_subject)
                    .values(last_seen_at=func.clock_timestamp())
                    .returning(reviewers)
                ).first()
                if row is not None:
                    return _reviewer(row)
                wanted = checked_reviewer_name(name if number == 1 else f"{name} ({number})")
                row = connection.execute(
                    insert(reviewers).values(name=wanted, oidc_subject=oidc_subject).on_conflict_do_nothing().returning(reviewers)
                ).first()
                if row is not None:
                    return _reviewer(row)
        raise BadRequestError(f"the name {name!r} is taken, and so are a thousand names like it; choose another")

    def load(self, reviewer_id: int) -> Reviewer:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(select(reviewers).where(reviewers.c.id == reviewer_id)).first()
        if row is None:
            raise NotFoundError(f"there is no reviewer {reviewer_id}")
        return _reviewer(row)

    def load_all(self) -> list[Reviewer]:
        """By name."""
        with self._database.read() as connection:
            return [_reviewer(row) for row in connection.execute(select(reviewers).order_by(reviewers.c.name))]


def _reviewer(row: Row[Any]) -> Reviewer:
    return Reviewer(**row._mapping)
