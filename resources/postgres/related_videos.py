"""Which source videos are, or may be, the same video: found, read, and dismissed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from sqlalchemy import Connection, exists, false, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.looks import SAMPLES, likeness, same_length
from heaters_dagster.domain.related import Related, Relation
from resources.postgres import row_locks
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.ingest_tables import source_video_facts
from resources.postgres.related_tables import related_source_videos, source_video_looks, source_video_replacements
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import source_videos

_row = related_source_videos.c
_looks = source_video_looks.c
#: The longest frame that is looked for: of one picture a second.
_LONGEST_FRAME_SECONDS = 1.0
#: So many source videos are named as alike; more do not help anybody.
_MOST_ALIKE = 20


class RelatedVideos:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_looks(
        self, source_video_id: int, *, looks_filepath: str, duration_seconds: float, frame_seconds: float, sample: bytes
    ) -> list[int]:
        """Write down what a source video looks like, and hint at those of the same length that look like it; returns their ids.

        sample: (16, 16) uint8 of `domain.looks.sampled`. A hint that a person has dismissed stays so.
        """
        values = {"looks_filepath": looks_filepath, "duration_seconds": duration_seconds, "frame_seconds": frame_seconds, "sample": sample}
        row = insert(source_video_looks).values(source_video_id=source_video_id, **values)
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            connection.execute(row.on_conflict_do_update(index_elements=[_looks.source_video_id], set_=values))
            own_hash = select(source_videos.c.content_sha256).where(source_videos.c.id == source_video_id).scalar_subquery()
            near = select(source_video_looks).join(source_videos, source_videos.c.id == _looks.source_video_id)
            near = near.where(
                _looks.source_video_id != source_video_id,
                _looks.duration_seconds.between(duration_seconds - _LONGEST_FRAME_SECONDS, duration_seconds + _LONGEST_FRAME_SECONDS),
                ~func.coalesce(source_videos.c.content_sha256 == own_hash, false()),  # made by force: a link says so
                is_there(),
            )
            found: list[int] = []
            for other in connection.execute(near.order_by(_looks.source_video_id)):
                longer = max(frame_seconds, other.frame_seconds)
                if not same_length(duration_seconds, other.duration_seconds, frame_seconds=longer):
                    continue
                alike = likeness(_sample(sample), _sample(other.sample))
                if alike.is_hint and len(found) < _MOST_ALIKE:
                    details = {"alike": alike.alike, "compared": alike.compared}
                    _note(connection, source_video_id, other.source_video_id, Relation.LOOKS_ALIKE, details)
                    found.append(other.source_video_id)
            return found

    def looks_filepath(self, source_video_id: int) -> str | None:
        """The object key of the looks of all its frames; None when they were never taken."""
        with self._database.read() as connection:
            key: str | None = connection.scalar(select(_looks.looks_filepath).where(_looks.source_video_id == source_video_id))
        return key

    def hint_at_same_on_site(self, source_video_id: int) -> list[int]:
        """Hint at the source videos that a site calls by the same id: other downloads of one video; returns their ids."""
        own, other = source_video_facts.alias("own"), source_video_facts.alias("other")
        query = select(other.c.source_video_id, own.c.site).where(
            own.c.source_video_id == source_video_id,
            own.c.site_id.is_not(None),
            other.c.site == own.c.site,
            other.c.site_id == own.c.site_id,
            other.c.source_video_id != source_video_id,
        )
        query = query.join_from(other, source_videos, source_videos.c.id == other.c.source_video_id).where(
            is_there(), source_videos.c.duplicate_of_id.is_(None), source_videos.c.content_sha256.is_not(None)
        )
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            rows = connection.execute(query.order_by(other.c.source_video_id).limit(_MOST_ALIKE)).all()
            for row in rows:
                _note(connection, source_video_id, row.source_video_id, Relation.SAME_ON_SITE, {"site": row.site})
        return [row.source_video_id for row in rows]

    def link(self, source_video_id: int, other_id: int, kind: Relation, **details: Any) -> None:
        """Say what a source video is to another one; said twice, the later details count."""
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            link(connection, source_video_id, other_id, kind, **details)

    def link_again(self, source_video_id: int, other_id: int) -> None:
        """Say that a source video was submitted again by force, unless it is already said what it is to the other one."""
        with self._database.begin() as connection:
            row_locks.lock_source_video(connection, source_video_id)
            values = {"source_video_id": source_video_id, "other_id": other_id, "kind": Relation.AGAIN.value}
            pair = (_row.source_video_id == source_video_id) & (_row.other_id == other_id)
            if not connection.scalar(select(exists().where(pair, _row.kind == Relation.REPLACES.value))):
                connection.execute(insert(related_source_videos).values(**values).on_conflict_do_nothing())

    def of(self, source_video_ids: Collection[int]) -> dict[int, list[Related]]:
        """Source video id -> what it is to others, and they to it; without dismissed hints and deleted videos."""
        if not source_video_ids:
            return {}
        with self._database.read() as connection:
            return related_of(connection, source_video_ids)

    def dismiss(self, source_video_id: int, other_id: int, *, reviewer: str) -> int:
        """Say that the hints between two source videos are of no use; returns how many there were. Raises NotFoundError when none."""
        pair = or_(
            (_row.source_video_id == source_video_id) & (_row.other_id == other_id),
            (_row.source_video_id == other_id) & (_row.other_id == source_video_id),
        )
        hints = _row.kind.in_([kind.value for kind in Relation if kind.is_hint])
        with self._database.begin() as connection:
            by = row_locks.known_reviewer(connection, reviewer)
            hidden = related_source_videos.update().where(pair, hints, _row.dismissed_at.is_(None))
            count = connection.execute(hidden.values(dismissed_at=func.now(), dismissed_by_user_id=by)).rowcount
        if not count:
            raise NotFoundError(f"there is no hint that source videos {source_video_id} and {other_id} are the same")
        return int(count)


def link(connection: Connection, source_video_id: int, other_id: int, kind: Relation, **details: Any) -> None:
    """As `RelatedVideos.link`, in a transaction that has locked the newer source video."""
    row = insert(related_source_videos).values(source_video_id=source_video_id, other_id=other_id, kind=kind.value, details=details)
    connection.execute(row.on_conflict_do_update(index_elements=["source_video_id", "other_id", "kind"], set_={"details": details}))


def related_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, list[Related]]:
    """As `RelatedVideos.of`, in a transaction that is open."""
    found: dict[int, list[Related]] = {}
    for own, other, is_newer in ((_row.source_video_id, _row.other_id, True), (_row.other_id, _row.source_video_id, False)):
        state = source_video_replacements.c.state
        query = (
            select(own.label("own"), other.label("other"), source_videos.c.title, _row.kind, _row.details, state.label("replacement"))
            .join_from(related_source_videos, source_videos, source_videos.c.id == other)
            .outerjoin(source_video_replacements, source_video_replacements.c.new_id == _row.source_video_id)
            .where(among(own, source_video_ids), _row.dismissed_at.is_(None))
            .where(or_(is_there(), (_row.kind == Relation.REPLACES.value) & (state == "done")))
        )
        for row in connection.execute(query.order_by(own, other, _row.kind)):
            kind = Relation(row.kind)
            details = {"state": row.replacement} if kind is Relation.REPLACES else row.details
            one = Related(kind=kind, other_id=row.other, other_title=row.title, is_newer=is_newer, details=details)
            found.setdefault(row.own, []).append(one)
    return found


def _note(connection: Connection, source_video_id: int, other_id: int, kind: Relation, details: dict[str, Any]) -> None:
    """Hint at it once: the newer of the two has the row, and a hint that is there, dismissed or not, stays.

    No hint between two of which a person has said what they are to each other.
    """
    newer, older = max(source_video_id, other_id), min(source_video_id, other_id)
    pair = (_row.source_video_id == newer) & (_row.other_id == older)
    if connection.scalar(select(exists().where(pair, _row.kind.in_([kind.value for kind in Relation if not kind.is_hint])))):
        return
    row = insert(related_source_videos).values(source_video_id=newer, other_id=older, kind=kind.value, details=details)
    connection.execute(row.on_conflict_do_nothing())


def _sample(data: bytes) -> Any:
    return np.frombuffer(data, np.uint8).reshape(SAMPLES, -1)
