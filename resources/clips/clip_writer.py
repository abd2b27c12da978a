"""Writes the files of clips, one source video at a time, each by its export profile, and proves what was written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.errors import InvalidMediaError, PermanentError, SettingsError
from heaters_dagster.domain.export_profile import FIRST_PROFILE, ExportProfile
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.room_needed import export_bytes
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.domain.trimming import FileFrames, without_transitions
from heaters_dagster.registries import EXPORT_PROFILES
from resources.clips.open_clip import OpenClip
from resources.clips.written_clip import WrittenClip, ends_in_proxy, proof_of, read_back
from resources.media.frame_index_reader import FrameIndexes
from resources.media.proxy_bytes import open_proxy
from resources.media.remuxer import ProxyReader
from resources.media.timecode_track import SUFFIXES, add_timecode
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import check_room
from resources.postgres.clip_store import Clip
from resources.postgres.source_video_store import SourceVideo


def installed_profile(name: str, clip: Clip) -> ExportProfile:
    """The export profile that was asked for. Raises PermanentError when the package that brought it is gone, or cannot be used."""
    try:
        return EXPORT_PROFILES.load(name)
    except SettingsError as error:
        why = str(error) if name in EXPORT_PROFILES else f"the export profile {name!r} is not installed any more"
        raise PermanentError(
            f"{why}. Install the package that brings it, then: heaters retry --clip {clip.reference}. "
            f"For a file now: heaters export {clip.reference} --profile {FIRST_PROFILE}"
        ) from error


class ClipWriter:
    """Writes clips of one source video; its proxy is opened once. Close it, or use it as a context manager. One thread.

    turn_to_encode: entered for every encode, because an encode uses all cores of the machine; a stream copy never waits for it.
    time: the timecode of the source video, which MP4 and MOV files of clips carry on; None: they get none.
    """

    def __init__(
        self,
        video: SourceVideo,
        *,
        objects: ObjectStore,
        indexes: FrameIndexes,
        turn_to_encode: Callable[[], AbstractContextManager[object]] = nullcontext,
        time: SourceTime | None = None,
    ) -> None:
        if video.proxy_filepath is None:
            raise PermanentError(f"source video {video.id} has no proxy to export from; heaters process makes it")
        self._video = video
        self._objects = objects
        self._indexes = indexes
        self._turn_to_encode = turn_to_encode
        self._time = time
        self._source = open_proxy(objects, video.proxy_filepath)
        self._proxy = ProxyReader(self._source)

    def write(
        self, clip: Clip, profile: ExportProfile, *, key: str, folder: Path, ends: Transition | None = None, report: Report = silent
    ) -> tuple[Path, ExportManifest]:
        """Write the file of `clip` into `folder` as `profile` says; return its path and what proves it.

        key: the object key for the file. ends: what the cut is at which the clip ends, for a profile that trims. Raises
        InvalidMediaError when the written file is not the clip, ColdStorageError when the gold master must be restored first (the restore
        has been requested), PermanentError, FfmpegError, DiskFullError, NoRoomError.
        """
        whole, frames = clip, FileFrames(clip.start_frame, clip.end_frame)
        if profile.trims:
            called = f"clip {clip.sequence} of {self._video.title}"
            frames = without_transitions(clip.start_frame, clip.end_frame, begins=clip.transition, ends=ends, called=called)
            clip = replace(clip, start_frame=frames.start_frame, end_frame=frames.end_frame)
        index = self._index(clip)
        in_proxy = int(index.byte_offset[-1] + index.byte_size[-1] - index.byte_offset[0])
        check_room(folder, export_bytes(in_proxy, encodes=profile.encodes))
        path = folder / f"clip{profile.suffix}"
        opened = OpenClip(
            clip=clip,
            video=self._video,
            index=index,
            proxy=self._proxy,
            objects=self._objects,
            indexes=self._indexes,
            folder=folder,
            report=report,
        )
        with self._turn_to_encode() if profile.encodes else nullcontext():
            profile.write(opened, path)
        if self._time is not None and path.suffix in SUFFIXES and path.is_file():
            add_timecode(path, self._time.beginning_at(self._since_frame_0(index, opened.clip.start_frame)))
        proven = self._manifest(opened, profile, path, key)
        return path, replace(proven, clip_start_frame=whole.start_frame, clip_end_frame=whole.end_frame, left_out=frames.left_out)

    def close(self) -> None:
        self._proxy.close()

    def _since_frame_0(self, index: FrameIndex, frame: int) -> Fraction:
        """When a frame begins, in seconds after frame 0 of the source video."""
        return (index.pts_of(frame) - self._indexes.slice(self._video.id, 0, 1).pts_of(0)) * index.header.time_base

    def _timecodes(self, index: FrameIndex, clip: Clip) -> dict[str, Any]:
        """What the manifest says of the source video's timecode."""
        if self._time is None:
            return {}
        first, last = (self._time.at(self._since_frame_0(index, frame)) for frame in (clip.start_frame, clip.end_frame - 1))
        return {"first_timecode": first, "last_timecode": last, "timecode_rate": str(self._time.rate), "reel": self._time.reel}

    def _index(self, clip: Clip) -> FrameIndex:
        """The clip's frames, and one more on each side if there is one."""
        frame_count = self._indexes.header(self._video.id).frame_count
        return self._indexes.slice(self._video.id, max(0, clip.start_frame - 1), min(frame_count, clip.end_frame + 1))

    def _manifest(self, opened: OpenClip, profile: ExportProfile, path: Path, key: str) -> ExportManifest:
        """Read the file back and check it. Raises InvalidMediaError when it is not the clip."""
        clip, index = opened.clip, opened.index
        if not path.is_file():
            raise PermanentError(f"{opened.named} was not written: the export profile {profile.name!r} left no file")
        written = read_back(path)
        manifest = ExportManifest(
            source_video_id=clip.source_video_id,
            clip_id=clip.id,
            cut_point_version=clip.cut_point_version,
            profile=profile.name,
            key=key,
            start_frame=clip.start_frame,
            end_frame=clip.end_frame,
            **proof_of(path, written, ends_in_proxy(self._source, index, clip.start_frame, clip.end_frame)),
            **self._timecodes(index, clip),
        )
        problems = [*manifest.problems(exact=profile.exact), *_time_problems(written, index, clip)]
        if profile.exact and opened.payload_sha256 != written.payload_sha256:
            problems.append("its packets differ from those of the proxy")
        if problems:
            raise InvalidMediaError(
                f"{opened.named} was not written correctly: {'; '.join(problems)}; try again: heaters retry --clip {clip.reference}"
            )
        return manifest

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _time_problems(written: WrittenClip, index: FrameIndex, clip: Clip) -> list[str]:
    """Whether each frame is shown when the frame index says, counted from the clip's first, as exactly as the file's unit of time can."""
    pts = index.slice(clip.start_frame, clip.end_frame).pts
    scale = index.header.time_base / written.time_base
    shared = min(len(pts), len(written.pts))
    off = np.abs(written.pts[:shared] * scale.denominator - (pts[:shared] - pts[0]) * scale.numerator)
    wrong = np.flatnonzero(2 * off > scale.denominator)
    if not len(wrong):
        return []
    frame = int(wrong[0])
    at = float(int(written.pts[frame]) * written.time_base)
    should = float(int(pts[frame] - pts[0]) * index.header.time_base)
    return [f"frame {frame} is shown at {at:.6f} s, not at {should:.6f} s"]
