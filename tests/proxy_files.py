"""Tiny proxies for tests of what works on proxies: all-intra H.264 of any source, with their frame index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import boto3

from heaters_dagster.domain.frame_index import FrameIndex, encoded
from heaters_dagster.domain.keys import frame_index_key, original_key, proxy_key
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.media.ffmpeg import source_streams
from resources.media.frame_index_reader import read_frame_index
from resources.media.media_probe import probe
from resources.media.proxy_writer import write_proxy
from resources.object_store.interface import ObjectStore
from resources.object_store.s3 import S3ObjectStore
from resources.postgres.clip_store import ClipStore, NewClip
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.made_once import hash_of, made_once
from tests.media_files import barcode_video

#: What promise 2 names: every kind of source whose frames must come out exactly.
SOURCES: dict[str, Callable[[Path], Path]] = {
    "constant": lambda folder: barcode_video(folder / "s.mp4", frames=60),
    "variable": lambda folder: barcode_video(folder / "s.mp4", frames=60, vfr=True),
    "odd": lambda folder: barcode_video(folder / "s.mp4", frames=40, size=(161, 121), pixel_format="yuv444p"),
    "ten_bit": lambda folder: barcode_video(folder / "s.mkv", frames=40, pixel_format="yuv420p10le"),
    "23.976": lambda folder: barcode_video(folder / "s.mp4", frames=60, rate=Fraction(24000, 1001)),
    "delayed": lambda folder: barcode_video(folder / "s.mp4", frames=48, video_start_seconds=1.5),
    "b_frames": lambda folder: barcode_video(folder / "s.mp4", frames=60, b_frames=3),
    "silent": lambda folder: barcode_video(folder / "s.mp4", frames=40, audio=False),
    "wide_pixels": lambda folder: barcode_video(folder / "s.mp4", frames=30, sample_aspect_ratio=Fraction(4, 3)),
}


def make_proxy_file(source: Path, path: Path) -> Path:
    """The proxy of `source`, as the pipeline makes it."""

    def make() -> None:
        found = probe(source)
        write_proxy(source, found, source_streams(found), path)

    return made_once(path, ["proxy", source.suffix, hash_of(source)], make)


def stored_video(
    source: Path,
    folder: Path,
    *,
    database: Database,
    objects: ObjectStore,
    cuts: Sequence[int] = (),
    approved: bool = True,
    proxy: Path | None = None,
) -> SourceVideo:
    """A source video whose original, proxy and frame index are in the store and whose clips, between `cuts`, are approved.

    proxy: the proxy of `source` when it is made already.
    """
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(source), source.stem)
    made = proxy or make_proxy_file(source, folder / f"proxy-{video.id}.mp4")
    index = read_frame_index(made)
    count = index.header.frame_count
    objects.put_file(original_key(video.id, source.suffix), source)
    objects.put_file(proxy_key(video.id), made)
    objects.put_bytes(frame_index_key(video.id), encoded(index))
    videos.set_state(video.id, SourceVideoState.DOWNLOADING)
    columns = {"original_filepath": original_key(video.id, source.suffix), "probe": probe(source).to_json()}
    videos.set_state(video.id, SourceVideoState.DOWNLOADED, **columns)
    videos.set_state(video.id, SourceVideoState.PREPROCESSING)
    keys = {"proxy_filepath": proxy_key(video.id), "frame_index_filepath": frame_index_key(video.id)}
    videos.set_state(video.id, SourceVideoState.PREPROCESSED, frame_count=count, **keys)
    videos.set_state(video.id, SourceVideoState.DETECTING_SCENES)
    new = [
        NewClip(start_frame=low, end_frame=high, start_time_seconds=index.time_seconds(low), end_time_seconds=index.time_seconds(high))
        for low, high in pairwise([0, *cuts, count])
    ]
    for clip in clips.replace_cuts(video.id, new, count):
        if approved:
            clips.advance(clip.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)
    return videos.load(video.id)


def local_copy(objects: ObjectStore, key: str, folder: Path) -> Path:
    """Where the object can be read: in place, else fetched anew into `folder`."""
    path = objects.local_path(key)
    if path is None:
        path = folder / f"fetched-{key.replace('/', '-')}"
        objects.get_file(key, path)
    return path


def written_at(objects: ObjectStore, key: str) -> object:
    """Changes whenever the object is written anew, with the same bytes too."""
    path = objects.local_path(key)
    if path is not None:
        return path.stat().st_mtime_ns
    assert isinstance(objects, S3ObjectStore)
    return boto3.client("s3", endpoint_url=objects.endpoint_url).head_object(Bucket=objects.bucket, Key=key)["VersionId"]


def index_of(path: Path) -> FrameIndex:
    """The whole frame index of a proxy."""
    return read_frame_index(path)
