"""Rows of source videos and clips in any state, by the stores' own methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy import text

from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore, MadeObject, NewClip
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore

S, C = SourceVideoState, ClipState
FRAME_RATE = 25.0


def video_in(database: Database, state: SourceVideoState, **columns: object) -> SourceVideo:
    """A source video that went the ordinary way to `state`."""
    videos = SourceVideoStore(database)
    video = videos.add("/films/test.mp4", "test")
    way = [S.DOWNLOADING, S.DOWNLOADED, S.PREPROCESSING, S.PREPROCESSED, S.DETECTING_SCENES]
    for step in [] if state is S.NEW else way[: way.index(state) + 1]:
        video = videos.set_state(video.id, step)
    return videos.update(video.id, **columns) if columns else video


def cut_video(database: Database, edges: Sequence[int] = (0, 30, 60, 90), *, gold_master: bool = True) -> list[Clip]:
    """The pending clips, between neighbouring edges, of a new source video whose scenes are detected."""
    video = video_in(database, S.DETECTING_SCENES, original_filepath="originals/test.mp4")
    if gold_master:
        SourceVideoStore(database).update(video.id, gold_master_filepath=f"gold_masters/video_{video.id}_master.mkv")
    new = [
        NewClip(start_frame=start, end_frame=end, start_time_seconds=start / FRAME_RATE, end_time_seconds=end / FRAME_RATE, confidence=0.5)
        for start, end in pairwise(edges)
    ]
    return ClipStore(database).replace_cuts(video.id, new, edges[-1])


def reviews(database: Database) -> ReviewStore:
    return ReviewStore(database, lambda source_video_id, frames: [frame / FRAME_RATE for frame in frames])


def exported(database: Database, clip: Clip, objects: ObjectStore) -> Clip:
    """The clip approved and exported: a file in the store, its row live."""
    reviews(database).approve([clip.id], reviewer="ada")
    clips, key = ClipStore(database), f"final_clips/video_{clip.source_video_id}_clip_{clip.sequence:03d}.mp4"
    claimed = clips.claim(clip.id, EXPORTS, [key])
    assert claimed is not None
    objects.put_bytes(key, b"clip")
    assert clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 4, {"frame_count": clip.frame_count})])
    return clips.load(clip.id)


def somebody_waits(database: Database) -> bool:
    """Whether a session of this database waits for an advisory lock. The server has databases of other tests too."""
    waiting = "select from pg_locks join pg_database on pg_database.oid = database where locktype = 'advisory' and not granted"
    with database.read() as connection:
        return bool(connection.scalar(text(f"select exists ({waiting} and datname = current_database())")))


def reviewer_names(database: Database) -> list[str]:
    """Names of all reviewers, sorted."""
    with database.read() as connection:
        return list(connection.scalars(text("select name from reviewers order by name")))


def waiting_transactions(database: Database) -> int:
    """How many transactions of this database wait for a lock that another one holds."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with database.read() as connection:
        return int(connection.scalar(text(query)) or 0)
