"""Reads back what is in a clip's file, so that the manifest describes the real file and not the plan."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.frame_hashes import file_sha256, frame_hash
from resources.media.frame_reader import FrameDecoder, FrameReader
from resources.media.proxy_bytes import RangeFile

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True, eq=False)
class WrittenClip:
    """pts: (n,) int64, rising: when each frame is first shown, in units of `time_base` seconds; end_pts: when the last frame ends.

    first_frame_hash, last_frame_hash: see `resources.media.frame_hashes`. payload_sha256: hex, over the bytes of all video packets.
    audio_offset_seconds: when the first audio packet that is heard starts, minus the first frame's time; None without audio.
    """

    time_base: Fraction
    pts: NDArray[np.int64]
    end_pts: int
    first_frame_hash: str
    last_frame_hash: str
    payload_sha256: str
    audio_offset_seconds: float | None

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def duration_seconds(self) -> float:
        return float((self.end_pts - int(self.pts[0])) * self.time_base)


class _Packets:
    """What is kept of the packets while they are read: all packets of a long clip would be too much for memory."""

    def __init__(self) -> None:
        self.pts = array("q")
        self.end_pts = 0
        self.digest = hashlib.sha256()
        self.all_intra = True
        self.first: Any = None
        self.last: Any = None
        self.heard: Any = None

    def add_video(self, packet: Any) -> None:
        self.pts.append(packet.pts)
        self.end_pts = max(self.end_pts, packet.pts + (packet.duration or 0))
        self.digest.update(packet)
        self.all_intra = self.all_intra and packet.is_keyframe
        self.first, self.last = self.first or packet, packet

    def add_audio(self, packet: Any) -> None:
        """Count an audio packet. A packet that the edit list hides completely is not heard: it only starts the decoder."""
        if self.heard is None and not packet.is_discard:
            self.heard = packet


def proof_of(path: Path, written: WrittenClip, proxy_ends: tuple[str, str]) -> dict[str, Any]:
    """What an ExportManifest says of the file itself, all of which can be read from it again. proxy_ends: of `ends_in_proxy`."""
    first, last = proxy_ends
    return {
        "frame_count": written.frame_count,
        "first_frame_hash": written.first_frame_hash,
        "last_frame_hash": written.last_frame_hash,
        "proxy_first_frame_hash": first,
        "proxy_last_frame_hash": last,
        "payload_sha256": written.payload_sha256,
        "duration_seconds": written.duration_seconds,
        "audio_offset_seconds": written.audio_offset_seconds,
        "byte_size": path.stat().st_size,
        "file_sha256": file_sha256(path),
    }


def ends_in_proxy(source: Path | RangeFile, index: FrameIndex, start_frame: int, end_frame: int) -> tuple[str, str]:
    """The hashes of the first and the last of the frames `[start_frame, end_frame)` of the proxy. index: has at least those frames."""
    with FrameReader(source, index) as reader:
        first, last = (frame_hash(reader.frame(number, alone=True)) for number in (start_frame, end_frame - 1))
    return first, last


def read_back(path: Path) -> WrittenClip:
    """Read every packet of a clip; decode the first and last frame, or all where it is not H.264 of keyframes only.

    Raises InvalidMediaError when it does not decode or when packets and frames are not equal in number.
    """
    import av

    packets = _Packets()
    try:
        with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"}) as container:
            video = container.streams.video[0]
            time_base = video.time_base
            for packet in container.demux([video, *container.streams.audio[:1]]):
                if packet.size:
                    (packets.add_video if packet.stream is video else packets.add_audio)(packet)
            if not packets.pts:
                raise InvalidMediaError(f"{path.name} has no frames")
            if packets.all_intra and video.codec_context.name == "h264":
                decoder = FrameDecoder(video.codec_context.extradata)
                first = decoder.frame(bytes(packets.first), name=f"{path.name}: its first frame")
                last = decoder.frame(bytes(packets.last), name=f"{path.name}: its last frame")
            else:
                first, last = _decoded_ends(container, video, len(packets.pts), path)
    except (av.FFmpegError, IndexError) as error:
        raise library_failure(f"{path.name} cannot be read back", error) from error
    pts, heard = np.sort(np.array(packets.pts, dtype=np.int64)), packets.heard
    return WrittenClip(
        time_base=time_base,
        pts=pts,
        end_pts=packets.end_pts,
        first_frame_hash=frame_hash(first),
        last_frame_hash=frame_hash(last),
        payload_sha256=packets.digest.hexdigest(),
        audio_offset_seconds=None if heard is None else float(heard.pts * heard.time_base - int(pts[0]) * time_base),
    )


def _decoded_ends(container: Any, video: Any, packet_count: int, path: Path) -> tuple[av.VideoFrame, av.VideoFrame]:
    """Decode everything; return the first and the last frame. There must be as many frames as packets."""
    container.seek(0, stream=video)
    count, first, last = 0, None, None
    for frame in container.decode(video):
        first, last, count = first or frame, frame, count + 1
    if first is None or last is None or count != packet_count:
        raise InvalidMediaError(f"{path.name} decodes to {counted(count, 'frame')}, but has {counted(packet_count, 'packet')}")
    return first, last
