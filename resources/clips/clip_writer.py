"""Writes the files of clips, one source video at a time, in each of the three export profiles, and says what was written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType

import numpy as np

from heaters_dagster.domain.errors import ColdStorageError, InvalidMediaError, ObjectNotFoundError, PermanentError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.profiles import delivery, master_export
from heaters_dagster.domain.progress import Report, silent
from resources.clips.written_clip import WrittenClip, read_back
from resources.media import ffmpeg
from resources.media.frame_hashes import file_sha256, frame_hash
from resources.media.frame_index_reader import FrameIndexes
from resources.media.frame_reader import FrameReader
from resources.media.master_frames import master_clip
from resources.media.media_probe import MediaProbe
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.media.proxy_writer import clip_sound, skipped_seconds, sound_input
from resources.media.remuxer import ProxyReader, remux, retimed
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip
from resources.postgres.source_video_store import SourceVideo


class ClipWriter:
    """Writes clips of one source video; its proxy is opened once. Close it, or use it as a context manager. One thread.

    turn_to_encode: entered for every encode, which takes all cores of the machine; a stream copy never waits for it.
    """

    def __init__(
        self,
        video: SourceVideo,
        *,
        objects: ObjectStore,
        indexes: FrameIndexes,
        turn_to_encode: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        if video.proxy_filepath is None:
            raise PermanentError(f"source video {video.id} has no proxy to export from; heaters process makes it")
        self._video = video
        self._objects = objects
        self._indexes = indexes
        self._turn_to_encode = turn_to_encode
        self._source = open_proxy(objects, video.proxy_filepath)
        self._proxy = ProxyReader(self._source)

    def write(self, clip: Clip, *, key: str, folder: Path, report: Report = silent) -> tuple[Path, ExportManifest]:
        """Write the file of `clip` into `folder` by its export profile; return its path and what proves it.

        key: under which the file will be published. Raises InvalidMediaError when the file that was written is not the clip,
        ColdStorageError when the gold master must come back first (it was asked for), PermanentError, FfmpegError, DiskFullError.
        """
        index = self._index(clip)
        path = folder / "clip.mp4"
        payload_sha256 = None
        if clip.export_profile == "delivery":
            self._write_delivery(clip, index, path, report)
        elif clip.export_profile == "gold_master":
            self._write_from_master(clip, index, path, report)
        else:
            payload_sha256 = self._copy(clip, index, path)
        manifest = self._manifest(clip, index, path, key, expected_payload_sha256=payload_sha256)
        return path, manifest

    def close(self) -> None:
        self._proxy.close()

    def _index(self, clip: Clip) -> FrameIndex:
        """The clip's frames and one more on either side where there is one."""
        frame_count = self._indexes.header(self._video.id).frame_count
        return self._indexes.slice(self._video.id, max(0, clip.start_frame - 1), min(frame_count, clip.end_frame + 1))

    def _copy(self, clip: Clip, index: FrameIndex, path: Path) -> str:
        title = self._title(clip)
        return remux(self._proxy, index, start_frame=clip.start_frame, end_frame=clip.end_frame, path=path, title=title).payload_sha256

    def _write_delivery(self, clip: Clip, index: FrameIndex, path: Path, report: Report) -> None:
        copy = path.with_name("copy.mp4")
        written = remux(self._proxy, index, start_frame=clip.start_frame, end_frame=clip.end_frame, path=copy, title=self._title(clip))
        profile = delivery(audio=written.audio_offset_seconds is not None)
        with self._turn_to_encode():
            ffmpeg.run(profile, copy, [path], total_seconds=written.duration_seconds, report=report, called=self._named(clip))
        copy.unlink()

    def _write_from_master(self, clip: Clip, index: FrameIndex, path: Path, report: Report) -> None:
        if self._video.probe is None:
            raise PermanentError(f"{self._called()} was never probed; heaters retry {self._video.id} fetches it again")
        found = MediaProbe.from_json(dict(self._video.probe))
        start, end, time_base = clip.start_frame, clip.end_frame, index.header.time_base
        frame_0 = self._indexes.slice(self._video.id, 0, 1).pts_of(0)
        begins, duration = (
            float((high - low) * time_base) for low, high in ((frame_0, index.pts_of(start)), (index.pts_of(start), index.pts_of(end)))
        )
        called = f"the gold master of {self._called()}"
        streams = ffmpeg.source_streams(found)
        used = found.sounds or (() if streams.audio is None else (streams.audio,))
        master = master_clip(
            self._master(clip),
            start_frame=start,
            end_frame=end,
            frame_count=index.header.frame_count,
            start_seconds=begins + skipped_seconds(found, begins),
            duration_seconds=duration,
            sounds=tuple(number for number, stream in enumerate(found.audio) if stream.index in used),
            sound_count=len(found.audio),
            folder=path.parent,
            called=called,
        )
        sound = clip_sound(found, master, duration)
        encoded = path.with_name("encoded.mp4")
        try:
            with self._turn_to_encode():
                ffmpeg.run(
                    master_export(streams, sound=sound_input(sound, master.start_seconds) if sound else None),
                    master.path,
                    [encoded],
                    total_seconds=duration,
                    report=report,
                    called=called,
                    picture=master.write,
                    sound=sound.write if sound else None,
                )
        finally:
            if sound is not None:
                sound.close()
        retimed(encoded, index, start_frame=start, end_frame=end, path=path, title=self._title(clip))

    def _master(self, clip: Clip) -> Path | RangeFile:
        """The gold master, ready to be read. Raises PermanentError, ColdStorageError, ObjectNotFoundError when it is not."""
        key = self._video.gold_master_filepath
        if key is None:
            why = f": {self._video.gold_master_error}" if self._video.gold_master_error else ""
            raise PermanentError(
                f"{self._called()} has no gold master, and none can be made{why}. "
                f"For a new try: heaters retry {self._video.id}, and when there is one heaters retry --clip {clip.reference}. "
                f"For a file now: heaters export {clip.reference} --profile stream_copy"
            )
        info = self._objects.info(key)
        if info is None:
            raise ObjectNotFoundError(f"the gold master of {self._called()} is gone: there is no object {key}")
        if info.needs_restore:
            self._objects.restore(key)
            raise ColdStorageError(
                f"the gold master of {self._called()} is in cold storage ({info.storage_class}). It was asked for and comes back within "
                f"hours; then: heaters retry --clip {clip.reference}. For a file now: heaters export {clip.reference} --profile stream_copy"
            )
        return open_proxy(self._objects, key)

    def _manifest(self, clip: Clip, index: FrameIndex, path: Path, key: str, *, expected_payload_sha256: str | None) -> ExportManifest:
        """Read the file back and prove it. Raises InvalidMediaError when it is not the clip."""
        written = read_back(path)
        with FrameReader(self._source, index) as reader:
            first, last = (frame_hash(reader.frame(number)) for number in (clip.start_frame, clip.end_frame - 1))
        manifest = ExportManifest(
            source_video_id=clip.source_video_id,
            clip_id=clip.id,
            cut_point_version=clip.cut_point_version,
            profile=clip.export_profile,
            key=key,
            start_frame=clip.start_frame,
            end_frame=clip.end_frame,
            frame_count=written.frame_count,
            first_frame_hash=written.first_frame_hash,
            last_frame_hash=written.last_frame_hash,
            proxy_first_frame_hash=first,
            proxy_last_frame_hash=last,
            payload_sha256=written.payload_sha256,
            duration_seconds=written.duration_seconds,
            audio_offset_seconds=written.audio_offset_seconds,
            byte_size=path.stat().st_size,
            file_sha256=file_sha256(path),
        )
        problems = [*manifest.problems(), *_time_problems(written, index, clip)]
        if expected_payload_sha256 not in (None, written.payload_sha256):
            problems.append("its packets are not those of the proxy")
        if problems:
            raise InvalidMediaError(
                f"{self._named(clip)} was written wrongly: {'; '.join(problems)}; try again: heaters retry --clip {clip.reference}"
            )
        return manifest

    def _called(self) -> str:
        return f"source video {self._video.id}"

    def _named(self, clip: Clip) -> str:
        return f"clip {clip.sequence} of {self._video.title}"

    def _title(self, clip: Clip) -> str:
        return f"{self._video.title}, clip {clip.sequence:03d}"

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _time_problems(written: WrittenClip, index: FrameIndex, clip: Clip) -> list[str]:
    """Whether each frame is shown when the frame index says, counted from the clip's first."""
    pts = index.slice(clip.start_frame, clip.end_frame).pts
    scale = index.header.time_base / written.time_base
    shared = min(len(pts), len(written.pts))
    wrong = np.flatnonzero(written.pts[:shared] * scale.denominator != (pts[:shared] - pts[0]) * scale.numerator)
    if not len(wrong):
        return []
    frame = int(wrong[0])
    at = float(int(written.pts[frame]) * written.time_base)
    should = float(int(pts[frame] - pts[0]) * index.header.time_base)
    return [f"frame {frame} is shown at {at:.6f} s, not at {should:.6f} s"]
