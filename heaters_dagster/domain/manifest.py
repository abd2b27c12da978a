"""What proves an exported clip or a keyframe. It is stored with the file's key, and anybody can check it with another tool.

Frame hashes are those of `resources.media.frame_hashes`: `ffmpeg -i clip.mp4 -map 0:v:0 -f framehash -hash sha256 -` prints the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeVar

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.words import counted

M = TypeVar("M", bound="ExportManifest | KeyframeManifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportManifest:
    """Proof of one exported file.

    start_frame, end_frame: the frames `[start_frame, end_frame)` of the source video that the file has; clip_start_frame, clip_end_frame:
    those of the clip, None in manifests of before; left_out: what of the clip is not in the file, and why, see `domain.trimming`.
    cut_point_version: of the clip when it was claimed.
    frame_count, first_frame_hash, last_frame_hash: of the file as it was written, decoded again. proxy_first_frame_hash,
    proxy_last_frame_hash: of the same frames of the proxy; equal for a stream copy, different where frames were encoded again.
    payload_sha256: over the bytes of all video packets in order; for a stream copy they are the proxy's own, so the hash proves every frame
    between first and last too. audio_offset_seconds: first audible packet's start minus first frame's start, None without audio.
    file_sha256, byte_size: of the file. Hashes are hex. first_timecode, last_timecode: of its first and its last frame in the source video,
    as 10:00:00:00, with ; for drop-frame timecode; timecode_rate: at which they count; reel: of the source video. None where not known.
    """

    source_video_id: int
    clip_id: int
    cut_point_version: int
    profile: str
    key: str
    start_frame: int
    end_frame: int
    frame_count: int
    first_frame_hash: str
    last_frame_hash: str
    proxy_first_frame_hash: str
    proxy_last_frame_hash: str
    payload_sha256: str
    duration_seconds: float
    audio_offset_seconds: float | None
    byte_size: int
    file_sha256: str
    clip_start_frame: int | None = None
    clip_end_frame: int | None = None
    left_out: Sequence[Mapping[str, Any]] = ()
    first_timecode: str | None = None
    last_timecode: str | None = None
    timecode_rate: str | None = None
    reel: str | None = None

    def problems(self, *, exact: bool) -> list[str]:
        """Why this file is not the clip it should be, one sentence each; empty when it is. exact: as of its profile, `ExportProfile`."""
        found = []
        if self.frame_count != self.end_frame - self.start_frame:
            found.append(f"the file has {counted(self.frame_count, 'frame')}, the clip {self.end_frame - self.start_frame}")
        if exact:
            if self.first_frame_hash != self.proxy_first_frame_hash:
                found.append(f"the file's first frame is not frame {self.start_frame} of the proxy")
            if self.last_frame_hash != self.proxy_last_frame_hash:
                found.append(f"the file's last frame is not frame {self.end_frame - 1} of the proxy")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExportManifest:
        """Raises InvalidMediaError when it is not one."""
        return _from_json(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeManifest:
    """Proof of one still. frame_number: in the source video; frame_hash: of that frame as decoded from the exported file.

    width, height: of the JPEG, in square pixels.
    """

    source_video_id: int
    clip_id: int
    cut_point_version: int
    key: str
    tag: str
    frame_number: int
    frame_hash: str
    width: int
    height: int
    byte_size: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KeyframeManifest:
        """Raises InvalidMediaError when it is not one."""
        return _from_json(cls, data)


def _from_json(kind: type[M], data: Mapping[str, Any]) -> M:
    needed = {spec.name for spec in fields(kind) if spec.default is MISSING}
    if needed - set(data):
        raise InvalidMediaError(f"this is not a {kind.__name__}: it lacks {', '.join(sorted(needed - set(data)))}")
    found: dict[str, Any] = {spec.name: data[spec.name] for spec in fields(kind) if spec.name in data}
    found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    return kind(**found)
