"""What lets Heaters into web sites, in Postgres: sealed secrets, and beside them what may be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.site_access import SitePart
from resources.postgres.database import Database
from resources.postgres.ingest_tables import site_access


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccess:
    """told: what may be shown of the secret. ends_at: when a sign-in ends at the latest."""

    site: str
    part: SitePart
    sealed: bytes = field(repr=False)
    told: str
    ends_at: datetime | None
    changed_by: str
    changed_at: datetime


class SiteAccessStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load_all(self) -> list[StoredAccess]:
        """By site and part."""
        with self._database.read() as connection:
            rows = connection.execute(select(site_access).order_by(site_access.c.site, site_access.c.part))
            return [StoredAccess(**{**row._mapping, "part": SitePart(row.part)}) for row in rows]

    def put(self, site: str, part: SitePart, sealed: bytes, *, told: str, ends_at: datetime | None, by: str) -> None:
        """Store it in place of what was stored for this part of the site."""
        values = {"sealed": sealed, "told": told, "ends_at": ends_at, "changed_by": by}
        row = insert(site_access).values(site=site, part=part.value, **values)
        with self._database.begin() as connection:
            connection.execute(
                row.on_conflict_do_update(index_elements=["site", "part"], set_={**values, "changed_at": func.clock_timestamp()})
            )

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
