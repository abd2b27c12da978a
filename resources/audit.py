"""Looks over everything: clips that do not cover their source video, stray objects, lost objects. Reads only."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import select

from heaters_dagster.domain.audit import lost_keys, orphan_keys
from heaters_dagster.domain.cuts import ReviewClip, mece_problems
from heaters_dagster.domain.due import MAX_ATTEMPTS
from heaters_dagster.domain.keys import PREFIXES
from heaters_dagster.domain.states import SourceVideoState
from resources.clip_counts import count_problems
from resources.clip_store import ClipArtifact
from resources.database import Database
from resources.object_store.interface import ObjectStore
from resources.source_video_store import is_there
from resources.tables import clip_artifacts, clips, source_videos

_OBJECTS_OF_VIDEO = (
    source_videos.c.original_filepath,
    source_videos.c.proxy_filepath,
    source_videos.c.frame_index_filepath,
    source_videos.c.scenes_filepath,
    source_videos.c.gold_master_filepath,
)


def audit(database: Database, objects: ObjectStore) -> list[str]:
    """What is wrong, one sentence each; nothing when all is well."""
    stored = _stored(objects)
    lost = lost_keys(stored, needed_objects(database))
    # A row may have been written since the list was made: what is said to be lost is looked for once more.
    lost = lost_keys(_stored(objects), needed_objects(database)) if lost else []
    orphans = [f"{key} is stored, but no row speaks of it" for key in orphan_objects(database, objects, stored=stored)]
    with database.read() as connection:
        wrong_counts = list(count_problems(connection))
    return [*coverage_problems(database), *wrong_counts, *lost, *orphans]


def coverage_problems(database: Database, source_video_id: int | None = None) -> list[str]:
    """Gaps and overlaps of the clips of source videos whose scenes are detected; the database keeps them out, this makes sure.

    source_video_id: only of this one.
    """
    live = (
        select(clips.c.source_video_id, clips.c.id, clips.c.start_frame, clips.c.end_frame)
        .where(clips.c.is_live)
        .order_by(clips.c.source_video_id, clips.c.start_frame)
    )
    cut = select(source_videos.c.id, source_videos.c.frame_count).where(source_videos.c.state == SourceVideoState.SCENES_DETECTED)
    if source_video_id is not None:
        live, cut = live.where(clips.c.source_video_id == source_video_id), cut.where(source_videos.c.id == source_video_id)
    with database.read() as connection:
        frame_counts = {row.id: row.frame_count for row in connection.execute(cut)}
        of_video = {
            video_id: [
                ReviewClip(id=row.id, source_video_id=video_id, sequence=None, start_frame=row.start_frame, end_frame=row.end_frame)
                for row in rows
            ]
            for video_id, rows in groupby(connection.execute(live), key=lambda row: int(row.source_video_id))
        }
    return [
        f"source video {video_id}: {problem}"
        for video_id, frame_count in sorted(frame_counts.items())
        for problem in mece_problems(of_video.get(video_id, []), frame_count)
    ]


def orphan_objects(database: Database, objects: ObjectStore, *, stored: set[str] | None = None) -> list[str]:
    """Keys of stored objects that no row speaks of and no stage is about to write again."""
    # Listed first, read second: what is stored meanwhile is not looked at, and what was stored before has its row by then.
    found = _stored(objects) if stored is None else stored
    spoken_of = select(clip_artifacts.c.key).where(clip_artifacts.c.state != "deleted")
    waits_for_gold_master = source_videos.c.gold_master_filepath.is_(None) & (source_videos.c.gold_master_attempts < MAX_ATTEMPTS)
    unfinished = select(source_videos.c.id).where(
        is_there(),
        source_videos.c.duplicate_of_id.is_(None),
        (source_videos.c.state != SourceVideoState.SCENES_DETECTED) | waits_for_gold_master,
    )
    with database.read() as connection:
        known = set(connection.scalars(spoken_of))
        at_work = set(connection.scalars(unfinished))
    return orphan_keys(found, known=known | set(_objects_of_videos(database)), at_work=at_work)


def needed_objects(database: Database) -> dict[str, str]:
    """Key -> who needs it: `clip 12`, `source video 3`."""
    live = select(clip_artifacts.c.key, clip_artifacts.c.clip_id).where(clip_artifacts.c.state == "live")
    with database.read() as connection:
        of_clips = {row.key: f"clip {row.clip_id}" for row in connection.execute(live)}
    return of_clips | _objects_of_videos(database)


def newest_exports(database: Database, source_video_id: int, *, most: int) -> list[ClipArtifact]:
    """The exported files of a source video that were written last, newest first."""
    query = (
        select(clip_artifacts)
        .join(clips, clips.c.id == clip_artifacts.c.clip_id)
        .where(clips.c.source_video_id == source_video_id, clip_artifacts.c.kind == "export", clip_artifacts.c.state == "live")
        .order_by(clip_artifacts.c.updated_at.desc(), clip_artifacts.c.id.desc())
        .limit(most)
    )
    with database.read() as connection:
        return [ClipArtifact(**row._mapping) for row in connection.execute(query)]


def _stored(objects: ObjectStore) -> set[str]:
    """Keys of all stored objects; what other programs keep in the same bucket is none of our business."""
    return {info.key for prefix in PREFIXES for info in objects.list(prefix)}


def _objects_of_videos(database: Database) -> dict[str, str]:
    with database.read() as connection:
        rows = connection.execute(select(source_videos.c.id, *_OBJECTS_OF_VIDEO)).all()
    return {key: f"source video {row.id}" for row in rows for key in row[1:] if key is not None}
