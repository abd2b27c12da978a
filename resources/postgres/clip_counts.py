"""How many live clips are in which state, from counts that the database keeps in the transaction of every change.

The counts are in `clip_counts_by_video` and `clip_counts_by_confidence`; newer changes are in `clip_count_changes` until they are
added to the counts. One statement reads both, so nothing is counted twice. Only a filter by confidence together with videos or words, and
one by kind, have no stored count: then the clips are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import floor
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, text, union_all

from heaters_dagster.domain.clip_names import ClipName, parsed_clip_id, parsed_clip_name
from heaters_dagster.domain.review_queue import NO_KIND, QueueFilter
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_lookup import is_called
from resources.postgres.conditions import among
from resources.postgres.count_tables import clip_count_changes, clip_counts_by_confidence, clip_counts_by_video
from resources.postgres.database import Database
from resources.postgres.source_video_words import have_words
from resources.postgres.tables import clips, source_videos

_changes = clip_count_changes.c
_by_video = clip_counts_by_video.c
_by_confidence = clip_counts_by_confidence.c
_NO_CONFIDENCE = -1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Scope:
    """The live clips that a filter selects, in any state.

    source_video_ids: only clips of these; None means all. clip_ids: also these clips, because the text is their name. From all of them,
    only clips whose confidence is within the limits, and that begin at a cut of one of these kinds; none means all.
    """

    source_video_ids: tuple[int, ...] | None
    clip_ids: tuple[int, ...]
    min_confidence: float | None
    max_confidence: float | None
    kinds: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.source_video_ids == () and not self.clip_ids


#: All live clips.
EVERYTHING = Scope(None, (), None, None)


def scope_of(connection: Connection, chosen: QueueFilter) -> Scope:
    """The filter, with its words replaced by the ids of source videos: Postgres plans the statement by how many ids there are."""
    ids: tuple[int, ...] | None = chosen.source_video_ids or None
    clip_ids: tuple[int, ...] = ()
    if chosen.words:
        named = select(source_videos.c.id).where(have_words(chosen.words))
        if chosen.source_video_ids:
            named = named.where(source_videos.c.id.in_(chosen.source_video_ids))
        ids = tuple(connection.scalars(named))
        clip_ids = _clips_called(connection, chosen)
    return Scope(ids, clip_ids, chosen.min_confidence, chosen.max_confidence, chosen.kinds)


def _clips_called(connection: Connection, chosen: QueueFilter) -> tuple[int, ...]:
    """Live clips that have this text as their name. A number alone is a name only when source videos are chosen."""
    name, clip_id = parsed_clip_name(chosen.text), parsed_clip_id(chosen.text)
    if name is None and chosen.source_video_ids and chosen.text.isascii() and chosen.text.isdigit() and len(chosen.text) < 10:
        name = ClipName(int(chosen.text), (), None)
    if name is None and clip_id is None:
        return ()
    called = is_called(name) if name is not None else clips.c.id == clip_id
    query = select(clips.c.id).join_from(clips, source_videos).where(clips.c.is_live, called)
    if chosen.source_video_ids:
        query = query.where(among(source_videos.c.id, chosen.source_video_ids))
    return tuple(connection.scalars(query))


def counts_by_state(connection: Connection, within: Scope) -> dict[ClipState, int]:
    """How many live clips are in which state."""
    if within.is_empty:
        return {}
    bounded = within.min_confidence is not None or within.max_confidence is not None
    if within.kinds:
        return _summed(connection, _counted(within))
    if within.source_video_ids is None:
        return _summed(connection, *_of_confidence(within)) if bounded else _by_state(connection, _OF_ALL)
    if bounded:
        return _summed(connection, _counted(within))
    return _summed(connection, *_of_videos(within.source_video_ids, within))


def counts_of_videos(connection: Connection, source_video_ids: Collection[int] | None = None) -> dict[int, dict[ClipState, int]]:
    """Source video id -> how many of its live clips are in which state. source_video_ids: only these; all when None."""
    parts = [
        select(table.c.source_video_id, table.c.state, table.c.clips).where(
            *([] if source_video_ids is None else [among(table.c.source_video_id, source_video_ids)])
        )
        for table in (clip_counts_by_video, clip_count_changes)
    ]
    both = union_all(*parts).subquery()
    query = select(both.c.source_video_id, both.c.state, func.sum(both.c.clips)).group_by(both.c.source_video_id, both.c.state)
    found: dict[int, dict[ClipState, int]] = {}
    for source_video_id, state, count in connection.execute(query):
        if count:
            found.setdefault(source_video_id, {})[ClipState(state)] = int(count)
    return found


def recount(database: Database) -> None:
    """Count all clips again, for rows that were written without the triggers. Other programs cannot change clips while this runs."""
    with database.begin() as connection:
        connection.execute(select(func.heaters_recount_clips()))


def within_scope(within: Scope) -> ColumnElement[bool]:
    """The live clips in this scope."""
    parts: list[ColumnElement[bool]] = [clips.c.is_live]
    if within.source_video_ids is not None:
        found = among(clips.c.source_video_id, within.source_video_ids)
        parts.append(or_(found, among(clips.c.id, within.clip_ids)) if within.clip_ids else found)
    if within.min_confidence is not None:
        parts.append(clips.c.confidence >= within.min_confidence)
    if within.max_confidence is not None:
        parts.append(clips.c.confidence <= within.max_confidence)
    if within.kinds:
        known = clips.c.cut_kind.in_([kind for kind in within.kinds if kind != NO_KIND])
        parts.append(or_(known, clips.c.cut_kind.is_(None)) if NO_KIND in within.kinds else known)
    return and_(*parts)


def _counted(within: Scope) -> Select[Any]:
    return select(clips.c.state, func.count().label("clips")).where(within_scope(within)).group_by(clips.c.state)


def _of_videos(source_video_ids: Collection[int], within: Scope) -> list[Select[Any]]:
    parts = [
        select(_by_video.state, _by_video.clips).where(among(_by_video.source_video_id, source_video_ids)),
        select(_changes.state, _changes.clips).where(among(_changes.source_video_id, source_video_ids)),
    ]
    if within.clip_ids:
        # Clips that have the text as their name, but whose source video does not have it in its title or address.
        alone = (clips.c.is_live, among(clips.c.id, within.clip_ids), ~among(clips.c.source_video_id, source_video_ids))
        parts.append(select(clips.c.state, func.count().label("clips")).where(*alone).group_by(clips.c.state))
    return parts


def _of_confidence(within: Scope) -> list[Select[Any]]:
    """Full percents come from the stored counts. In the two percents that a limit divides, the clips are counted with their index."""
    bounds = [bound for bound in (within.min_confidence, within.max_confidence) if bound is not None]
    edges = sorted({floor(bound * 100) for bound in bounds})
    low = _NO_CONFIDENCE if within.min_confidence is None else floor(within.min_confidence * 100)
    high = 100 if within.max_confidence is None else floor(within.max_confidence * 100)

    def whole(column: ColumnElement[int]) -> ColumnElement[bool]:
        return and_(column != _NO_CONFIDENCE, column >= low, column <= high, column.notin_(edges))

    def partly(edge: int) -> ColumnElement[bool]:
        # The first two comparisons limit the scan of the index; the third decides which percent a clip belongs to.
        near = (clips.c.confidence >= edge / 100 - _ROUNDING, clips.c.confidence <= (edge + 1) / 100 + _ROUNDING)
        parts = [*near, func.heaters_confidence_percent(clips.c.confidence) == edge]
        parts += [] if within.min_confidence is None else [clips.c.confidence >= within.min_confidence]
        parts += [] if within.max_confidence is None else [clips.c.confidence <= within.max_confidence]
        return and_(clips.c.is_live, clips.c.state.in_([state.value for state in ClipState]), *parts)

    return [
        select(_by_confidence.state, _by_confidence.clips).where(whole(_by_confidence.confidence_percent)),
        select(_changes.state, _changes.clips).where(whole(_changes.confidence_percent)),
        *(select(clips.c.state, func.count().label("clips")).where(partly(edge)).group_by(clips.c.state) for edge in edges),
    ]


def _sums(*parts: Select[Any]) -> Select[Any]:
    both = union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
    return select(both.c.state, func.sum(both.c.clips)).group_by(both.c.state)


#: Made once: each answer to a page without filters asks it.
_OF_ALL = _sums(select(_by_confidence.state, _by_confidence.clips), select(_changes.state, _changes.clips))


def _summed(connection: Connection, *parts: Select[Any]) -> dict[ClipState, int]:
    return _by_state(connection, _sums(*parts))


def _by_state(connection: Connection, query: Select[Any]) -> dict[ClipState, int]:
    return {ClipState(state): int(count) for state, count in connection.execute(query) if count}


def count_problems(connection: Connection, source_video_id: int | None = None) -> Iterator[str]:
    """One sentence for each stored count that is wrong. source_video_id: check only this source video."""
    rows = connection.execute(
        text(_WRONG_BY_VIDEO if source_video_id is None else _WRONG_OF_ONE),
        {"source_video_id": source_video_id},
        execution_options={"yield_per": 1000},
    )
    for row in rows:
        yield (
            f"source video {row.source_video_id}: the stored number of clips in the state {row.state} is {row.kept}, but there are "
            f"{row.there}"
        )
    if source_video_id is None:
        for row in connection.execute(text(_WRONG_BY_CONFIDENCE)):
            sure = "without confidence" if row.confidence_percent == _NO_CONFIDENCE else f"with {row.confidence_percent} % confidence"
            yield f"the stored number of clips {sure} in the state {row.state} is {row.kept}, but there are {row.there}"


_WRONG = """
select {key}, state, sum(kept)::bigint as kept, sum(there)::bigint as there from (
    select {key}, state, clips as kept, 0 as there from {table}
    union all select {key}, state, clips, 0 from clip_count_changes
    union all select {found} as {key}, state, 0, count(*) from clips where is_live group by 1, 2
) both_ways {where} group by 1, 2 having sum(kept) <> sum(there) order by 1, 2
"""
_WRONG_BY_VIDEO = _WRONG.format(key="source_video_id", table="clip_counts_by_video", found="source_video_id", where="")
_WRONG_OF_ONE = _WRONG.format(
    key="source_video_id", table="clip_counts_by_video", found="source_video_id", where="where source_video_id = :source_video_id"
)
_WRONG_BY_CONFIDENCE = _WRONG.format(
    key="confidence_percent", table="clip_counts_by_confidence", found="heaters_confidence_percent(confidence)", where=""
)
