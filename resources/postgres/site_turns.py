"""Who may download from a site now, over all processes and machines: a lock for each turn, and a row that says when the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, column, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import Subquery

from heaters_dagster.domain.errors import HeatersError, NotYetError
from heaters_dagster.domain.politeness import HeldOff, after_refusal
from heaters_dagster.domain.stages import MAX_ATTEMPTS, SOURCE_VIDEO
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.postgres.conditions import among
from resources.postgres.database import Database, lock_key
from resources.postgres.ingest_tables import download_sites
from resources.postgres.tables import source_videos

_row = download_sites.c
_video = source_videos.c
_ASK_AGAIN_SECONDS = 1.0
#: Who names many addresses of a site is not told of each usual pause.
_SHORT_SECONDS = 5.0
_FETCHED_NEXT = [SOURCE_VIDEO.steps.ready, SOURCE_VIDEO.steps.failed]

#: The first source videos of each site that wait to be fetched, of sites that may be asked now. One look-up in an index for each site: of
#: thousands that wait for one site only the first are read, and those of other sites are not behind them.
_FIRST_OF_EACH_SITE = text("""
with recursive sites as (
    (select site from source_videos where state = 'new' and site is not null order by site limit 1)
    union all
    select (select next.site from source_videos as next where next.state = 'new' and next.site > sites.site order by next.site limit 1)
    from sites where sites.site is not null
),
known as (select site from sites where site is not null limit 1000)
select first.id from known left join download_sites using (site)
cross join lateral (
    select id, row_number() over (order by id) as place from source_videos
    where state = 'new' and source_videos.site = known.site and duplicate_of_id is null order by id limit :per_site
) as first
where download_sites.not_before is null or download_sites.not_before <= now()
order by first.place, first.id limit :most
""").columns(column("id", BigInteger))


class SiteTurns:
    """per_site: downloads from one site at a time. pause_seconds: between the end of one and the start of the next of a site."""

    def __init__(self, database: Database, *, per_site: int, pause_seconds: float) -> None:
        self._database = database
        self._per_site = per_site
        self._pause = timedelta(seconds=pause_seconds)

    @classmethod
    def from_settings(cls, settings: Settings, database: Database) -> SiteTurns:
        return cls(database, per_site=settings.downloads_per_site, pause_seconds=settings.download_pause_seconds)

    def site_of(self, address: str) -> str | None:
        """The site whose turn the address takes; None when it takes none."""
        with self._database.read() as connection:
            site: str | None = connection.scalar(select(func.heaters_site(address)))
        return site

    @contextmanager
    def turn(self, site: str, *, patience_seconds: float, say: Callable[[str], None] = lambda told: None) -> Iterator[None]:
        """Be one of those that may download from `site`, from when it wants to be asked; afterwards the pause begins.

        Waits for up to `patience_seconds`; `say` gets a sentence about it once. Raises NotYetError when that is not enough.
        """
        keys = [turn_key(site, place) for place in range(self._per_site)]
        busy = f"waits for its turn: {counted(self._per_site, 'download')} from {site} at a time"
        with self._one_of(keys, site, busy, patience_seconds, say):
            yield

    @contextmanager
    def list_turn(self, site: str, *, patience_seconds: float, say: Callable[[str], None] = lambda told: None) -> Iterator[None]:
        """Be the one that reads a list of `site`. Pauses and refusals are those of downloads, and the rest is as for `turn`.

        The turn is not that of a download, which may take hours: nobody would see a list of a site from which much is downloaded.
        """
        busy = f"waits for its turn: 1 list of {site} at a time"
        with self._one_of([lock_key(f"list of {site}", 0)], site, busy, patience_seconds, say):
            yield

    @contextmanager
    def _one_of(self, keys: Sequence[int], site: str, busy: str, patience_seconds: float, say: Callable[[str], None]) -> Iterator[None]:
        """Hold one of these locks. busy: what is said while all are taken."""
        ends, told = time.monotonic() + patience_seconds, False
        while True:
            held = self.held_off(site)
            if held is None:
                with self._database.first_free_lock(keys) as taken:
                    held = self.held_off(site) if taken else None  # it may have refused since
                    if taken and held is None:
                        try:
                            yield
                        finally:
                            self._pause_after(site)
                        return
            now, left = self._now(), ends - time.monotonic()
            why = held.words(now) if held else busy
            if left <= 0 or (held and (held.until - now).total_seconds() > left):
                raise NotYetError(why)
            if not told and (held is None or (held.until - now).total_seconds() > _SHORT_SECONDS):
                say(why)
                told = True
            time.sleep(min(_ASK_AGAIN_SECONDS, (held.until - now).total_seconds()) if held and held.until > now else _ASK_AGAIN_SECONDS)

    def held_off(self, site: str) -> HeldOff | None:
        """Until when a site may not be asked; None when it may."""
        with self._database.read() as connection:
            row = connection.execute(select(download_sites).where(_row.site == site, _row.not_before > func.now())).first()
        return None if row is None else _of_row(row)

    def refused(self, site: str, reason: str, wanted: datetime | None, *, counts: bool = True) -> HeldOff:
        """Take note that a site wants no requests until `wanted`; None: it does not say until when.

        counts: as one of the refusals in a row after which a download needs a person; those of lists do not, as no download ends the row.
        """
        with self._database.begin() as connection:
            now = connection.execute(select(func.now())).scalar_one()
            first = insert(download_sites).values(site=site, not_before=now).on_conflict_do_nothing()
            connection.execute(first)
            known = connection.execute(select(download_sites).where(_row.site == site).with_for_update()).one()
            held = after_refusal(site, now, wanted=wanted, refusals=known.refusals + 1, reason=reason)
            values = {"not_before": max(held.until, known.not_before), "reason": held.reason}
            values |= {"refusals": held.refusals} if counts else {}
            connection.execute(download_sites.update().where(_row.site == site).values(**values))
        return held

    def answered(self, site: str) -> None:
        """A download from it has come to its end: its refusals are over."""
        with self._database.begin() as connection:
            connection.execute(download_sites.update().where(_row.site == site).values(refusals=0, reason=None))

    def _pause_after(self, site: str) -> None:
        """Not before the pause is over, and not before what is known already."""
        row = insert(download_sites).values(site=site, not_before=func.now() + self._pause)
        later = func.greatest(download_sites.c.not_before, row.excluded.not_before)
        with suppress(HeatersError), self._database.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[_row.site], set_={"not_before": later}))

    def _now(self) -> datetime:
        with self._database.read() as connection:
            now: datetime = connection.execute(select(func.now())).scalar_one()
        return now


def turn_key(site: str, place: int) -> int:
    """The advisory lock of one of the turns at a site."""
    return lock_key(f"download from {site}", place)


def first_of_each_site(per_site: int, *, most: int) -> Subquery:
    """Ids of source videos that wait to be fetched, the first of each site that may be asked now; `most` in all."""
    return _FIRST_OF_EACH_SITE.bindparams(per_site=per_site, most=most).subquery("first_of_each_site")


def waits_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, str]:
    """Source video id -> until when its site is left alone and why, in words; of those that wait to be fetched."""
    rows = connection.execute(_held_off().where(among(_video.id, source_video_ids), _row.reason.is_not(None))).all()
    return {row.id: _of_row(row).words(row.now) for row in rows}


def waiting_for_sites(connection: Connection, only: Collection[int] | None = None) -> tuple[int, HeldOff | None]:
    """How many source videos wait because their sites are left alone, and the site that may be asked first of them.

    only: of these source videos.
    """
    if connection.scalar(select(_row.site).where(_row.not_before > func.now()).limit(1)) is None:
        return 0, None
    query = _held_off() if only is None else _held_off().where(among(_video.id, only))
    row = connection.execute(query.add_columns(func.count().over().label("waiting")).order_by(_row.not_before).limit(1)).first()
    return (0, None) if row is None else (row.waiting, _of_row(row))


def _held_off() -> Select[Any]:
    """Source videos that wait to be fetched, and whose sites are left alone."""
    due = (_video.state.in_(_FETCHED_NEXT), _video.duplicate_of_id.is_(None), _video.attempts < MAX_ATTEMPTS)
    columns = (_video.id, _row.site, _row.not_before, _row.reason, _row.refusals, func.now().label("now"))
    return select(*columns).join_from(source_videos, download_sites, _video.site == _row.site).where(*due, _row.not_before > func.now())


def _of_row(row: Any) -> HeldOff:
    return HeldOff(row.site, row.not_before, row.reason, row.refusals)
