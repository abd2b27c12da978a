"""Source videos of many clips, in rows alone: no media stands behind them."""

from __future__ import annotations

from heaters_dagster.domain.states import SourceVideoState
from resources.postgres.clip_store import ClipStore, NewClip
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore

FRAME_RATE = 25.0


def cut_source_video(database: Database, *, clips: int, clip_frames: int) -> int:
    """The id of a new source video whose `clips` clips, of so many frames each, wait for review."""
    videos = SourceVideoStore(database)
    video = videos.add("/videos/long.mp4", "Long")
    states = ("downloading", "downloaded", "preprocessing", "preprocessed", "detecting_scenes")
    for state in map(SourceVideoState, states):
        videos.set_state(video.id, state)
    cut_list = [
        NewClip(
            start_frame=start,
            end_frame=start + clip_frames,
            start_time_seconds=start / FRAME_RATE,
            end_time_seconds=(start + clip_frames) / FRAME_RATE,
            confidence=(start % 97) / 97,
        )
        for start in range(0, clips * clip_frames, clip_frames)
    ]
    ClipStore(database).replace_cuts(video.id, cut_list, clips * clip_frames)
    return video.id
