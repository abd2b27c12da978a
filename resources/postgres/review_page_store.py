"""What the review page reads besides the queue: the neighbours of a clip, and the action that a request made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Select, and_, any_, bindparam, exists, func, or_, select

from heaters_dagster.domain.review import STAYS
from resources.postgres.clip_rows import CLIP, CLIP_NAMES, Clip, clip_of_row
from resources.postgres.database import Database
from resources.postgres.tables import clips, review_actions


def _around() -> Select[Any]:
    centre, beside, before = clips.alias("centre"), clips.alias("beside"), clips.alias("before")
    touching = or_(
        beside.c.id == centre.c.id,
        beside.c.start_frame.in_([centre.c.start_frame, centre.c.end_frame]),
        beside.c.end_frame.in_([centre.c.start_frame, centre.c.end_frame]),
        and_(beside.c.start_frame >= centre.c.start_frame, beside.c.end_frame <= centre.c.end_frame),
    )
    # All of them begin between the clip before and the end of this one. Without these limits all clips of the source video are read.
    first = (
        select(before.c.start_frame)
        .where(before.c.source_video_id == centre.c.source_video_id, before.c.is_live, before.c.start_frame < centre.c.start_frame)
        .order_by(before.c.start_frame.desc())
        .limit(1)
        .scalar_subquery()
    )
    near = and_(beside.c.start_frame >= func.coalesce(first, 0), beside.c.start_frame <= centre.c.end_frame)
    return (
        select(*(beside.c[name] for name in CLIP_NAMES))
        .distinct()
        .join_from(centre, beside, and_(beside.c.source_video_id == centre.c.source_video_id, beside.c.is_live))
        .where(centre.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))), near, touching)
        .order_by(beside.c.source_video_id, beside.c.start_frame)
    )


#: Made once: to make it took a sixth of the processor time of the review app when 200 people decided.
_AROUND = _around()
_OF_REQUEST = select(review_actions.c.id).where(review_actions.c.request_key == bindparam("request_key"))
_HAS_DECIDED = select(
    exists().where(
        review_actions.c.reviewer_id == bindparam("reviewer_id"),
        func.cardinality(review_actions.c.clip_ids) > 0,
        review_actions.c.action.not_in([str(action) for action in STAYS]),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTaken:
    """What a row of the ledger did.

    versions: of the clips that it changed, after the change. undone: for an undo or redo the action that was undone or redone, with the
    clips before and after it.
    """

    versions: Mapping[int, int]
    undone: tuple[str, Mapping[str, Mapping[str, Any] | None], Mapping[str, Mapping[str, Any]]] | None


class ReviewPageStore:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deciders: set[int] = set()  # ids of reviewers who have decided: that stays so

    def around(self, clip_ids: Collection[int]) -> list[Clip]:
        """Those of these clips that are live, and the live clips next to them: the page shows them as neighbours."""
        if not clip_ids:
            return []
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(_AROUND, {"ids": list(clip_ids)})]

    def clip_at(self, source_video_id: int, frame: int) -> Clip | None:
        """The live clip that holds a frame; None when there is none."""
        held = (clips.c.source_video_id == source_video_id, clips.c.is_live, clips.c.start_frame <= frame)
        query = select(*CLIP).where(*held).order_by(clips.c.start_frame.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return clip_of_row(row) if row is not None and frame < row.end_frame else None

    def action_taken(self, action_id: int) -> ActionTaken:
        target = review_actions.alias("target")
        query = (
            select(review_actions.c.after.label("left"), target.c.action, target.c.before, target.c.after)
            .outerjoin_from(review_actions, target, target.c.id == review_actions.c.target_action_id)
            .where(review_actions.c.id == action_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one()
        versions = {int(clip_id): int(clip["version"]) for clip_id, clip in row.left.items()}
        return ActionTaken(versions=versions, undone=None if row.action is None else (row.action, row.before, row.after))

    def has_decided(self, reviewer_id: int) -> bool:
        """Whether this reviewer has ever made a decision that an undo could take back, or have taken back."""
        if reviewer_id not in self._deciders:
            with self._database.read() as connection:
                if connection.scalar(_HAS_DECIDED, {"reviewer_id": reviewer_id}):
                    self._deciders.add(reviewer_id)
        return reviewer_id in self._deciders

    def action_of_request(self, request_key: str) -> int | None:
        """Id of the review action that was made under this request key; None when there is none."""
        with self._database.read() as connection:
            found: int | None = connection.scalar(_OF_REQUEST, {"request_key": request_key})
        return found
