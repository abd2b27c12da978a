"""Puts what has failed back before the stage that failed."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from heaters_dagster.domain.transitions import SOURCE_VIDEO_RETRY
from heaters_dagster.domain.words import clip_state_words, video_state_words
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.failed_videos import failed_videos
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.lost_objects import make_lost_due


def retry_failed(
    database: Database, *, videos: Collection[int] = (), clips: Collection[int] = (), objects: ObjectStore | None = None
) -> list[str]:
    """Put what has failed back before the stage that failed; returns a sentence for each row.

    videos: these source videos, with all their failures, and with `objects` also what is gone from that store. clips: these clips, which
    must have failed. Neither: everything except duplicates of other source videos, because a retry would only fetch them once more.
    Raises NotFoundError, and IllegalTransitionError for a clip that has not failed.
    """
    video_store, clip_store = SourceVideoStore(database), ClipStore(database)
    failed_clips = [clip_store.load(clip_id) for clip_id in clips]
    named = [video_store.load(source_video_id) for source_video_id in videos]
    everything = () if videos or clips else failed_videos(database)
    retried = []
    if objects is not None:
        retried += [said for video in named for said in make_lost_due(video.id, database=database, objects=objects)]
    for video in chain(named, map(video_store.load, everything)):
        if video.state in SOURCE_VIDEO_RETRY:
            retried.append(
                f"source video {video.id}, {video.title}: {video_state_words(video.state)}, now "
                f"{video_state_words(video_store.retry(video.id).state)}"
            )
        if video.gold_master_error is not None:
            video_store.retry_gold_master(video.id)
            retried.append(f"source video {video.id}, {video.title}: its gold master is tried again")
        while page := clip_store.failed(video.id):
            retried += [_clip_retried(clip, video.title, clip_store) for clip in page]
    return retried + [_clip_retried(clip, video_store.load(clip.source_video_id).title, clip_store) for clip in failed_clips]


def _clip_retried(clip: Clip, title: str, clips: ClipStore) -> str:
    return f"clip {clip.sequence} of {title}: {clip_state_words(clip.state)}, now {clip_state_words(clips.retry(clip.id).state)}"
