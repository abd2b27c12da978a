"""What lets Heaters into web sites, in Postgres: sealed secrets, and beside them what may be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.site_access import SitePart
from resources.postgres.database import Database
from resources.postgres.ingest_tables import site_access


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccess:
    """told: what may be shown of the secret. ends_at: when a sign-in ends at the latest. file_mark: of the cookies file that was taken
    last; None: none was.
    """

    site: str
    part: SitePart
    sealed: bytes = field(repr=False)
    told: str
    ends_at: datetime | None
    changed_by: str
    changed_at: datetime
    file_mark: bytes | None = field(default=None, repr=False)


class SiteAccessStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load_all(self) -> list[StoredAccess]:
        """By site and part."""
        with self._database.read() as connection:
            rows = connection.execute(select(site_access).order_by(site_access.c.site, site_access.c.part))
            return [StoredAccess(**{**row._mapping, "part": SitePart(row.part)}) for row in rows]

    def file_mark(self, site: str) -> bytes | None:
        """Of the cookies file that was taken last for the site; None when its sign-in is from no file, or was deleted."""
        here = (site_access.c.site == site) & (site_access.c.part == SitePart.COOKIES.value)
        with self._database.read() as connection:
            mark: bytes | None = connection.scalar(select(site_access.c.file_mark).where(here))
        return mark

    def mark_anew(self, site: str, old: bytes, new: bytes) -> None:
        """The cookies file that was taken last has another mark now."""
        here = (site_access.c.site == site) & (site_access.c.part == SitePart.COOKIES.value) & (site_access.c.file_mark == old)
        with self._database.begin() as connection:
            connection.execute(site_access.update().where(here).values(file_mark=new))

    def put(
        self, site: str, part: SitePart, sealed: bytes, *, told: str, ends_at: datetime | None, by: str, file_mark: bytes | None = None
    ) -> None:
        """Store it in place of what was stored for this part of the site. file_mark: it comes from this file, and is stored only when the
        file that was taken last is another.
        """
        values: dict[str, Any] = {"sealed": sealed, "told": told, "ends_at": ends_at, "changed_by": by}
        is_new: ColumnElement[bool] | None = None
        if file_mark is not None:
            values["file_mark"] = file_mark
            is_new = site_access.c.file_mark.is_distinct_from(file_mark)
        row = insert(site_access).values(site=site, part=part.value, **values)
        newer = {**values, "changed_at": func.clock_timestamp()}
        with self._database.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["site", "part"], set_=newer, where=is_new))

    def renew(
        self, site: str, part: SitePart, again: Callable[[StoredAccess], tuple[bytes, str, datetime | None] | None], *, changed_at: datetime
    ) -> None:
        """Put what `again` gives (sealed text, told, ends_at) in place of what a person stored at `changed_at`; nothing when it gives None,
        or when somebody has stored another or deleted it since. Who stored it, and when, stays.
        """
        here = (site_access.c.site == site) & (site_access.c.part == part.value) & (site_access.c.changed_at == changed_at)
        with self._database.begin() as connection:
            row = connection.execute(select(site_access).where(here).with_for_update()).first()
            found = None if row is None else again(StoredAccess(**{**row._mapping, "part": SitePart(row.part)}))
            if found is not None:
                sealed, told, ends_at = found
                connection.execute(site_access.update().where(here).values(sealed=sealed, told=told, ends_at=ends_at))

    def delete(self, site: str, part: SitePart | None = None) -> list[SitePart]:
        """Delete one part, or all of the site; returns what was there."""
        gone = site_access.delete().where(site_access.c.site == site).returning(site_access.c.part)
        with self._database.begin() as connection:
            parts = connection.scalars(gone if part is None else gone.where(site_access.c.part == part.value))
            return sorted(SitePart(one) for one in parts)

    def seal_anew(self, again: Callable[[StoredAccess], bytes | None]) -> None:
        """Replace each sealed text by that of `again`, all in one transaction; those for which it gives None stay as they are."""
        with self._database.begin() as connection:
            for row in connection.execute(select(site_access).with_for_update()).all():
                one = StoredAccess(**{**row._mapping, "part": SitePart(row.part)})
                if (sealed := again(one)) is not None:
                    here = (site_access.c.site == one.site) & (site_access.c.part == one.part.value)
                    connection.execute(site_access.update().where(here).values(sealed=sealed))
