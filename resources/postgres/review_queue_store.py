"""The review queue in Postgres: the next clips, leased so that no two reviewers get the same one.

A lease is a name and a time on the clip's row. It only controls who is shown which clip: decisions are checked by version, not by lease.
A lease ends by itself when its time is over. Lease statements follow the order of `row_locks`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    any_,
    bindparam,
    func,
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

_DECISIONS = [str(action) for action in (ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.ARCHIVE, ReviewAction.GROUP)]


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
        )


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
            me = known_reviewer(connection, reviewer)
            within = scope_of(connection, chosen)
            leased = [] if within.is_empty else self._taken(connection, me, chosen, within, count, after)
            return _shown(connection, leased, chosen.order)

    def _taken(
        self, connection: Connection, me: int, chosen: QueueFilter, within: Scope, count: int, after: QueuePosition | None
    ) -> list[int]:
        """Ids of the leased clips.

        States are read one after the other until there are enough clips, because Postgres cannot lock rows of a union.
        """
        taken: list[int] = []
        for state in dict.fromkeys(chosen.states):
            query = _ordered(select(clips.c.id).where(_matching(within, [state]), _is_free(me)), chosen.order, after)
            picked = query.limit(count).with_for_update(skip_locked=True, key_share=True).cte("picked")
            taken += connection.scalars(select(picked.c.id))
        if len(set(chosen.states)) > 1:
            first = select(clips.c.id).where(clips.c.id.in_(taken)).limit(count)
            taken = list(connection.scalars(_ordered(first, chosen.order)))
        return self._leased(connection, me, clips.c.id.in_(taken)) if taken else []

    def open(self, clip_id: int, *, reviewer: str) -> QueueClip:
        """This clip, leased to the reviewer unless somebody else holds it (see `leased_by`). Raises NotFoundError."""
        if not 1 <= clip_id <= MAX_ID:
            raise _no_clip(clip_id)
        with self._database.begin() as connection:
            me = known_reviewer(connection, reviewer)
            self._leased(connection, me, and_(clips.c.id == clip_id, clips.c.is_live, _is_free(me)))
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
            me = known_reviewer(connection, reviewer)
            waiting = and_(clips.c.state == ClipState.PENDING_REVIEW.value, _is_free(me))
            held = select(clips.c.id).where(clips.c.id.in_(clip_ids), clips.c.is_live, or_(clips.c.leased_by_user_id == me, waiting))
            locked = locking(held).cte("locked")
            return sorted(self._leased(connection, me, clips.c.id.in_(select(locked.c.id))))

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

    def _leased(self, connection: Connection, me: int, which: ColumnElement[bool]) -> list[int]:
        until = func.clock_timestamp() + timedelta(seconds=self._lease_seconds)
        leased = clips.update().where(which).values(leased_by_user_id=me, lease_expires_at=until)
        return list(connection.scalars(leased.returning(clips.c.id)))


def _is_free(me: int) -> ColumnElement[bool]:
    return or_(clips.c.lease_expires_at.is_(None), clips.c.lease_expires_at <= func.now(), clips.c.leased_by_user_id == me)


def _matching(within: Scope, states: Collection[ClipState]) -> ColumnElement[bool]:
    if set(states) == set(ClipState):
        return within_scope(within)
    # The states are written into the statement, because Postgres needs another plan for a rare state than for a common one.
    written: BindParameter[Any] = bindparam("states", [str(state) for state in states], unique=True, expanding=True, literal_execute=True)
    return and_(within_scope(within), clips.c.state.in_(written))


def _page_of_ids(chosen: QueueFilter, within: Scope, after: QueuePosition | None, limit: int) -> Select[Any]:
    """Ids of the next matching clips, also of those that others hold.

    Each state is read from its own index, in order, and no further than needed.
    """
    if chosen.order == QueueOrder.SOURCE_VIDEO and set(chosen.states) == set(ClipState):
        return _ordered(select(clips.c.id).where(within_scope(within)), chosen.order, after).limit(limit)
    parts = [
        _ordered(select(clips).where(_matching(within, [state])), chosen.order, after).limit(limit)
        for state in dict.fromkeys(chosen.states)
    ]
    found = union_all(*(part.subquery().select() for part in parts)).subquery() if len(parts) > 1 else parts[0].subquery()
    return select(found.c.id).order_by(*_columns(found.c)[chosen.order]).limit(limit)


def _columns(clip: ReadOnlyColumnCollection[str, Any]) -> Mapping[QueueOrder, Sequence[ColumnElement[Any]]]:
    return {
        QueueOrder.CREATED: (clip.id,),
        QueueOrder.SOURCE_VIDEO: (clip.source_video_id, clip.start_frame, clip.id),
        QueueOrder.CONFIDENCE: (clip.confidence.asc().nulls_last(), clip.id),
    }


def _ordered(query: Select[Any], order: QueueOrder, after: QueuePosition | None = None) -> Select[Any]:
    return (query if after is None else query.where(_behind(after, order))).order_by(*_columns(clips.c)[order])


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
    if after.confidence is None:
        return and_(clip.confidence.is_(None), clip.id > after.clip_id)
    return or_(
        clip.confidence > after.confidence,
        and_(clip.confidence == after.confidence, clip.id > after.clip_id),
        clip.confidence.is_(None),
    )


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
