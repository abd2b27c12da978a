"""The SQL statements of the review transaction: they read the ledger and neighbouring clips, and write clips."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Select, and_, case, literal_column, select, text, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY

from resources.postgres.clip_rows import CLIP_NAMES
from resources.postgres.tables import review_actions, reviewers, source_videos

#: `review_actions.clip_ids` with the operators of Postgres arrays.
CLIP_IDS = type_coerce(review_actions.c.clip_ids, ARRAY(BigInteger))

_recuts = review_actions.alias("recuts")
#: Must be written exactly as in the index `review_actions_recut_idx`; otherwise Postgres does not use the index.
_IS_RECUT: ColumnElement[bool] = literal_column("recuts.action in ('recut', 'delete')", Boolean)
_OF_FACTS: ColumnElement[bool] = review_actions.c.details.has_key("facts")
_is_retired = (
    select(_recuts.c.id)
    .where(_IS_RECUT, ~_recuts.c.undone, _recuts.c.id > review_actions.c.id, CLIP_IDS.overlap(_recuts.c.clip_ids))
    .exists()
)
_is_deleted = select(source_videos.c.state == "deleted").where(source_videos.c.id == review_actions.c.source_video_id).scalar_subquery()
LEDGER: Select[Any] = select(
    review_actions.c.id,
    review_actions.c.action,
    review_actions.c.source_video_id,
    review_actions.c.clip_ids,
    review_actions.c.target_action_id,
    review_actions.c.undone,
    case((_OF_FACTS, _is_deleted), else_=_is_retired).label("recut"),
    _OF_FACTS.label("of_facts"),
)
#: Neither undone, nor itself an undo or a redo.
STANDING = and_(~review_actions.c.undone, review_actions.c.target_action_id.is_(None))
LEDGER_WITH_NAMES: Select[Any] = LEDGER.add_columns(reviewers.c.name).join_from(review_actions, reviewers)

#: Ids of the live clips that are grouped with one of :ids; such a clip begins where the other ends.
FOLLOWERS = """
    select f.id from clips c
    join clips f on f.source_video_id = c.source_video_id and f.start_frame = c.end_frame and f.is_live and f.grouped_with_clip_id = c.id
    where c.id = any(cast(:ids as bigint[]))
"""

#: Ids of the live clips just before those of :ids.
PREVIOUS = """
    select p.id from clips c
    cross join lateral (
        select id from clips
        where source_video_id = c.source_video_id and is_live and start_frame < c.start_frame order by start_frame desc limit 1
    ) p
    where c.id = any(cast(:ids as bigint[])) and c.is_live
"""

#: Ids of the live clip that :frame is in, the one before it and the one after it.
AROUND = """
    (select id from clips where source_video_id = :source_video_id and is_live and start_frame <= :frame order by start_frame desc limit 2)
    union all
    (select id from clips where source_video_id = :source_video_id and is_live and start_frame > :frame order by start_frame limit 1)
"""

IN_PLACE_OF = text(
    f"""
    select {", ".join(CLIP_NAMES)} from clips where id in (
        select l.id from clips o
        join clips l on l.source_video_id = o.source_video_id and l.is_live and l.start_frame < o.end_frame and l.end_frame > o.start_frame
        where o.id = any(cast(:ids as bigint[]))
    ) order by source_video_id, start_frame
    """
)

UPDATE = text(
    f"""
    update clips c set
        start_frame = n.start_frame, end_frame = n.end_frame,
        start_time_seconds = n.start_time_seconds, end_time_seconds = n.end_time_seconds,
        state = n.state, is_live = n.is_live, grouped_with_clip_id = n.grouped_with_clip_id, export_profile = n.export_profile,
        cut_kind = n.cut_kind, cut_first_frame = n.cut_first_frame, cut_last_frame = n.cut_last_frame,
        cut_point_version = n.version, last_modified_by_user_id = :reviewer,
        is_virtual = n.virtual or c.is_virtual,
        clip_filepath = case when n.virtual then null else c.clip_filepath end,
        error = case when n.reset then null else c.error end,
        attempts = case when n.reset then 0 else c.attempts end,
        leased_by_user_id = case when n.release and c.leased_by_user_id = :reviewer or not n.is_live then null else c.leased_by_user_id end,
        lease_expires_at = case when n.release and c.leased_by_user_id = :reviewer or not n.is_live then null else c.lease_expires_at end
    from unnest(
        cast(:ids as bigint[]), cast(:start_frames as integer[]), cast(:end_frames as integer[]),
        cast(:start_times as float8[]), cast(:end_times as float8[]), cast(:states as text[]), cast(:lives as boolean[]),
        cast(:groups as bigint[]), cast(:profiles as text[]), cast(:versions as integer[]),
        cast(:virtuals as boolean[]), cast(:resets as boolean[]), cast(:releases as boolean[]),
        cast(:cut_kinds as text[]), cast(:cut_first_frames as integer[]), cast(:cut_last_frames as integer[])
    ) as n (
        id, start_frame, end_frame, start_time_seconds, end_time_seconds, state, is_live,
        grouped_with_clip_id, export_profile, version, virtual, reset, release, cut_kind, cut_first_frame, cut_last_frame
    )
    where c.id = n.id
    returning {", ".join(f"c.{name}" for name in CLIP_NAMES)}
    """
)


#: New clips in the order given, numbered from the counter of their source video, whose row is locked.
INSERT = text(
    f"""
    with counter as (
        update source_videos set next_clip_sequence = next_clip_sequence + :count where id = :source_video_id
        returning next_clip_sequence - :count as first
    )
    insert into clips (
        source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, state, confidence, export_profile,
        cut_kind, cut_first_frame, cut_last_frame, created_by_user_id, last_modified_by_user_id, leased_by_user_id, lease_expires_at
    )
    select
        :source_video_id, counter.first + n.number - 1, n.start_frame, n.end_frame, n.start_time, n.end_time, n.state, n.confidence,
        n.profile, n.cut_kind, n.cut_first_frame, n.cut_last_frame,
        :reviewer, :reviewer, case when cast(:lease_expires_at as timestamptz) is not null then :reviewer end,
        cast(:lease_expires_at as timestamptz)
    from counter, unnest(
        cast(:start_frames as integer[]), cast(:end_frames as integer[]), cast(:start_times as float8[]), cast(:end_times as float8[]),
        cast(:states as text[]), cast(:confidences as float8[]), cast(:profiles as text[]),
        cast(:cut_kinds as text[]), cast(:cut_first_frames as integer[]), cast(:cut_last_frames as integer[])
    ) with ordinality as n (
        start_frame, end_frame, start_time, end_time, state, confidence, profile, cut_kind, cut_first_frame, cut_last_frame, number
    )
    order by n.number
    returning {", ".join(CLIP_NAMES)}
    """
)
