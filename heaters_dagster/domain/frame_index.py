"""The frame index: for every proxy frame its ordinal, pts, byte offset and byte size. Detector, player, exporter and keyframes all use it.

Stored as JSON in which the header has a fixed length and every frame a row of fixed length. So one range read gives the part of one clip,
however large the file is, and other programs can still read the whole file as plain JSON.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import CutError, InvalidMediaError

FORMAT_VERSION = 1
HEADER_BYTES = 4096
_COLUMNS = ("ordinal", "pts", "byte_offset", "byte_size")
_ROW = "[{:>9d},{:>19d},{:>15d},{:>11d}]"
ROW_BYTES = len(_ROW.format(0, 0, 0, 0)) + 2  # with ",\n"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class FrameIndexHeader:
    """What is the same for all frames of a proxy.

    time_base: seconds per pts unit. end_pts: when the last frame's showing ends, in pts units.
    source_start_seconds: presentation time of the original's first frame before it was rebased. avcc: AVCDecoderConfigurationRecord
    (ISO/IEC 14496-15, 5.3.3.1), the `description` of a WebCodecs decoder. sample_aspect_ratio: pixel width over pixel height.
    """

    frame_count: int
    time_base: Fraction
    end_pts: int
    width: int
    height: int
    sample_aspect_ratio: Fraction
    avcc: bytes
    has_audio: bool
    source_start_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """A run of frames `[first_frame, first_frame + len)` of a proxy, often all of them.

    pts, byte_offset, byte_size: int64 arrays of equal length n >= 1, pts strictly increasing. Every frame is a keyframe.
    """

    header: FrameIndexHeader
    first_frame: int
    pts: NDArray[np.int64]
    byte_offset: NDArray[np.int64]
    byte_size: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.pts) == len(self.byte_offset) == len(self.byte_size):
            raise InvalidMediaError("frame index: columns of different length")
        if len(self.pts) == 0:
            raise InvalidMediaError("frame index: no frames")
        if np.any(np.diff(self.pts) <= 0):
            at = int(np.argmax(np.diff(self.pts) <= 0)) + self.first_frame + 1
            raise InvalidMediaError(f"frame index: frame {at} is not later than the one before it")

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def end_frame(self) -> int:
        return self.first_frame + len(self)

    def time_seconds(self, frame: int) -> float:
        """When `frame` is first shown; `frame_count` stands for the end of the last frame. Raises CutError outside the held range."""
        return float(self.pts_of(frame) * self.header.time_base)

    def pts_of(self, frame: int) -> int:
        """pts of `frame`, in time_base units; `frame_count` gives end_pts."""
        if frame == self.header.frame_count:
            return self.header.end_pts
        if not self.first_frame <= frame < self.end_frame:
            raise CutError(f"frame {frame} is outside {self.first_frame}..{self.end_frame - 1}")
        return int(self.pts[frame - self.first_frame])

    def slice(self, start_frame: int, end_frame: int) -> FrameIndex:
        """The frames `[start_frame, end_frame)`. Raises CutError if any of them is not held."""
        if not self.first_frame <= start_frame < end_frame <= self.end_frame:
            raise CutError(f"frames {start_frame}..{end_frame - 1} are not all within {self.first_frame}..{self.end_frame - 1}")
        low, high = start_frame - self.first_frame, end_frame - self.first_frame
        return FrameIndex(self.header, start_frame, self.pts[low:high], self.byte_offset[low:high], self.byte_size[low:high])


def encoded(index: FrameIndex) -> bytes:
    """The whole index as JSON with a header of HEADER_BYTES (a multiple of it for a long avcC) and rows of ROW_BYTES."""
    if index.first_frame != 0 or len(index) != index.header.frame_count:
        raise InvalidMediaError("only a whole frame index is stored")
    stored = bytearray(encoded_header(index.header))
    for start in range(0, len(index), _ROWS_AT_ONCE):
        columns = (column[start : start + _ROWS_AT_ONCE].tolist() for column in (index.pts, index.byte_offset, index.byte_size))
        for number, row in enumerate(zip(*columns, strict=True), start):
            stored += _ROW.format(number, *row).encode() + b",\n"
    stored[-2:] = b" \n]}\n"
    return bytes(stored)


def encoded_header(header: FrameIndexHeader) -> bytes:
    fields: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "header_bytes": 0,
        "row_bytes": ROW_BYTES,
        "frame_count": header.frame_count,
        "time_base": [header.time_base.numerator, header.time_base.denominator],
        "end_pts": header.end_pts,
        "width": header.width,
        "height": header.height,
        "sample_aspect_ratio": [header.sample_aspect_ratio.numerator, header.sample_aspect_ratio.denominator],
        "avcc": base64.b64encode(header.avcc).decode(),
        "has_audio": header.has_audio,
        "source_start_seconds": header.source_start_seconds,
        "columns": list(_COLUMNS),
    }
    tail = ',"frames":[\n'
    length = HEADER_BYTES
    while True:
        fields["header_bytes"] = length
        text = json.dumps(fields)[:-1]
        if len(text) + len(tail) <= length:
            return (text + " " * (length - len(text) - len(tail)) + tail).encode()
        length += HEADER_BYTES


def decoded_header(data: bytes) -> tuple[FrameIndexHeader, int]:
    """(header, header length in bytes) from at least the first HEADER_BYTES; a longer header needs that many bytes."""
    text = data.decode()
    end = text.find(',"frames":[')
    try:
        if end < 0:
            raise ValueError("header is cut off")
        fields = json.loads(text[:end] + "}")
        if fields["version"] != FORMAT_VERSION or fields["row_bytes"] != ROW_BYTES:
            raise ValueError(f"version {fields['version']}")
        return FrameIndexHeader(
            frame_count=fields["frame_count"],
            time_base=Fraction(*fields["time_base"]),
            end_pts=fields["end_pts"],
            width=fields["width"],
            height=fields["height"],
            sample_aspect_ratio=Fraction(*fields["sample_aspect_ratio"]),
            avcc=base64.b64decode(fields["avcc"]),
            has_audio=fields["has_audio"],
            source_start_seconds=fields["source_start_seconds"],
        ), fields["header_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidMediaError(f"this is not a frame index: {error}") from error


def row_range(header_bytes: int, start_frame: int, end_frame: int) -> tuple[int, int]:
    """Byte range [start, end) of the rows of frames `[start_frame, end_frame)` in the stored file."""
    return header_bytes + start_frame * ROW_BYTES, header_bytes + end_frame * ROW_BYTES


def decoded_rows(header: FrameIndexHeader, start_frame: int, data: bytes) -> FrameIndex:
    """The frames whose rows are `data`, the first of them `start_frame`. Raises InvalidMediaError if the rows are not those."""
    text = data.decode().strip().rstrip("]},\n ")
    try:
        rows = np.array(json.loads("[" + text + "]]"), dtype=np.int64).reshape(-1, len(_COLUMNS))
    except ValueError as error:
        raise InvalidMediaError(f"frame index rows cannot be read: {error}") from error
    if len(rows) == 0 or rows[0, 0] != start_frame or rows[-1, 0] != start_frame + len(rows) - 1:
        raise InvalidMediaError(f"frame index rows do not begin with frame {start_frame}")
    return FrameIndex(header, start_frame, rows[:, 1].copy(), rows[:, 2].copy(), rows[:, 3].copy())


def decoded(data: bytes) -> FrameIndex:
    """The whole index from the whole file."""
    header, length = decoded_header(data)
    return decoded_rows(header, 0, data[length:])
