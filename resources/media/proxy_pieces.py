"""Makes one piece of a proxy, and reads the pieces one after the other, as if one run of ffmpeg had written them.

Of a piece three kinds of files are kept until all pieces are joined: its packets in fragments, what is known of its frames, and for each
side stream the small frames, compressed without loss. Detectors read the small frames of all pieces in order, so that their scores are
those of one piece, whatever a detector remembers of the frames before.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.profiles import SideStream, SourceStreams, displayed_size, proxy_piece
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.proxy_pieces import MadePiece, Piece, planned, why_not
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe, opened
from resources.object_store.work_folder import disk_full_named

_BLOCK_BYTES = 1 << 20
#: Small frames of most films lose half of their bytes with this level, and a higher one takes longer than the encoder.
_COMPRESSION = 1

#: Gives the bytes of a stored file in order.
Blocks = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class WrittenPiece:
    """The files of a piece. sides: the small frames, in the order of the side streams. problem: why it cannot be used, in words."""

    picture: Path
    sides: tuple[Path, ...]
    made: MadePiece
    problem: str | None


def pieces_of(path: Path, found: MediaProbe, *, piece_seconds: float) -> tuple[tuple[Piece, ...], str | None]:
    """(the pieces in which the proxy of this original can be made, None), or (none, why it is made in one).

    The file is read through, without decoding. found: the result of `probe`.
    """
    import av

    seconds: list[float | None] = []
    keyframes: list[float] = []
    hidden = 0
    with opened(path, name=path.name, look_bytes=found.look_bytes) as container:
        stream = container.streams[found.video.index]
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                hidden += packet.is_discard
                time = None if packet.pts is None else float(packet.pts * packet.time_base)
                seconds.append(time)
                if packet.is_keyframe and time is not None:
                    keyframes.append(time)
        except av.FFmpegError:
            return (), "it is cut off or damaged"
    odd = found.in_decoding_order or found.without_times or found.early_seconds != 0.0
    reason = why_not(found.container, seconds, hidden=hidden, has_jumps=bool(found.jumps), has_odd_clock=odd)
    if reason is not None:
        return (), reason
    pieces = planned(np.sort(np.array(seconds, np.float64)), np.sort(np.array(keyframes)), piece_seconds=piece_seconds)
    return (pieces, None) if len(pieces) > 1 else ((), "it has too few keyframes to begin at")


def write_piece(
    original: Path,
    found: MediaProbe,
    source: SourceStreams,
    piece: Piece,
    folder: Path,
    *,
    side_streams: Sequence[SideStream],
    report: Report = silent,
    called: str | None = None,
) -> WrittenPiece:
    """Make a piece in `folder`. Raises the errors of `ffmpeg.run`."""
    picture, times = folder / "piece.mp4", ffmpeg.FrameTimes()
    sides = tuple(folder / f"piece.side{number}" for number in range(len(side_streams)))
    proofs: dict[str, list[str]] = {name: [] for name in _proofs(piece)}
    begin = piece.begin_seconds if piece.begin_seconds is not None else found.video.start_seconds
    end = piece.end_seconds if piece.end_seconds is not None else found.end_seconds
    finished = ffmpeg.run(
        proxy_piece(source, side_streams, piece),
        original,
        [picture, *map(_compressing, sides), *(_hashes_into(told) for told in proofs.values())],
        total_seconds=None if end is None else max(0.0, end - begin),
        report=report,
        called=called,
        frame_times=times.read,
        frame_rate=float(found.video.average_frame_rate),
    )
    made = MadePiece(times.seconds, tuple(proofs.get("head", ())), tuple(proofs.get("tail", ())))
    problem = None
    if finished.damage_count:
        problem = f"it is damaged, or a decoder cannot begin at its keyframes ({finished.first_damage})"
    elif finished.pictures:
        problem = "its pictures change their size or kind within the file"
    elif (size := _size_of(picture)) != displayed_size(found.video.width, found.video.height, found.video.rotation_degrees):
        problem = f"its pictures change their size within the file, to {size[0]}x{size[1]}"
    return WrittenPiece(picture, sides, made, problem)


def _proofs(piece: Piece) -> list[str]:
    """What `proxy_piece` has outputs for, in their order."""
    return [name for name, until in (("tail", piece.proves_until_seconds), ("head", piece.proved_until_seconds)) if until is not None]


def _size_of(picture: Path) -> tuple[int, int]:
    import av

    try:
        with av.open(str(picture)) as container:
            codec = container.streams.video[0].codec_context
            return codec.width, codec.height
    except (av.FFmpegError, IndexError) as error:
        raise library_failure(f"{picture.name} cannot be read", error, "make the piece again") from error


def _compressing(path: Path) -> ffmpeg.PipeReader:
    def read(file: IO[bytes]) -> None:
        packing = zlib.compressobj(_COMPRESSION)
        with disk_full_named(path), path.open("wb") as target:
            while block := file.read(_BLOCK_BYTES):
                target.write(packing.compress(block))
            target.write(packing.flush())

    return read


def _hashes_into(told: list[str]) -> ffmpeg.PipeReader:
    def read(file: IO[bytes]) -> None:
        lines = io.TextIOWrapper(io.BufferedReader(cast(io.RawIOBase, file)), encoding="ascii", errors="replace")
        told.extend(line.rpartition(",")[2].strip() for line in lines if not line.startswith("#"))

    return read


def one_after_another(pieces: Iterable[Blocks]) -> ffmpeg.PipeWriter:
    """Writes the fragments of all pieces into a pipe, behind the header of the first one."""

    def write(file: IO[bytes]) -> None:
        try:
            with file:
                for number, blocks in enumerate(pieces):
                    for block in blocks if number == 0 else _without_header(blocks):
                        view = memoryview(block)
                        while view:
                            view = view[file.write(view) or 0 :]
        except BrokenPipeError:
            pass  # the code that ran ffmpeg reports why

    return write


def _without_header(blocks: Blocks) -> Blocks:
    """From the first fragment on. Source: ISO/IEC 14496-12, section 4.2."""
    head = b""
    for block in blocks:
        head += block
        at = 0
        while at + 8 <= len(head):
            size, kind = struct.unpack_from(">I4s", head, at)
            if kind == b"moof":
                yield head[at:]
                yield from blocks
                return
            if size < 8:
                raise InvalidMediaError("a piece of the proxy is damaged: its boxes do not follow one another")
            at += size
    raise InvalidMediaError("a piece of the proxy has no frames")


class SmallFrames(io.RawIOBase):
    """The small frames of all pieces as one stream of bytes. pieces: the compressed file of each, read when its turn comes."""

    def __init__(self, pieces: Iterable[Blocks]) -> None:
        super().__init__()
        self._bytes = _inflated(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._bytes, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _inflated(pieces: Iterable[Blocks]) -> Iterator[bytes]:
    for blocks in pieces:
        unpacking = zlib.decompressobj()
        try:
            for block in blocks:
                while block:
                    yield unpacking.decompress(block, _BLOCK_BYTES)
                    block = unpacking.unconsumed_tail
            yield unpacking.flush()
        except zlib.error as error:
            raise InvalidMediaError(f"the small frames of a piece cannot be read: {error}") from error


def told_seconds(made: Sequence[MadePiece]) -> NDArray[np.float64]:
    """(n,) the times of all frames, as one run of ffmpeg would have told them."""
    return np.concatenate([one.seconds for one in made])
