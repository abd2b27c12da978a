"""Exporting a clip by stream copy, proof and publication included, against encoding it again with libx264 CRF 20 medium."""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from assets.proxy_pass import proxy_pass
from benchmarks.table import Row, at_least, at_most
from heaters_dagster.domain.ffmpeg_run import Output, Profile
from heaters_dagster.domain.frame_index import encoded
from heaters_dagster.domain.keys import final_clip_key, frame_index_key, proxy_key
from heaters_dagster.domain.profiles import EXACT_TIMES
from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.clips.clip_writer import ClipWriter
from resources.clips.export_profiles.stream_copy import EXPORT_PROFILE as STREAM_COPY
from resources.media.ffmpeg import ffmpeg_path
from resources.media.ffmpeg import run as run_ffmpeg
from resources.media.frame_index_reader import FrameIndexes, read_frame_index
from resources.media.media_probe import probe
from resources.object_store.local import LocalObjectStore
from resources.postgres.clip_store import Clip
from resources.postgres.source_video_store import SourceVideo

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "tears_of_steel_battle.mp4"
HEIGHT = 720
CLIP_SECONDS = 5.0
CLIPS = 5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Remote(LocalObjectStore):
    """The local store, read by ranges only as a remote one is, with a count of the bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bytes_read = 0

    def local_path(self, key: str) -> Path | None:
        return None

    def get_range(self, key: str, start: int, end: int) -> bytes:
        data = super().get_range(key, start, end)
        self.bytes_read += len(data)
        return data


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = Remote(folder / "objects")
        clips = _stored_proxy(folder, objects)
        copied, again, copied_bytes, remote_bytes = [], [], [], []
        with ClipWriter(VIDEO, objects=LocalObjectStore(folder / "objects"), indexes=FrameIndexes(objects)) as writer:
            writer.write(clips[0], STREAM_COPY, key=final_clip_key(1, 1), folder=folder)  # libraries are loaded before anything is timed
            for clip in clips:
                began = time.perf_counter()
                path, manifest = writer.write(clip, STREAM_COPY, key=final_clip_key(1, clip.sequence), folder=folder)
                objects.put_file(final_clip_key(1, clip.sequence), path)
                copied.append(time.perf_counter() - began)
                copied_bytes.append(manifest.byte_size)
                began = time.perf_counter()
                run_ffmpeg(ENCODED_AGAIN, path, [folder / "again.mp4"])
                again.append(time.perf_counter() - began)
        for clip in clips:
            objects.bytes_read = 0
            with ClipWriter(VIDEO, objects=objects, indexes=FrameIndexes(objects)) as writer:
                writer.write(clip, STREAM_COPY, key=final_clip_key(1, clip.sequence), folder=folder)
            remote_bytes.append(objects.bytes_read)
    ratios = [slow / fast for slow, fast in zip(again, copied, strict=True)]
    what = f"{CLIPS} clips of {CLIP_SECONDS:g} s, {HEIGHT}p with sound"
    return [
        Row("export by stream copy, median", statistics.median(copied) * 1000, "ms", note=f"{what}; written, read back, hashed, published"),
        Row("the same clip encoded again, median", statistics.median(again) * 1000, "ms", note="libx264 CRF 20 medium, sound copied"),
        at_least("stream copy is faster, median", statistics.median(ratios), "times", 50),
        Row("stream copy is faster, worst clip", min(ratios), "times"),
        at_most(
            "bytes read of a remote proxy, over the clip's size",
            statistics.median(read / size for read, size in zip(remote_bytes, copied_bytes, strict=True)),
            "times",
            3,
            "one clip alone: the file's header and two frames for the proof are in it",
        ),
    ]


ENCODED_AGAIN = Profile(
    name="encoded_again",
    video="v:0",
    outputs=(
        Output(
            options={"c:v": "libx264", "preset": "medium", "crf": 20, "pix_fmt": "yuv420p", "c:a": "copy", **EXACT_TIMES, "f": "mp4"},
            audio=("a:0",),
        ),
    ),
)

VIDEO = SourceVideo(
    id=1,
    source=str(SAMPLE),
    confined_to=None,
    title="Tears of Steel",
    state=SourceVideoState.SCENES_DETECTED,
    error=None,
    attempts=0,
    warnings=(),
    forced=False,
    original_filepath=None,
    original_bytes=None,
    content_sha256=None,
    duplicate_of_id=None,
    probe=None,
    proxy_filepath=proxy_key(1),
    frame_index_filepath=frame_index_key(1),
    frame_count=None,
    duration_seconds=None,
    scenes_filepath=None,
    scene_settings=None,
    gold_master_filepath=None,
    gold_master_sha256=None,
    gold_master_bytes=None,
    gold_master_error=None,
    gold_master_attempts=0,
    gold_master_failed_at=None,
    next_clip_sequence=1,
    source_bytes=None,
    source_modified_ns=None,
    source_fingerprint=None,
    source_sha256=None,
    chapters_as_cuts=False,
    created_at=_NOW,
    updated_at=_NOW,
    state_changed_at=_NOW,
)


def _stored_proxy(folder: Path, objects: LocalObjectStore) -> list[Clip]:
    """Put the proxy of the sample, enlarged to HEIGHT, and its frame index into the store; return random clips of it."""
    enlarged, file = folder / "enlarged.mp4", folder / "proxy.mp4"
    scaled = ["-vf", f"scale=-2:{HEIGHT}", "-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-c:a", "copy"]
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-i", str(SAMPLE), *scaled, str(enlarged)], check=True)
    proxy_pass(enlarged, probe(enlarged), file, detector="adaptive", called=SAMPLE.name)
    index = read_frame_index(file)
    objects.put_file(proxy_key(1), file)
    objects.put_bytes(frame_index_key(1), encoded(index))
    frames = round(CLIP_SECONDS * index.header.frame_count / index.time_seconds(index.header.frame_count))
    starts = random.Random(1).sample(range(index.header.frame_count - frames), CLIPS)
    return [_clip(number, start, start + frames) for number, start in enumerate(starts, start=1)]


def _clip(number: int, start: int, end: int) -> Clip:
    return Clip(
        id=number,
        source_video_id=1,
        sequence=number,
        start_frame=start,
        end_frame=end,
        start_time_seconds=0.0,
        end_time_seconds=0.0,
        source_video_order=start,
        state=ClipState.EXPORTING,
        error=None,
        attempts=0,
        is_live=True,
        is_virtual=True,
        clip_filepath=None,
        confidence=None,
        grouped_with_clip_id=None,
        cut_point_version=1,
        export_profile="stream_copy",
        created_by_user_id=None,
        last_modified_by_user_id=None,
        leased_by_user_id=None,
        lease_expires_at=None,
        created_at=_NOW,
        updated_at=_NOW,
        state_changed_at=_NOW,
    )
