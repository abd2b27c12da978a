"""Frame indexes: made from a proxy's own sample tables, and read from the object store in slices."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import CutError, InvalidMediaError, ObjectNotFoundError
from heaters_dagster.domain.frame_index import (
    HEADER_BYTES,
    ROW_BYTES,
    FrameIndex,
    FrameIndexHeader,
    decoded,
    decoded_header,
    decoded_rows,
    row_range,
)
from heaters_dagster.domain.keys import frame_index_key
from heaters_dagster.domain.media_failures import library_failure
from resources.object_store.interface import ObjectStore

_LONG_HEADER_BYTES = 16 * HEADER_BYTES
_HEADERS_KEPT = 64
_HEADER_SECONDS = 60.0
_LARGEST_GAP_FRAMES = 1000
_MOST_READS = 4
_AVCC_VERSION = 1


def read_frame_index(path: Path, *, source_start_seconds: float = 0.0) -> FrameIndex:
    """The frame index of a proxy.

    It comes from the sample tables; reading every packet would take 3 s instead of 0.1 s for 100,000 frames, and read gigabytes.
    The first and the last packet are read to prove that tables and file agree. source_start_seconds: when the original's first frame is
    shown by the original's own times. Raises InvalidMediaError when the file is not a proxy: H.264 in MP4, every frame a keyframe.
    """
    import av

    try:
        # Everything needed stands in the header, so no frame is decoded to find it out.
        with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file", "probesize": "32"}) as container:
            if not container.streams.video:
                raise InvalidMediaError(f"{path.name} is not a proxy: it has no video stream")
            stream = container.streams.video[0]
            rows = _rows(stream, path)
            last = _proven(container, stream, rows, path)
            header = FrameIndexHeader(
                frame_count=len(rows),
                time_base=stream.time_base,
                end_pts=int(last.pts + (last.duration or _last_step(rows))),
                width=stream.codec_context.width,
                height=stream.codec_context.height,
                sample_aspect_ratio=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1),
                avcc=_avcc(stream, path),
                has_audio=bool(container.streams.audio),
                source_start_seconds=source_start_seconds,
            )
    except av.FFmpegError as error:
        raise library_failure(f"{path.name} cannot be read as a proxy", error) from error
    return FrameIndex(header, 0, rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy())


def _rows(stream: Any, path: Path) -> NDArray[np.int64]:
    """(n, 3) int64: pts, byte offset, byte size of every frame in order."""
    entries = stream.index_entries
    columns = ((entry.timestamp, entry.pos, entry.size, entry.is_keyframe) for entry in entries)
    table: NDArray[np.int64] = np.fromiter(columns, dtype=np.dtype((np.int64, 4)), count=len(entries))
    if len(table) == 0:
        raise InvalidMediaError(f"{path.name} is not a proxy: it has no sample table, or no frame")
    if not table[:, 3].all():
        raise InvalidMediaError(f"{path.name} is not a proxy: frame {int(np.argmin(table[:, 3]))} is not a keyframe")
    return table[:, :3]


def _proven(container: Any, stream: Any, rows: NDArray[np.int64], path: Path) -> Any:
    """The last packet. It is checked that the first and the last packet are where the sample table says."""
    if rows[:, 1:].min() < 0 or (rows[:, 1] + rows[:, 2]).max() > path.stat().st_size:
        raise InvalidMediaError(f"{path.name} is cut off: its sample table points beyond its end")
    first = next(container.demux(stream))
    container.seek(int(rows[-1, 0]), stream=stream, backward=True, any_frame=False)
    last = next(packet for packet in container.demux(stream) if packet.pts is None or packet.pts >= rows[-1, 0])
    for packet, row in ((first, rows[0]), (last, rows[-1])):
        if (packet.pts, packet.pos, packet.size) != tuple(row.tolist()) or not packet.is_keyframe:
            raise InvalidMediaError(f"{path.name} is not a proxy: its sample table and its packets do not agree")
    return last


def _last_step(rows: NDArray[np.int64]) -> int:
    return int(rows[-1, 0] - rows[-2, 0]) if len(rows) > 1 else 1


def _avcc(stream: Any, path: Path) -> bytes:
    """The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1), which begins with its version 1."""
    extradata = bytes(stream.codec_context.extradata or b"")
    if stream.codec_context.name != "h264" or extradata[:1] != bytes([_AVCC_VERSION]):
        raise InvalidMediaError(f"{path.name} is not a proxy: not H.264 with its decoder description in the header")
    return extradata


class FrameIndexes:
    """Stored frame indexes. Any thread may use it.

    A header is kept for a minute, so that a new proxy is noticed soon; rows are read each time, in one range.
    Raises ObjectNotFoundError for a source video without a frame index.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._headers: OrderedDict[int, tuple[float, FrameIndexHeader, int]] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, source_video_id: int) -> FrameIndex:
        """The whole index."""
        try:
            return decoded(self._objects.get_bytes(frame_index_key(source_video_id)))
        except ObjectNotFoundError:
            raise _missing(source_video_id) from None

    def header(self, source_video_id: int) -> FrameIndexHeader:
        """What holds for all frames."""
        return self._header(source_video_id)[0]

    def slice(self, source_video_id: int, start_frame: int, end_frame: int) -> FrameIndex:
        """The frames `[start_frame, end_frame)`. Raises CutError unless `0 <= start_frame < end_frame <= frame_count`."""
        header, header_bytes = self._header(source_video_id)
        if not 0 <= start_frame < end_frame <= header.frame_count:
            raise CutError(f"source video {source_video_id} has frames 0..{header.frame_count - 1}, not {start_frame}..{end_frame - 1}")
        return decoded_rows(header, start_frame, self._bytes(source_video_id, header_bytes, start_frame, end_frame))

    def times(self, source_video_id: int, frames: Sequence[int]) -> list[float]:
        """When each of `frames` is first shown, in seconds;  `frame_count` means the end of the last frame.

        Frames near each other are read together, and frames all over a long video in a single read.
        Raises CutError unless all are in `0..frame_count`.
        """
        header, header_bytes = self._header(source_video_id)
        for frame in frames:
            if not 0 <= frame <= header.frame_count:
                raise CutError(f"a frame of source video {source_video_id} is a number from 0 to {header.frame_count}, not {frame}")
        pts = {header.frame_count: header.end_pts}
        wanted = sorted(set(frames) - {header.frame_count})
        for run in _runs(wanted):
            data = self._bytes(source_video_id, header_bytes, run[0], run[-1] + 1)
            pts |= zip(run, _pts(data, run), strict=True)
        return [float(pts[frame] * header.time_base) for frame in frames]

    def _header(self, source_video_id: int) -> tuple[FrameIndexHeader, int]:
        """(header, header length in bytes)."""
        now = time.monotonic()
        with self._lock:
            held = self._headers.get(source_video_id)
            if held and now - held[0] < _HEADER_SECONDS:
                self._headers.move_to_end(source_video_id)
                return held[1], held[2]
        header, header_bytes = self._read_header(source_video_id)
        with self._lock:
            self._headers[source_video_id] = (now, header, header_bytes)
            self._headers.move_to_end(source_video_id)
            while len(self._headers) > _HEADERS_KEPT:
                self._headers.popitem(last=False)
        return header, header_bytes

    def _read_header(self, source_video_id: int) -> tuple[FrameIndexHeader, int]:
        key = frame_index_key(source_video_id)
        try:
            data = self._objects.get_range(key, 0, HEADER_BYTES)
            if b'"frames":[' not in data:
                data = self._objects.get_range(key, 0, _LONG_HEADER_BYTES)
        except ObjectNotFoundError:
            raise _missing(source_video_id) from None
        return decoded_header(data)

    def _bytes(self, source_video_id: int, header_bytes: int, start_frame: int, end_frame: int) -> bytes:
        try:
            return self._objects.get_range(frame_index_key(source_video_id), *row_range(header_bytes, start_frame, end_frame))
        except ObjectNotFoundError:
            raise _missing(source_video_id) from None


def _runs(frames: Sequence[int]) -> list[Sequence[int]]:
    """Rising frame numbers, divided into runs that are each read at once."""
    if not frames:
        return []
    breaks = [n for n in range(1, len(frames)) if frames[n] - frames[n - 1] > _LARGEST_GAP_FRAMES]
    if len(breaks) >= _MOST_READS:
        return [frames]
    edges = [0, *breaks, len(frames)]
    return [frames[low:high] for low, high in itertools.pairwise(edges)]


def _pts(data: bytes, frames: Sequence[int]) -> list[int]:
    """pts of `frames` out of the rows of `[frames[0], frames[-1]]`. Raises InvalidMediaError when these are not the right rows."""
    places = [(frame - frames[0]) * ROW_BYTES for frame in frames]
    try:
        rows = json.loads("[" + ",".join(data[at : at + ROW_BYTES - 2].decode() for at in places) + "]")
        if [row[0] for row in rows] != list(frames):
            raise ValueError("other ordinals")
        return [row[1] for row in rows]
    except (ValueError, IndexError, TypeError) as error:
        raise InvalidMediaError(f"frame index rows of frames {frames[0]}..{frames[-1]} cannot be read: {error}") from error


def _missing(source_video_id: int) -> ObjectNotFoundError:
    return ObjectNotFoundError(f"source video {source_video_id} has no frame index yet; it is made together with the proxy")
