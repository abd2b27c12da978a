"""Single frames by number: of a proxy by its frame index, of any other video file by counting.

Every proxy frame is a keyframe, so the bytes `[offset, offset + size)` with the avcC decoder description decode alone: reading frame
100,000 costs the same as reading frame 0, and nothing else of the file is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import CutError, InvalidMediaError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.proxy_bytes import ProxyBytes, RangeFile, media_input

if TYPE_CHECKING:
    import av

_UNSPECIFIED_COLOUR_SPACE = 2
_BT709 = 1
#: ITU-T H.273 does not say what untagged video is; as browsers and players do, use BT.709 from this height on, and BT.601 below.
HD_HEIGHT = 720


class FrameDecoder:
    """Decodes all-intra H.264 access units one by one. Use it in one thread only."""

    def __init__(self, avcc: bytes) -> None:
        import av

        self._context: Any = av.CodecContext.create("h264", "r")
        self._context.extradata = avcc
        self._context.thread_count = 1  # each thread would hold back a frame, and a single frame gives several threads no work

    def frame(self, data: bytes, *, name: str) -> av.VideoFrame:
        """The one frame of an access unit in avcC form. Raises InvalidMediaError with `name` when it cannot be decoded."""
        import av

        packet = av.Packet(len(data))  # with the zero padding that decoders may read; a Packet made from bytes has none
        packet.update(data)
        try:
            frames = self._context.decode(packet)
            if not frames:
                frames = self._context.decode(None)
                self._context.flush_buffers()
        except av.FFmpegError as error:
            self._context.flush_buffers()
            raise library_failure(f"{name} cannot be decoded", error, "make it again") from error
        if len(frames) != 1:
            raise InvalidMediaError(f"{name} decodes to {counted(len(frames), 'frame')} instead of 1; make it again")
        return frames[0]


class FrameReader:
    """Exact frames of one proxy. source: from `open_proxy`. index: of the frames that may be read, a slice or all.

    Close it, or use it as a context manager.
    """

    def __init__(self, source: Path | RangeFile, index: FrameIndex) -> None:
        self._bytes = ProxyBytes(source)
        self._index = index
        self._decoder = FrameDecoder(index.header.avcc)

    def frame(self, number: int, *, alone: bool = False) -> av.VideoFrame:
        """Frame `number` as decoded, in the proxy's own pixel format. Raises CutError outside the index, InvalidMediaError if damaged.

        alone: those next to it are not wanted, so of a remote proxy nothing else is read.
        """
        row = self._row(number)
        start, size = int(self._index.byte_offset[row]), int(self._index.byte_size[row])
        if alone:
            self._bytes.expect(start, start + size)
        data = self._bytes.read_at(start, size)
        if alone:
            self._bytes.expect(0, 0)
        return self._decoder.frame(data, name=f"{self._bytes.name}: frame {number}")

    def read_frame(self, number: int, *, square_pixels: bool = False, max_height: int | None = None) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB. square_pixels: corrected by the sample aspect ratio; max_height: scaled down to fit, but never up."""
        return rgb(self.frame(number), self._sample_aspect_ratio(square_pixels), max_height=max_height)

    def read_frames(
        self, numbers: Sequence[int], *, square_pixels: bool = False, max_height: int | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """The pictures of `numbers` (ascending, for a remote proxy's read-ahead) one after another, like those of `read_frame`."""
        if len(numbers) == 0:
            return
        low, high = self._row(min(numbers)), self._row(max(numbers))
        if high - low < 2 * len(numbers):
            self._bytes.expect(int(self._index.byte_offset[low]), int(self._index.byte_offset[high] + self._index.byte_size[high]))
        for number in numbers:
            yield self.read_frame(number, square_pixels=square_pixels, max_height=max_height)

    def close(self) -> None:
        self._bytes.close()

    def _row(self, number: int) -> int:
        if not self._index.first_frame <= number < self._index.end_frame:
            raise CutError(f"frame {number} is outside {self._index.first_frame}..{self._index.end_frame - 1}")
        return number - self._index.first_frame

    def _sample_aspect_ratio(self, square_pixels: bool) -> Fraction:
        return self._index.header.sample_aspect_ratio if square_pixels else Fraction(1)

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def rgb(frame: av.VideoFrame, sample_aspect_ratio: Fraction = Fraction(1), *, max_height: int | None = None) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB of a decoded frame, by its own colour space and range; with square pixels when its ratio is given."""
    width, height = square_size(frame.width, frame.height, sample_aspect_ratio)
    if max_height is not None and height > max_height:
        width, height = max(1, round(width * max_height / height)), max_height
    if frame.colorspace == _UNSPECIFIED_COLOUR_SPACE and frame.height >= HD_HEIGHT:
        frame.colorspace = _BT709
    picture: NDArray[np.uint8] = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
    return picture


def square_size(width: int, height: int, sample_aspect_ratio: Fraction) -> tuple[int, int]:
    """(width, height) with square pixels: the side that is too short grows, so that no detail is lost.

    A ratio of 0 means unknown and counts as 1.
    """
    if sample_aspect_ratio > 1:
        return round(width * sample_aspect_ratio), height
    if 0 < sample_aspect_ratio < 1:
        return width, round(height / sample_aspect_ratio)
    return width, height


def file_frames(source: Path | RangeFile, numbers: Sequence[int], *, called: str) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, decoded frame) of a video file without a frame index, counted in order of showing; `numbers` rising.

    source: a path, or from `open_proxy`. called: its name in messages. Of an all-intra MP4 only the wanted frames are read and decoded.
    Raises InvalidMediaError when the file cannot be read or ends before the last of them.
    """
    import av

    if not len(numbers):
        return
    wanted = list(numbers)
    try:
        with av.open(media_input(source)) as container:
            frames = _alone(source, container, wanted, called) or enumerate(container.decode(video=0))
            for number, frame in frames:
                if number == wanted[0]:
                    yield wanted.pop(0), frame
                if not wanted:
                    return
    except (av.FFmpegError, IndexError) as error:
        raise library_failure(f"{called} cannot be read", error) from error
    raise InvalidMediaError(f"{called} has no frame {wanted[0]}: it ends before")


def sample_aspect_ratio(source: Path | RangeFile, *, called: str) -> Fraction:
    """Pixel width over pixel height of the first video stream; 1 when the file does not say. Raises InvalidMediaError."""
    import av

    try:
        with av.open(media_input(source)) as container:
            return container.streams.video[0].sample_aspect_ratio or Fraction(1)
    except (av.FFmpegError, IndexError) as error:
        raise library_failure(f"{called} cannot be read", error) from error


def _alone(source: Path | RangeFile, container: Any, wanted: Sequence[int], called: str) -> Iterator[tuple[int, av.VideoFrame]] | None:
    """The wanted frames by their bytes; None when the file is not an MP4 of H.264, or has frames that depend on others."""
    stream = container.streams.video[0]
    if "mp4" not in container.format.name.split(",") or stream.codec_context.name != "h264":
        return None
    entries, avcc = list(stream.index_entries), stream.codec_context.extradata
    if not avcc or not all(entry.is_keyframe for entry in entries):
        return None
    return _by_bytes(source, avcc, [(number, entries[number]) for number in wanted if number < len(entries)], called)


def _by_bytes(
    source: Path | RangeFile, avcc: bytes, entries: Sequence[tuple[int, Any]], called: str
) -> Iterator[tuple[int, av.VideoFrame]]:
    decoder = FrameDecoder(avcc)
    with ProxyBytes(source) as data:
        for number, entry in entries:
            yield number, decoder.frame(data.read_at(entry.pos, entry.size), name=f"{called}: frame {number}")
