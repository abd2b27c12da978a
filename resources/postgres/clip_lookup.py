"""Finds a clip by the name that people use (`14 of Harbour`), and the name of a clip."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, func, or_, select

from heaters_dagster.domain.clip_names import ClipName, field_text, ids_in, no_clips, parsed_clip_id, parsed_clip_name, with_names
from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.words import without_state_names
from resources.postgres.conditions import containing
from resources.postgres.database import Database
from resources.postgres.source_video_store import is_there
from resources.postgres.tables import clips, source_videos


class ClipLookup:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def id_of(self, text: str) -> int:
        """Id of the clip with this name. Raises BadRequestError when this is not a name or may mean several clips; NotFoundError."""
        if (clip_id := parsed_clip_id(text)) is not None:
            if not self.named([clip_id]):
                raise NotFoundError(no_clips([clip_id]))
            return clip_id
        name = parsed_clip_name(text)
        if name is None:
            raise BadRequestError(
                "write the number of the clip and the title of its source video: 14 of Harbour; or both numbers: 3:14 (clip 14 of "
                "source video 3)"
            )
        title = " ".join(name.words) or f"source video {name.source_video_id}"
        query = (
            select(clips.c.id, source_videos.c.title, source_videos.c.id.label("source_video_id"))
            .join_from(clips, source_videos)
            .where(is_called(name))
            .order_by(source_videos.c.id.desc())
        )
        exact = query.where(func.lower(source_videos.c.title) == title.lower())
        with self._database.read() as connection:
            # Clips of deleted source videos keep their names in the history, but take none away from a video that is there.
            for wanted in (exact.where(is_there()), query.where(is_there()), exact, query):
                if found := connection.execute(wanted.limit(2)).all():
                    break
        if not found:
            raise NotFoundError(f"there is no clip {name.number} of {title}")
        if len(found) > 1:
            both = " and ".join(f"{row.source_video_id}. {row.title}" for row in found)
            raise BadRequestError(
                f"{title} may mean {both}: write the number of the source video, as in {name.number} of {found[0].source_video_id}"
            )
        return int(found[0].id)

    def name_of(self, clip_id: int) -> str:
        """A name with which `id_of` finds this clip; empty when there is no such clip."""
        query = select(clips.c.sequence, clips.c.source_video_id, source_videos.c.title).join_from(clips, source_videos)
        with self._database.read() as connection:
            row = connection.execute(query.where(clips.c.id == clip_id)).first()
        return "" if row is None else field_text(row.sequence, row.source_video_id, row.title)

    def named(self, clip_ids: Collection[int]) -> dict[int, tuple[int, str]]:
        """Id -> (number, title of the source video) of the clips that exist, in the cut list or not."""
        query = select(clips.c.id, clips.c.sequence, source_videos.c.title).join_from(clips, source_videos)
        if not clip_ids:
            return {}
        with self._database.read() as connection:
            return {row.id: (row.sequence, row.title) for row in connection.execute(query.where(clips.c.id.in_(sorted(clip_ids))))}

    def in_words(self, message: str) -> str:
        """A message of the domain or of a store, with clip numbers instead of ids, and states in words."""
        return without_state_names(with_names(message, self.named(set(ids_in(message)))))


def is_called(name: ClipName) -> ColumnElement[bool]:
    """Condition on clips joined with their source videos: the clips that this name may mean."""
    titled = and_(*(source_videos.c.title.ilike(containing(word)) for word in name.words))
    of_video = titled if name.source_video_id is None else or_(titled, source_videos.c.id == name.source_video_id)
    if name.source_video_id is not None and len(name.words) != 1:
        of_video = source_videos.c.id == name.source_video_id
    return and_(clips.c.sequence == name.number, of_video)
