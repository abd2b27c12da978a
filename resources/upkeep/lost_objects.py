"""Files that were deleted from the store behind Heaters' back: what can be made again becomes due."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from heaters_dagster.domain.states import APPROVED_STATES
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.making_store import MakingStore
from resources.postgres.related_tables import source_video_looks
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.tables import clip_artifacts, clips

_looks = source_video_looks.c


def make_lost_due(source_video_id: int, *, database: Database, objects: ObjectStore) -> list[str]:
    """Make due what makes the lost files of a source video again; returns a sentence for each lost file.

    A proxy has the same frames as the lost one, or is refused, so cuts and decisions stay. Raises StoreUnavailableError.
    """
    video = SourceVideoStore(database).load(source_video_id)
    return [*_of_video(video, database, objects), *_of_clips(video, database, objects)]


def _of_video(video: SourceVideo, database: Database, objects: ObjectStore) -> Iterator[str]:
    named, original = f"source video {video.id}, {video.title}", video.original_filepath
    with database.read() as connection:
        seen = connection.scalar(select(_looks.looks_filepath).where(_looks.source_video_id == video.id))
    made = (video.proxy_filepath, video.frame_index_filepath, video.scenes_filepath, seen)
    lost = [key for key in made if _is_lost(key, objects)]
    master = video.gold_master_filepath
    if _is_lost(original, objects):
        yield (
            f"{named}: {original} is gone from the store: restore it from the versions of the bucket or a copy of the store, or type "
            f"heaters refetch {video.id}; what is made from it cannot be made again before"
        )
        return
    if lost:
        MakingStore(database).put(video.id, proxy_is_being_replaced=True)
        yield from (f"{named}: {key} is gone from the store; it is made again from the original" for key in lost)
    if _is_lost(master, objects):
        SourceVideoStore(database).update(video.id, gold_master_filepath=None, gold_master_error=None, gold_master_attempts=0)
        yield f"{named}: {master} is gone from the store; it is made again from the original"


def _of_clips(video: SourceVideo, database: Database, objects: ObjectStore) -> Iterator[str]:
    query = (
        select(clip_artifacts.c.clip_id, clip_artifacts.c.kind, clip_artifacts.c.key)
        .join(clips, clips.c.id == clip_artifacts.c.clip_id)
        .where(clips.c.source_video_id == video.id, clip_artifacts.c.state == "live", clips.c.state.in_(APPROVED_STATES))
        .order_by(clip_artifacts.c.clip_id, clip_artifacts.c.key)
    )
    with database.read() as connection:
        files = connection.execute(query).all()
    lost = [file for file in files if _is_lost(file.key, objects)]
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


def _is_lost(key: str | None, objects: ObjectStore) -> bool:
    return key is not None and objects.info(key) is None
