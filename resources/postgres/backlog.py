"""What waits and what failed, in a few figures: for the report in Dagster, and for commands that ask before they change many rows.

Postgres adds up the figures. For clips that wait for review, perhaps a million, it reads stored counts and not the clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, func, select

from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, GOLD_MASTER, VIDEO_STAGES, Stage, WorkState, beside, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import counted
from resources.postgres.clip_counts import EVERYTHING, counts_by_state
from resources.postgres.clip_work import ClipStage, needs_of
from resources.postgres.database import Database
from resources.postgres.figures import first_without_gold_master
from resources.postgres.replacement_store import waiting_ids
from resources.postgres.source_video_counts import BY_AGE, GoldMasterToMake, counted_videos, gold_masters_to_make, numbers
from resources.postgres.tables import clip_exports, clip_work, clips, source_videos

S = TypeVar("S", SourceVideoState, ClipState)
_TITLES = 5
#: It is to take the place of another source video, and its proxy is made: no stage has to do anything with it.
_WAITS_FOR_A_PERSON = (source_videos.c.state == SourceVideoState.PREPROCESSED.value) & source_videos.c.id.in_(waiting_ids())


def _waiting(stage: Stage[S]) -> tuple[tuple[S, str], tuple[S, str]]:
    return (stage.steps.ready, stage.words.waiting), (stage.steps.working, stage.words.working)


#: State -> what rows in it wait for, or what failed; in the order of the pipeline.
VIDEO_WORDS = {
    **{state: words for stage in with_states(VIDEO_STAGES) for state, words in _waiting(stage)},
    **{stage.steps.failed: stage.words.failed for stage in with_states(VIDEO_STAGES)},
}
CLIP_WORDS = {
    ClipState.PENDING_REVIEW: "for review",
    **{state: words for stage in with_states(CLIP_STAGES) for state, words in _waiting(stage)},
    **{stage.steps.failed: stage.words.failed for stage in with_states(CLIP_STAGES)},
}


@dataclass(frozen=True, slots=True)
class Group:
    """Source videos, clips, further exports or gold masters that wait for the same thing, or failed at it.

    what: "source videos", "clips", "further exports" or "gold masters". words: what they wait for, or what failed. byte_size: of the
    originals of source videos, as far as it is known. oldest: when the one that waits longest came into its state. titles: of up to five
    source videos, oldest first.
    """

    what: str
    words: str
    count: int
    failed: bool
    byte_size: int = 0
    oldest: datetime | None = None
    titles: tuple[str, ...] = ()

    @property
    def counted(self) -> str:
        """`1 source video`, `2 clips`."""
        return counted(self.count, self.what.removesuffix("s"))


def load_backlog(database: Database) -> list[Group]:
    """Every group that is not empty, in the order of the pipeline."""
    with database.read() as connection:
        return [
            *_videos(connection),
            *_gold_masters(connection),
            *_clips(connection),
            *_further_exports(connection),
            *work_beside(connection),
        ]


def failed_count(groups: Iterable[Group]) -> int:
    return sum(group.count for group in groups if group.failed)


def _shown(titles: Iterable[str]) -> tuple[str, ...]:
    """Titles for a report that many people may read. Until a video is fetched, its title may be a web address with a password."""
    return tuple(map(without_access, titles))


def _videos(connection: Connection) -> list[Group]:
    own = source_videos.c
    found = numbers(counted_videos(connection), lambda one: not one.is_duplicate)
    waits = connection.execute(select(func.count(), func.coalesce(func.sum(own.original_bytes), 0)).where(_WAITS_FOR_A_PERSON)).one()
    groups = []
    for state, words in VIDEO_WORDS.items():
        count, byte_size = found.get(state, (0, 0))
        if state is SourceVideoState.PREPROCESSED:
            count, byte_size = count - int(waits[0]), byte_size - int(waits[1])
        if count > 0:
            first = select(own.state_changed_at, own.title).where(own.state == state.value, own.duplicate_of_id.is_(None))
            rows = connection.execute(first.where(~_WAITS_FOR_A_PERSON).order_by(*BY_AGE).limit(_TITLES)).all()
            oldest, titles = min((row.state_changed_at for row in rows), default=None), _shown(row.title for row in rows)
            groups.append(Group("source videos", words, count, state.endswith("_failed"), byte_size, oldest, titles))
    return groups


def _gold_masters(connection: Connection) -> list[Group]:
    counts, groups = counted_videos(connection), []
    for words, to_make in ((GOLD_MASTER.words.waiting, GoldMasterToMake.WAITING), (GOLD_MASTER.words.failed, GoldMasterToMake.FAILED)):
        count, byte_size = gold_masters_to_make(counts, to_make)
        if count:
            first = first_without_gold_master(to_make, source_videos.c.state_changed_at, source_videos.c.title)
            rows = connection.execute(first.limit(_TITLES)).all()
            oldest, titles = min((row.state_changed_at for row in rows), default=None), _shown(row.title for row in rows)
            groups.append(Group("gold masters", words, count, to_make is GoldMasterToMake.FAILED, byte_size, oldest, titles))
    return groups


def _clips(connection: Connection) -> list[Group]:
    counts = counts_by_state(connection, EVERYTHING)
    groups = []
    for state, words in CLIP_WORDS.items():
        if counts.get(state):
            standing = clips.c.is_live & (clips.c.state == state.value)
            # By id, because an index gives this order. The clip that was made first is the oldest one, except when its decision was just
            # undone.
            oldest = connection.scalar(select(clips.c.state_changed_at).where(standing).order_by(clips.c.id).limit(1))
            query = (
                select(source_videos.c.title)
                .where(source_videos.c.id.in_(_first_videos(connection, standing)))
                .order_by(source_videos.c.id)
            )
            groups.append(Group("clips", words, counts[state], state.endswith("_failed"), 0, oldest, _shown(connection.scalars(query))))
    return groups


def _further_exports(connection: Connection) -> list[Group]:
    """Exports beside the first ones of their clips."""
    own, words = clip_exports.c, EXPORTS.words
    groups = []
    for state, said in {"waiting": words.waiting, "working": words.working, "failed": words.failed}.items():
        standing = (own.state == state) & clips.c.is_live & ~clips.c.is_virtual & (own.profile != clips.c.export_profile)
        query = select(func.count(), func.min(own.changed_at), func.min(clips.c.source_video_id))
        count, oldest, first = connection.execute(query.join_from(clip_exports, clips, clips.c.id == own.clip_id).where(standing)).one()
        if count:
            titles = connection.scalars(select(source_videos.c.title).where(source_videos.c.id == first))
            groups.append(Group("further exports", said, count, state == "failed", 0, oldest, _shown(titles)))
    return groups


def work_beside(connection: Connection, stages: Iterable[ClipStage] = CLIP_STAGES) -> list[Group]:
    """Clips that wait for a stage without states of its own, or on which such a stage failed."""
    groups = []
    for stage in beside(stages):
        query = (
            select(clip_work.c.state, func.count(), func.min(clip_work.c.changed_at), func.min(clips.c.source_video_id))
            .join_from(clip_work, clips, clip_work.c.clip_id == clips.c.id)
            .where(clip_work.c.stage == stage.asset, clip_work.c.state != WorkState.DONE.value, clips.c.is_live)
            .where(clips.c.state.in_(sorted(needs_of(stage, tuple(stages)))))
            .group_by(clip_work.c.state)
        )
        rows = {WorkState(row[0]): row for row in connection.execute(query)}
        for state in (WorkState.WAITING, WorkState.WORKING, WorkState.FAILED):
            if state in rows:
                _, count, oldest, source_video_id = rows[state]
                titles = connection.scalars(select(source_videos.c.title).where(source_videos.c.id == source_video_id))
                groups.append(Group("clips", stage.words.of(state) or "", count, state is WorkState.FAILED, 0, oldest, _shown(titles)))
    return groups


def _first_videos(connection: Connection, standing: ColumnElement[bool]) -> list[int]:
    """The lowest ids of source videos with such clips: one look-up in the index for each source video, for any number of clips."""
    found: list[int] = []
    while len(found) < _TITLES:
        after = [clips.c.source_video_id > found[-1]] if found else []
        first = connection.scalar(select(clips.c.source_video_id).where(standing, *after).order_by(clips.c.source_video_id).limit(1))
        if first is None:
            break
        found.append(first)
    return found
