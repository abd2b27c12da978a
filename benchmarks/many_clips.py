"""Source videos of many clips, in rows alone: no media stands behind them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader, encoded
from heaters_dagster.domain.keys import frame_index_key
from heaters_dagster.domain.states import SourceVideoState
from resources.object_store.interface import ObjectStore
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


def store_frame_indexes(objects: ObjectStore, source_video_ids: Sequence[int], *, frames: int) -> None:
    """The frame index of so many frames for each of these videos, in a folder: one file under all their names."""
    header = FrameIndexHeader(
        frame_count=frames,
        time_base=1 / Fraction(FRAME_RATE),
        end_pts=frames,
        width=1280,
        height=720,
        sample_aspect_ratio=Fraction(1),
        avcc=b"\x01\x64\x00\x1f",
        has_audio=False,
        source_start_seconds=0.0,
    )
    numbers = np.arange(frames, dtype=np.int64)
    index = FrameIndex(header, 0, numbers, numbers * 1000, np.full(frames, 1000, np.int64))
    objects.put_bytes(frame_index_key(source_video_ids[0]), encoded(index))
    first = objects.local_path(frame_index_key(source_video_ids[0]))
    assert first is not None
    for source_video_id in source_video_ids[1:]:
        objects.put_bytes(key := frame_index_key(source_video_id), b"")
        path = objects.local_path(key)
        assert path is not None
        path.unlink()
        os.link(first, path)
