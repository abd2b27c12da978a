"""What waits and what failed, in a few figures: for the report in Dagster, and for commands that ask before they change many rows.

The database makes the sums; for a million clips that wait for review it reads the counts that it keeps, not the clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select

from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.clip_counts import EVERYTHING, counts_by_state
from resources.database import Database
from resources.source_video_store import is_there
from resources.tables import clips, source_videos

_S, _C = SourceVideoState, ClipState
_TITLES = 5

#: State -> what rows in it wait for, or what failed; in the order of the pipeline.
VIDEO_WORDS = {
    _S.NEW: "to be fetched",
    _S.DOWNLOADING: "being fetched",
    _S.DOWNLOADED: "for their proxy",
    _S.PREPROCESSING: "proxy in the making",
    _S.PREPROCESSED: "to be cut",
    _S.DETECTING_SCENES: "being cut",
    _S.DOWNLOAD_FAILED: "fetching failed",
    _S.PREPROCESS_FAILED: "making the proxy failed",
    _S.DETECT_SCENES_FAILED: "cutting failed",
}
CLIP_WORDS = {
    _C.PENDING_REVIEW: "for review",
    _C.REVIEW_APPROVED: "to be exported",
    _C.EXPORTING: "being exported",
    _C.EXPORTED: "for keyframes",
    _C.KEYFRAMING: "keyframes in the making",
    _C.KEYFRAMED: "to be embedded",
    _C.EMBEDDING: "being embedded",
    _C.EXPORT_FAILED: "export failed",
    _C.KEYFRAME_FAILED: "keyframes failed",
    _C.EMBEDDING_FAILED: "embedding failed",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Source videos, clips or gold masters that wait for the same thing, or failed at it.

    what: "source videos", "clips" or "gold masters". words: what they wait for, or what failed. byte_size: of the originals of source
    videos, as far as they are known. oldest: since when the first of them stands there. titles: of up to five source videos, oldest first.
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
        return f"{self.count} {self.what.removesuffix('s') if self.count == 1 else self.what}"


def load_backlog(database: Database) -> list[Group]:
    """Every group that is not empty, in the order of the pipeline."""
    with database.read() as connection:
        return [*_videos(connection), *_gold_masters(connection), *_clips(connection)]


def failed_count(groups: Iterable[Group]) -> int:
    return sum(group.count for group in groups if group.failed)


def _shown(titles: Iterable[str]) -> tuple[str, ...]:
    """Titles for a report that many may read: a web address may be one until it is fetched."""
    return tuple(map(without_access, titles))


def _videos(connection: Connection) -> list[Group]:
    own = source_videos.c
    query = (
        select(own.state, func.count(), func.coalesce(func.sum(own.original_bytes), 0), func.min(own.state_changed_at))
        .where(own.state != _S.SCENES_DETECTED.value, own.duplicate_of_id.is_(None))
        .group_by(own.state)
    )
    rows = {SourceVideoState(row[0]): row for row in connection.execute(query)}
    groups = []
    for state, words in VIDEO_WORDS.items():
        if state in rows:
            _, count, byte_size, oldest = rows[state]
            titles = select(own.title).where(own.state == state.value, own.duplicate_of_id.is_(None)).order_by(own.state_changed_at, own.id)
            found = _shown(connection.scalars(titles.limit(_TITLES)))
            groups.append(Group("source videos", words, count, state.endswith("_failed"), int(byte_size), oldest, found))
    return groups


def _gold_masters(connection: Connection) -> list[Group]:
    own = source_videos.c
    missing = is_there() & own.gold_master_filepath.is_(None) & own.original_filepath.is_not(None) & own.duplicate_of_id.is_(None)
    failed = own.gold_master_error.is_not(None)
    groups = []
    for words, has_failed, chosen in (("to be made", False, missing & ~failed), ("making them failed", True, missing & failed)):
        query = select(func.count(), func.coalesce(func.sum(own.original_bytes), 0), func.min(own.state_changed_at)).where(chosen)
        count, byte_size, oldest = connection.execute(query).one()
        if count:
            titles = _shown(connection.scalars(select(own.title).where(chosen).order_by(own.id).limit(_TITLES)))
            groups.append(Group("gold masters", words, count, has_failed, int(byte_size), oldest, titles))
    return groups


def _clips(connection: Connection) -> list[Group]:
    counts = counts_by_state(connection, EVERYTHING)
    groups = []
    for state, words in CLIP_WORDS.items():
        if counts.get(state):
            standing = clips.c.is_live & (clips.c.state == state.value)
            # By id, because an index gives that at once; the clip that was made first is the oldest, unless its decision was just undone.
            oldest = connection.scalar(select(clips.c.state_changed_at).where(standing).order_by(clips.c.id).limit(1))
            query = (
                select(source_videos.c.title)
                .where(source_videos.c.id.in_(_first_videos(connection, standing)))
                .order_by(source_videos.c.id)
            )
            groups.append(Group("clips", words, counts[state], state.endswith("_failed"), 0, oldest, _shown(connection.scalars(query))))
    return groups


def _first_videos(connection: Connection, standing: ColumnElement[bool]) -> list[int]:
    """The lowest ids of source videos with such clips: one look into the index for each, however many clips they have."""
    found: list[int] = []
    while len(found) < _TITLES:
        after = [clips.c.source_video_id > found[-1]] if found else []
        first = connection.scalar(select(clips.c.source_video_id).where(standing, *after).order_by(clips.c.source_video_id).limit(1))
        if first is None:
            break
        found.append(first)
    return found
