"""The review queue in Postgres: the next clips, leased so that no two reviewers get the same one.

A lease is a name and a time on the clip's row. It only controls who is shown which clip: decisions are checked by version, not by lease.
A lease ends by itself when its time is over. Lease statements follow the order of `row_locks`.

A page says every four seconds which clips it holds. Statements that 200 pages send are made once, and a lease is written only when it is
due: see `Lease.is_due`. Leases are committed without waiting for the disk: after a power cut the last of them may be gone, which costs
nobody a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Interval,
    Select,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from heaters_dagster.domain.clip_names import no_clips
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.review_queue import (
    MAX_ID,
    QueueFilter,
    QueueOrder,
    QueuePosition,
    QueueProgress,
    decisions_per_hour,
)
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_counts import Scope, counts_by_state, scope_of, within_scope
from resources.postgres.clip_rows import CLIP, Clip, clip_of_row
from resources.postgres.database import Database
from resources.postgres.row_locks import known_reviewer, locking
from resources.postgres.tables import clips, review_actions, reviewers, source_videos

_DECISIONS: list[ColumnElement[str]] = [
    literal_column(f"'{action}'") for action in (ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.ARCHIVE, ReviewAction.GROUP)
]
#: A lease that runs for this part of its time still, and for so many seconds, is left as it is when its page reports. Pages report every
#: four seconds, hidden ones every twenty; to write six leases each time took half of the time of the database.
_KEPT_PART = 0.75
_KEPT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueClip:
    """A clip as the queue shows it. leased_by: name of the reviewer who holds a lease on it, None when it is free."""

    clip: Clip
    source_video_title: str
    leased_by: str | None

    @property
    def position(self) -> QueuePosition:
        """Its place in a list: pass it as `after` to get the clips that follow."""
        return QueuePosition(
            clip_id=self.clip.id,
            source_video_id=self.clip.source_video_id,
            start_frame=self.clip.start_frame,
            confidence=self.clip.confidence,
            kind=self.clip.cut_kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A clip as the page of a reviewer must know it. version: `cut_point_version`.

    holder: name of who holds a lease on it, None when it is free. is_due: the reviewer holds or may have it, and the lease must be written.
    """

    clip_id: int
    version: int
    is_live: bool
    holder: str | None
    is_due: bool


class ReviewQueueStore:
    """lease_seconds: how long a clip stays reserved for a reviewer whose page no longer sends a sign of life.

    Reviewers are named as in ReviewStore.
    """

    def __init__(self, database: Database, *, lease_seconds: float = 60.0) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def take(self, chosen: QueueFilter, *, reviewer: str, count: int = 1, after: QueuePosition | None = None) -> list[QueueClip]:
        """Lease and return the next matching clips, in order: those that the reviewer already holds and those that nobody holds.

        after: only clips after this position. Fewer than `count`, or none, when there are no more.
        """
        with self._database.begin() as connection:
            return _shown(connection, self._take(connection, chosen, reviewer, count, after), chosen.order)

    def take_ids(self, chosen: QueueFilter, *, reviewer: str, count: int = 1) -> list[int]:
        """As `take`; only the ids."""
        with self._database.begin() as connection:
            return self._take(connection, chosen, reviewer, count, None)

    def _take(self, connection: Connection, chosen: QueueFilter, reviewer: str, count: int, after: QueuePosition | None) -> list[int]:
        """Ids of the leased clips, in order.

        States are read one after the other until there are enough clips, because Postgres cannot lock rows of a union.
        """
        me = _leasing(connection, reviewer)
        within = scope_of(connection, chosen)
        if within.is_empty:
            return []
        taken: dict[int, bool] = {}
        wanted = {"me": me, "kept": self._kept}
        for state in dict.fromkeys(chosen.states):
            missing = count
            for part in _parts_behind(after, chosen.order):
                query = _picking(within, state, chosen.order) if after is None else _picked(within, state, chosen.order, part)
                found = {row.id: row.is_due for row in connection.execute(query, {**wanted, "count": missing})}
                taken |= found
                missing -= len(found)
                if not missing:
                    break
        ids = list(taken)
        if len(set(chosen.states)) > 1:
            first = select(clips.c.id).where(clips.c.id.in_(taken)).limit(count)
            ids = list(connection.scalars(_ordered(first, chosen.order)))
        due = [clip_id for clip_id in ids if taken[clip_id]]
        if due:
            self._lease(connection, me, due)
        return ids

    def open(self, clip_id: int, *, reviewer: str) -> QueueClip:
        """This clip, leased to the reviewer unless somebody else holds it (see `leased_by`). Raises NotFoundError."""
        if not 1 <= clip_id <= MAX_ID:
            raise _no_clip(clip_id)
        with self._database.begin() as connection:
            me = _leasing(connection, reviewer)
            connection.execute(_OPEN, {"me": me, "lease": self._lease_time, "clip_id": clip_id})
            shown = _shown(connection, [clip_id], QueueOrder.SOURCE_VIDEO)
        if not shown:
            raise _no_clip(clip_id)
        return shown[0]

    def renew(self, clip_ids: Sequence[int], *, reviewer: str) -> list[int]:
        """Renew the leases of clips; return the ids that the reviewer now holds.

        A lease that ran out but that nobody took is renewed too. A clip that waits for a decision and that nobody holds is leased, because
        an undo, or a step to a neighbour, leads to clips that did not come from the queue.
        """
        with self._database.begin() as connection:
            me = _leasing(connection, reviewer)
            return sorted(connection.scalars(_RENEW, {"me": me, "lease": self._lease_time, "ids": list(clip_ids)}))

    def leases(self, clip_ids: Collection[int], *, reviewer: str) -> dict[int, Lease]:
        """Clip id -> what a page of this reviewer must know of it. Nothing is leased; a clip that does not exist is left out."""
        with self._database.read() as connection:
            rows = connection.execute(_LEASES, {"ids": list(clip_ids), "kept": self._kept, "reviewer": reviewer})
            return {row.clip_id: Lease(**row._mapping) for row in rows}

    def page(self, chosen: QueueFilter, *, after: QueuePosition | None = None, limit: int = 50) -> list[QueueClip]:
        """Matching clips in order, also those that others hold; nothing is leased.

        after: `position` of the last clip of the page before.
        """
        with self._database.read() as connection:
            ids = list(connection.scalars(_page_of_ids(chosen, scope_of(connection, chosen), after, limit)))
            return _shown(connection, ids, chosen.order)

    def versions(self, chosen: QueueFilter, *, limit: int) -> dict[int, int]:
        """Clip id -> version of the first `limit` matching clips by id, also of those that others hold."""
        with self._database.read() as connection:
            within = scope_of(connection, chosen)
            if within.is_empty:
                return {}
            query = select(clips.c.id, clips.c.cut_point_version).where(_matching(within, chosen.states)).order_by(clips.c.id).limit(limit)
            return {row.id: row.cut_point_version for row in connection.execute(query)}

    def progress(self, chosen: QueueFilter, *, reviewer: str | None = None) -> QueueProgress:
        """How far the review of the clips of `chosen` is; the states in the filter do not matter.

        reviewer: whose decisions `per_hour` counts; None: all.
        """
        with self._database.read() as connection:
            by_state = counts_by_state(connection, scope_of(connection, chosen))
            now, decided = _decided_of_late(connection, chosen.source_video_ids, reviewer)
        left = by_state.get(ClipState.PENDING_REVIEW, 0)
        return QueueProgress(done=sum(by_state.values()) - left, left=left, per_hour=decisions_per_hour(decided, now), by_state=by_state)

    @property
    def _lease_time(self) -> timedelta:
        return timedelta(seconds=self._lease_seconds)

    @property
    def _kept(self) -> timedelta:
        """A lease that runs longer is not due."""
        return timedelta(seconds=max(self._lease_seconds * _KEPT_PART, _KEPT_SECONDS))

    def _lease(self, connection: Connection, me: int, clip_ids: Sequence[int]) -> None:
        connection.execute(_LEASE, {"me": me, "lease": self._lease_time, "ids": list(clip_ids)})


def _leasing(connection: Connection, reviewer: str) -> int:
    """Id of the reviewer, who is going to lease clips in this transaction and change nothing else."""
    found = connection.scalar(_LEASING, {"reviewer": reviewer})
    return known_reviewer(connection, reviewer) if found is None else int(found)


_ME: ColumnElement[int] = bindparam("me", type_=BigInteger)
_UNTIL = func.clock_timestamp() + bindparam("lease", type_=Interval)
_THESE: ColumnElement[bool] = clips.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
_IS_UNLEASED = or_(clips.c.lease_expires_at.is_(None), clips.c.lease_expires_at <= func.now())
_IS_FREE = or_(_IS_UNLEASED, clips.c.leased_by_user_id == _ME)
_IS_SHORT = clips.c.lease_expires_at <= func.now() + bindparam("kept", type_=Interval)
_WAITS = clips.c.state == literal_column(f"'{ClipState.PENDING_REVIEW}'")

_LEASING = select(reviewers.c.id, func.set_config("synchronous_commit", "off", True)).where(reviewers.c.name == bindparam("reviewer"))
_LEASE = clips.update().where(_THESE).values(leased_by_user_id=_ME, lease_expires_at=_UNTIL)
_OPEN = clips.update().where(clips.c.id == bindparam("clip_id"), clips.c.is_live, _IS_FREE)
_OPEN = _OPEN.values(leased_by_user_id=_ME, lease_expires_at=_UNTIL)
_TO_RENEW = locking(
    select(clips.c.id).where(_THESE, clips.c.is_live, or_(clips.c.leased_by_user_id == _ME, and_(_WAITS, _IS_UNLEASED)))
).cte("locked")
_RENEW = (
    clips.update()
    .where(clips.c.id.in_(select(_TO_RENEW.c.id)))
    .values(leased_by_user_id=_ME, lease_expires_at=_UNTIL)
    .returning(clips.c.id)
)
_IS_MINE = func.coalesce(reviewers.c.name == bindparam("reviewer"), False)
_LEASES = (
    select(
        clips.c.id.label("clip_id"),
        clips.c.cut_point_version.label("version"),
        clips.c.is_live,
        case((~_IS_UNLEASED, reviewers.c.name)).label("holder"),
        and_(clips.c.is_live, or_(and_(_IS_MINE, _IS_SHORT), and_(_WAITS, _IS_UNLEASED))).label("is_due"),
    )
    .outerjoin_from(clips, reviewers, reviewers.c.id == clips.c.leased_by_user_id)
    .where(_THESE)
)


@lru_cache(maxsize=64)
def _picking(within: Scope, state: ClipState, order: QueueOrder) -> Select[Any]:
    """Made once for each queue."""
    return _picked(within, state, order, [])


def _picked(within: Scope, state: ClipState, order: QueueOrder, part: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The next free clips of this state in a part of the list, locked, and whether their leases are due."""
    query = _ordered(select(clips.c.id).where(_matching(within, [state]), _IS_FREE, *part), order)
    is_due = or_(clips.c.leased_by_user_id.is_distinct_from(_ME), _IS_SHORT).label("is_due")
    return query.add_columns(is_due).limit(bindparam("count", type_=BigInteger)).with_for_update(skip_locked=True, key_share=True)


def _matching(within: Scope, states: Collection[ClipState]) -> ColumnElement[bool]:
    if set(states) == set(ClipState):
        return within_scope(within)
    # The states are written into the statement, because Postgres needs another plan for a rare state than for a common one.
    return and_(within_scope(within), clips.c.state.in_([literal_column(f"'{state}'") for state in states]))


def _page_of_ids(chosen: QueueFilter, within: Scope, after: QueuePosition | None, limit: int) -> Select[Any]:
    """Ids of the next matching clips, also of those that others hold.

    Each state is read from its own index, in order, and no further than needed.
    """
    if chosen.order == QueueOrder.SOURCE_VIDEO and set(chosen.states) == set(ClipState):
        return _ordered(select(clips.c.id).where(within_scope(within)), chosen.order, after).limit(limit)
    # Only what the order needs: with all columns the statement had 64,000 characters, which took 50 ms to write, and rows were read.
    columns = [clips.c[name] for name in _ORDER[chosen.order]]
    parts = [
        _ordered(select(*columns).where(_matching(within, [state]), *part), chosen.order).limit(limit)
        for state in dict.fromkeys(chosen.states)
        for part in _parts_behind(after, chosen.order)
    ]
    found = union_all(*(part.subquery().select() for part in parts)).subquery() if len(parts) > 1 else parts[0].subquery()
    return select(found.c.id).order_by(*_columns(found.c, chosen.order)).limit(limit)


_ORDER: Mapping[QueueOrder, Sequence[str]] = {
    QueueOrder.CREATED: ("id",),
    QueueOrder.SOURCE_VIDEO: ("source_video_id", "start_frame", "id"),
    QueueOrder.CONFIDENCE: ("confidence", "id"),
    QueueOrder.KIND: ("cut_kind", "id"),
}


def _columns(clip: ReadOnlyColumnCollection[str, Any], order: QueueOrder) -> list[ColumnElement[Any]]:
    """Ascending, clips without a value last."""
    return [clip[name].asc().nulls_last() if clips.c[name].nullable else clip[name] for name in _ORDER[order]]


def _ordered(query: Select[Any], order: QueueOrder, after: QueuePosition | None = None) -> Select[Any]:
    return (query if after is None else query.where(_behind(after, order))).order_by(*_columns(clips.c, order))


def _parts_behind(after: QueuePosition | None, order: QueueOrder) -> list[list[ColumnElement[bool]]]:
    """Conditions of the parts of a list that lie behind a position, in their order.

    Clips without a value come last. In one condition with them, Postgres reads the index from its beginning for each page.
    """
    if after is None:
        return [[]]
    value = {QueueOrder.KIND: after.kind, QueueOrder.CONFIDENCE: after.confidence}.get(order)
    if value is None:
        return [[_behind(after, order)]]
    column = clips.c.cut_kind if order == QueueOrder.KIND else clips.c.confidence
    return [[tuple_(column, clips.c.id) > tuple_(value, after.clip_id)], [column.is_(None)]]


def _behind(after: QueuePosition, order: QueueOrder) -> ColumnElement[bool]:
    clip = clips.c
    if order == QueueOrder.CREATED:
        return clip.id > after.clip_id
    if order == QueueOrder.SOURCE_VIDEO:
        # The first comparison follows from the second; it is there because it limits the index scan.
        return and_(
            clip.source_video_id >= after.source_video_id,
            tuple_(clip.source_video_id, clip.start_frame, clip.id) > tuple_(after.source_video_id, after.start_frame, after.clip_id),
        )
    by_kind = order == QueueOrder.KIND
    column, value = (clip.cut_kind, after.kind) if by_kind else (clip.confidence, after.confidence)
    if value is None:
        return and_(column.is_(None), clip.id > after.clip_id)
    return or_(column > value, and_(column == value, clip.id > after.clip_id), column.is_(None))


def _shown(connection: Connection, ids: Sequence[int], order: QueueOrder) -> list[QueueClip]:
    """The clips in order, as they are now."""
    running = and_(reviewers.c.id == clips.c.leased_by_user_id, clips.c.lease_expires_at > func.now())
    query = (
        select(*CLIP, source_videos.c.title.label("_title"), reviewers.c.name.label("_holder"))
        .join_from(clips, source_videos)
        .outerjoin(reviewers, running)
        .where(clips.c.id.in_(ids))
    )
    shown = []
    for row in connection.execute(_ordered(query, order)):
        *clip, title, holder = row
        shown.append(QueueClip(clip=clip_of_row(clip), source_video_title=title, leased_by=holder))
    return shown


def _decided_of_late(
    connection: Connection, source_video_ids: Sequence[int], reviewer: str | None
) -> tuple[datetime, list[tuple[datetime, int]]]:
    """(now, [(when, how many clips)]) of the decisions of the last hour that were not undone: added up, with the time of the first."""
    query = _decided(bool(source_video_ids), reviewer is not None)
    row = connection.execute(query, {"videos": list(source_video_ids), "reviewer": reviewer}).one()
    return row.now, [] if row.first is None else [(row.first, int(row.clips))]


@cache
def _decided(has_videos: bool, has_reviewer: bool) -> Select[Any]:
    """Made once for each kind. `now()` limits the scan of the index; a decision may be newer than it."""
    action = review_actions.c
    query = select(
        func.clock_timestamp().label("now"),
        func.min(action.created_at).label("first"),
        func.sum(func.cardinality(action.clip_ids)).label("clips"),
    ).where(action.created_at >= func.now() - timedelta(hours=1), action.action.in_(_DECISIONS), ~action.undone)
    if has_videos:
        query = query.where(action.source_video_id == any_(bindparam("videos", type_=ARRAY(BigInteger))))
    if has_reviewer:
        me = select(reviewers.c.id).where(reviewers.c.name == bindparam("reviewer")).scalar_subquery()
        query = query.where(action.reviewer_id == me)
    return query


def _no_clip(clip_id: int) -> NotFoundError:
    return NotFoundError(no_clips([clip_id]))
