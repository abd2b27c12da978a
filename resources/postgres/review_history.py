"""Reads the review ledger for people: what its rows hold, and the queries for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, any_, func, literal, literal_column, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.words import action_words
from resources.postgres.review_statements import CLIP_IDS
from resources.postgres.tables import clips, review_actions, reviewers, source_videos


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One row of the ledger with its reviewer's name.

    clip_ids: clips that the action depends on; empty when it changed nothing. before, after: snapshots by clip id, with frames, times,
    state; before is None for a clip the action made. target_action_id, target_action, target_details: of what an undo undid or a redo
    redid. undone: it was undone later. details: for a new title "title_before" and "title"; for a deletion facts about the source video.
    before_counts, after_counts: None when `before` and `after` are whole; else they hold the first clips only, and these say how many live
    clips had each state.
    """

    id: int
    action: ReviewAction
    reviewer: str
    source_video_id: int
    source_video_title: str
    clip_ids: tuple[int, ...]
    before: Mapping[str, Mapping[str, Any] | None]
    after: Mapping[str, Mapping[str, Any]]
    target_action_id: int | None
    undone: bool
    details: Mapping[str, Any]
    created_at: datetime
    before_counts: Mapping[str, int] | None = None
    after_counts: Mapping[str, int] | None = None
    target_action: ReviewAction | None = None
    target_details: Mapping[str, Any] | None = None

    @property
    def words(self) -> str:
        """`imported the cuts of a list: reel.edl`, `undid importing the cuts of a list: reel.edl`."""
        words = action_words(self.action, self.target_action)
        details = self.details if self.target_action is None else self.target_details or {}
        match self.target_action or self.action:
            case ReviewAction.RENAME:
                return f"{words}: {details.get('title')} (was {details.get('title_before')})"
            case ReviewAction.IMPORT_CUTS if file := details.get("file"):
                return f"{words}: {file}"
        return words


def is_of_video(connection: Connection, source_video_id: int) -> ColumnElement[bool]:
    """Actions on a source video.

    Most are stored under it; an action on several is stored under the first of them and found by its clips.
    """
    of_video = select(clips.c.id).where(clips.c.source_video_id == source_video_id)
    elsewhere = select(review_actions.c.id).where(
        CLIP_IDS.overlap(func.array(of_video.scalar_subquery())), review_actions.c.source_video_id != source_video_id
    )
    under_it = review_actions.c.source_video_id == source_video_id
    found = connection.scalars(elsewhere).all()
    return or_(under_it, is_one_of(found)) if found else under_it


def is_one_of(action_ids: Iterable[int]) -> ColumnElement[bool]:
    """The ids are looked up first. In one statement with the sort order, Postgres would read the ledger from its end."""
    return review_actions.c.id == any_(literal(list(action_ids), ARRAY(BigInteger)))


def history_query(most_snapshots: int | None) -> Select[Any]:
    if most_snapshots is None:
        sides: list[ColumnElement[Any]] = [review_actions.c.before, review_actions.c.after]
    else:
        sides = [column for side in ("before", "after") for column in _cut_short(side, most_snapshots)]
    target = review_actions.alias("target")
    return (
        select(
            review_actions.c.id,
            review_actions.c.action,
            reviewers.c.name.label("reviewer"),
            review_actions.c.source_video_id,
            source_videos.c.title.label("source_video_title"),
            review_actions.c.clip_ids,
            *sides,
            review_actions.c.target_action_id,
            review_actions.c.undone,
            review_actions.c.details,
            review_actions.c.created_at,
            target.c.action.label("target_action"),
            target.c.details.label("target_details"),
        )
        .join_from(review_actions, reviewers)
        .outerjoin(target, target.c.id == review_actions.c.target_action_id)
        .join(source_videos, source_videos.c.id == review_actions.c.source_video_id)
    )


def _cut_short(side: str, most: int) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Snapshots of the first `most` clips and, where there are more, how many live clips had each state."""
    column, is_long = f"review_actions.{side}", f"cardinality(review_actions.clip_ids) > {most}"
    # The keys are made once, in a subquery of their own: in the condition they would be made for each of thousands of snapshots.
    first = (
        "(select coalesce(jsonb_object_agg(one.key, one.value), '{}') "
        f"from (select (review_actions.clip_ids[1:{most}])::text[] as keys offset 0) as wanted, jsonb_each({column}) as one "
        "where one.key = any(wanted.keys))"
    )
    states = (
        "(select coalesce(jsonb_object_agg(state, clips), '{}') from ("
        f"select value ->> 'state' as state, count(*) as clips from jsonb_each({column}) "
        "where jsonb_typeof(value) = 'object' and coalesce(cast(value ->> 'is_live' as boolean), true) group by 1) as counted)"
    )
    return (
        literal_column(f"case when {is_long} then {first} else {column} end", JSONB).label(side),
        literal_column(f"case when {is_long} then {states} end", JSONB).label(f"{side}_counts"),
    )


def history_entry(row: Row[Any]) -> HistoryEntry:
    target = None if row.target_action is None else ReviewAction(row.target_action)
    told = {"action": ReviewAction(row.action), "clip_ids": tuple(row.clip_ids), "target_action": target}
    return HistoryEntry(**{**row._mapping, **told})
