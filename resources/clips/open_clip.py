"""A clip with its proxy opened, and what export profiles can do with it: copy packets, encode, and read the gold master."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from heaters_dagster.domain.errors import ColdStorageError, ObjectNotFoundError, PermanentError
from heaters_dagster.domain.export_profile import FIRST_PROFILE, MasterProfile
from heaters_dagster.domain.ffmpeg_run import Profile
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.progress import Report
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.frame_index_reader import FrameIndexes
from resources.media.master_export import encode_from_master
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.media.remuxer import ProxyReader, RemuxedClip, remux, retimed
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip
from resources.postgres.source_video_store import SourceVideo


@dataclass(slots=True, kw_only=True, eq=False)
class OpenClip:
    """A `ClipToWrite`. index: the clip's frames and one more on either side where there is one.

    payload_sha256: hex, of the proxy's packets that `copy` wrote last; None while it has not.
    """

    clip: Clip
    video: SourceVideo
    index: FrameIndex
    proxy: ProxyReader
    objects: ObjectStore
    indexes: FrameIndexes
    folder: Path
    report: Report
    payload_sha256: str | None = field(default=None, init=False)

    @property
    def title(self) -> str:
        return f"{self.video.title}, clip {self.clip.sequence:03d}"

    @property
    def named(self) -> str:
        """For messages."""
        return f"clip {self.clip.sequence} of {self.video.title}"

    def copy(self, path: Path) -> RemuxedClip:
        start, end = self.clip.start_frame, self.clip.end_frame
        written = remux(self.proxy, self.index, start_frame=start, end_frame=end, path=path, title=self.title)
        self.payload_sha256 = written.payload_sha256
        return written

    def encode(self, profile: Profile, source: Path, path: Path) -> None:
        ffmpeg.run(profile, source, [path], total_seconds=self._duration_seconds, report=self.report, called=self.named)

    def encode_master(self, profile: MasterProfile, path: Path) -> None:
        video, clip = self.video, self.clip
        if video.probe is None:
            raise PermanentError(f"source video {video.id} was never probed; heaters retry {video.id} fetches it again")
        found = MediaProbe.from_json(dict(video.probe))
        frame_0 = self.indexes.slice(video.id, 0, 1).pts_of(0)
        encode_from_master(
            profile,
            found,
            self._master(),
            path,
            start_frame=clip.start_frame,
            end_frame=clip.end_frame,
            frame_count=self.index.header.frame_count,
            begins_seconds=float((self.index.pts_of(clip.start_frame) - frame_0) * self.index.header.time_base),
            duration_seconds=self._duration_seconds,
            folder=self.folder,
            called=f"the gold master of source video {video.id}",
            report=self.report,
        )

    def retimed(self, encoded: Path, path: Path) -> None:
        start, end = self.clip.start_frame, self.clip.end_frame
        retimed(encoded, self.index, start_frame=start, end_frame=end, path=path, title=self.title)

    @property
    def _duration_seconds(self) -> float:
        ticks = self.index.pts_of(self.clip.end_frame) - self.index.pts_of(self.clip.start_frame)
        return float(ticks * self.index.header.time_base)

    def _master(self) -> Path | RangeFile:
        """The gold master, ready to be read. Raises PermanentError, ColdStorageError, ObjectNotFoundError when it is not."""
        video, key = self.video, self.video.gold_master_filepath
        for_now = f"For a file now: heaters export {self.clip.reference} --profile {FIRST_PROFILE}"
        again = f"heaters retry --clip {self.clip.reference}"
        if key is None:
            why = f": {video.gold_master_error}" if video.gold_master_error else ""
            raise PermanentError(
                f"source video {video.id} has no gold master, and none can be made{why}. "
                f"For a new try: heaters retry {video.id}, and when there is one {again}. {for_now}"
            )
        info = self.objects.info(key)
        if info is None:
            raise ObjectNotFoundError(f"the gold master of source video {video.id} is gone: there is no object {key}")
        if info.needs_restore:
            raise ColdStorageError(
                f"the gold master of source video {video.id} is in cold storage ({info.storage_class}): its copy that "
                f"could be read has expired. It is asked for again with the next try: {again}. {for_now}"
            )
        return open_proxy(self.objects, key)
