"""What is in a clip's file, read back from the disk: a manifest says what was written, not what was meant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.errors import InvalidMediaError
from resources.frame_hashes import frame_hash

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """times: when each frame is first shown, in seconds, rising. first_frame_hash, last_frame_hash: see `resources.frame_hashes`.

    payload_sha256: hex, over the bytes of all video packets in file order. end_seconds: when the last frame's showing ends.
    audio_offset_seconds: when the first audio packet that is heard starts, minus the first frame's time; None without audio.
    """

    times: tuple[Fraction, ...]
    end_seconds: Fraction
    first_frame_hash: str
    last_frame_hash: str
    payload_sha256: str
    audio_offset_seconds: float | None

    @property
    def frame_count(self) -> int:
        return len(self.times)

    @property
    def duration_seconds(self) -> float:
        return float(self.end_seconds - self.times[0])


class _Packets:
    """What is kept of the packets while they pass by: one of a long clip is small, all of them are not."""

    def __init__(self) -> None:
        self.shown: list[tuple[Fraction, Fraction]] = []  # start and end of each frame, in seconds
        self.digest = hashlib.sha256()
        self.all_intra = True
        self.first: Any = None
        self.last: Any = None
        self.heard: Fraction | None = None

    def add_video(self, packet: Any) -> None:
        start = packet.pts * packet.time_base
        self.shown.append((start, start + (packet.duration or 0) * packet.time_base))
        self.digest.update(packet)
        self.all_intra = self.all_intra and packet.is_keyframe
        self.first, self.last = self.first or packet, packet

    def add_audio(self, packet: Any) -> None:
        """A packet that the edit list hides as a whole is not heard: an encoder's priming."""
        if self.heard is None and not packet.is_discard:
            self.heard = packet.pts * packet.time_base


def read_back(path: Path) -> WrittenClip:
    """Read every packet of a clip; decode the first and last frame, or all when frames depend on each other.

    Raises InvalidMediaError when it does not decode or when packets and frames are not equal in number.
    """
    import av

    packets = _Packets()
    try:
        with _opened(path) as container:
            video = container.streams.video[0]
            for packet in container.demux([video, *container.streams.audio[:1]]):
                if packet.size:
                    (packets.add_video if packet.stream is video else packets.add_audio)(packet)
        if not packets.shown:
            raise InvalidMediaError(f"{path.name} has no frames")
        first, last = _end_frames(path, packets)
    except (av.FFmpegError, IndexError) as error:
        raise InvalidMediaError(f"{path.name} cannot be read back: {error}") from error
    shown = sorted(packets.shown)
    return WrittenClip(
        times=tuple(start for start, _ in shown),
        end_seconds=shown[-1][1],
        first_frame_hash=frame_hash(first),
        last_frame_hash=frame_hash(last),
        payload_sha256=packets.digest.hexdigest(),
        audio_offset_seconds=None if packets.heard is None else float(packets.heard - shown[0][0]),
    )


def _opened(path: Path) -> Any:
    import av

    return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"})


def _end_frames(path: Path, packets: _Packets) -> tuple[av.VideoFrame, av.VideoFrame]:
    with _opened(path) as container:
        stream = container.streams.video[0]
        if packets.all_intra:
            stream.thread_count = 1
            return _frame_alone(stream, packets.first, path), _frame_alone(stream, packets.last, path)
        count, first, last = 0, None, None
        for frame in container.decode(stream):
            first, last, count = first or frame, frame, count + 1
        if first is None or last is None or count != len(packets.shown):
            raise InvalidMediaError(f"{path.name} decodes to {count} frames, but has {len(packets.shown)} packets")
        return first, last


def _frame_alone(stream: Any, packet: Any, path: Path) -> av.VideoFrame:
    context = stream.codec_context
    frames = [*context.decode(packet), *context.decode(None)]
    context.flush_buffers()
    if len(frames) != 1:
        raise InvalidMediaError(f"{path.name}: the frame at {float(packet.pts * packet.time_base):.3f} s does not decode")
    return frames[0]
