"""Files that were deleted from the store behind Heaters' back: what can be made again becomes due."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from sqlalchemy import Connection, select

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.states import APPROVED_STATES
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.making_store import put_making
from resources.postgres.related_tables import source_video_looks
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore, put_columns
from resources.postgres.tables import clip_artifacts, clips, source_videos

_looks = source_video_looks.c


def make_lost_due(source_video_id: int, *, database: Database, objects: ObjectStore) -> list[str]:
    """Make due what makes the lost files of a source video again; returns a sentence for each lost file.

    A proxy has the same frames as the lost one, or is refused, so cuts and decisions stay. Raises StoreUnavailableError.
    """
    video = SourceVideoStore(database).load(source_video_id)
    with database.read() as connection:
        needed = _needed(connection, source_video_id)
    lost = {key for key in needed.all_of_them if objects.info(key) is None}
    with database.begin() as connection:
        remedies = lost_of_video_made_due(connection, source_video_id, lost)
    said = [f"source video {video.id}, {video.title}: {key} is gone from the store{remedy}" for key, remedy in remedies.items()]
    return [*said, *_of_clips(video, database, objects)]


@dataclass(frozen=True, slots=True)
class _Needed:
    """The keys that a source video needs beside those of its clips. proxy: all that is made with the proxy."""

    original: str | None
    master: str | None
    proxy: tuple[str, ...]

    @property
    def all_of_them(self) -> tuple[str, ...]:
        return tuple(key for key in (self.original, *self.proxy, self.master) if key is not None)


def _needed(connection: Connection, source_video_id: int) -> _Needed:
    video = source_videos.c
    made = (video.proxy_filepath, video.frame_index_filepath, video.scenes_filepath, _looks.looks_filepath)
    query = select(video.original_filepath, video.gold_master_filepath, *made).where(video.id == source_video_id)
    original, master, *proxy = connection.execute(query.outerjoin(source_video_looks, _looks.source_video_id == video.id)).one()
    return _Needed(original, master, tuple(key for key in proxy if key is not None))


def lost_of_video_made_due(connection: Connection, source_video_id: int, lost: Set[str]) -> dict[str, str]:
    """Make due what makes the lost proxy and gold master of a source video again; key -> the end of a sentence on what becomes of it.

    lost: keys that are gone, of whatever. Those on which nothing is said are not of this source video, or of its clips.
    """
    needed = _needed(connection, source_video_id)
    if needed.original is not None and needed.original in lost:
        return {needed.original: f"{remedy(needed.original)}; what is made from it cannot be made again before"}
    again = "; it is made again from the original"
    said = {key: again for key in needed.proxy if key in lost}
    if said:
        put_making(connection, source_video_id, proxy_is_being_replaced=True)
    if needed.master is not None and needed.master in lost:
        put_columns(connection, source_video_id, gold_master_filepath=None, gold_master_error=None, gold_master_attempts=0)
        said[needed.master] = again
    return said


def _of_clips(video: SourceVideo, database: Database, objects: ObjectStore) -> Iterator[str]:
    query = (
        select(clip_artifacts.c.clip_id, clip_artifacts.c.kind, clip_artifacts.c.key)
        .join(clips, clips.c.id == clip_artifacts.c.clip_id)
        .where(clips.c.source_video_id == video.id, clip_artifacts.c.state == "live", clips.c.state.in_(APPROVED_STATES))
        .order_by(clip_artifacts.c.clip_id, clip_artifacts.c.key)
    )
    with database.read() as connection:
        files = connection.execute(query).all()
    lost = [file for file in files if objects.info(file.key) is None]
    exports = ExportStore(database)
    known = exports.of_clips({file.clip_id for file in lost})
    asked: set[tuple[int, str]] = set()
    for file in lost:
        clip = ClipStore(database).load(file.clip_id)
        further = {one.key: one.profile for one in known.get(clip.id, ())}
        # Stills are made from the first export, after it.
        profile = further.get(file.key, clip.export_profile) if file.kind == "export" else clip.export_profile
        if (clip.id, profile) not in asked:
            exports.request(clip.id, profile)
            asked.add((clip.id, profile))
        yield f"clip {clip.sequence} of {video.title}: {file.key} is gone from the store; it is made again from the proxy"
