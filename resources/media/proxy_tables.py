"""Where the packets of a remote proxy are, without its whole header: that of ten hours has 20 MB, and a clip needs a few kilobytes of it.

The header is read box by box. Of its long tables only the rows of a clip are read. The rows of the table of chunks do not say which packets
they count, so our writer notes it for every 1,024th row behind the table (`CHUNK_MARKS`); of proxies that were made before, that table is
read whole, which is 24 bytes for a second of sound.

Source: ISO/IEC 14496-12 (ISO base media file format), sections 8.6 and 8.7.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from resources.media.progressive_mp4 import CHUNK_MARKS
from resources.media.proxy_bytes import RangeFile

_FIRST_BYTES = 1 << 14
_BOX_BYTES = 1 << 11
_CONTAINERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl"})
_TABLES = frozenset({b"stts", b"stsc", b"stsz", b"stco", b"co64"})
#: Tables that name every packet: they cannot stay when the packets are left out.
_LEFT_OUT = frozenset({b"sbgp", b"sgpd", b"stss", b"ctts", b"sdtp"})
_LARGEST_LEAF_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Box:
    """start: of its body. inner: the boxes in it, when it is a container; else body, unless it is a long table."""

    kind: bytes
    start: int
    size: int
    body: bytes = b""
    inner: tuple[_Box, ...] = ()

    def find(self, *path: bytes) -> _Box | None:
        found: _Box | None = self
        for kind in path:
            found = next((box for box in found.inner if box.kind == kind), None) if found else None
        return found

    def all(self, kind: bytes) -> list[_Box]:
        return [box for box in self.inner if box.kind == kind]

    def emptied(self, tables: Mapping[bytes, bytes] = MappingProxyType({})) -> bytes:
        """The box as it is, but with these tables; those that are not given name no packet."""
        if self.kind in _TABLES:
            body = tables.get(self.kind, bytes(12) if self.kind == b"stsz" else bytes(8))
        elif self.inner:
            body = b"".join(box.emptied(tables) for box in self.inner if box.kind not in _LEFT_OUT)
        else:
            body = self.body
        return struct.pack(">I4s", len(body) + 8, self.kind) + body


@dataclass(frozen=True, slots=True)
class Packets:
    """(n,) int64 each: where the packets are, and when they are decoded, in units of the track. One more time than packets."""

    byte_offset: NDArray[np.int64]
    byte_size: NDArray[np.int64]
    times: NDArray[np.int64]


def remote_tables(source: RangeFile) -> ProxyTables | None:
    """None when the header is not as those of proxies are: then it has to be read whole. Raises InvalidMediaError when there is none."""
    tables = ProxyTables(source)
    simple = tables.video is not None and (tables.audio is None or tables.audio.shown_later is not None)
    return tables if simple else None


class ProxyTables:
    """The header of a remote proxy. Raises InvalidMediaError when it is none."""

    def __init__(self, source: RangeFile) -> None:
        self._source = source
        self._held = (0, self._exactly(0, min(_FIRST_BYTES, source.byte_size)))
        boxes = list(self._boxes(0, source.byte_size, only=b"moov"))
        if not boxes or boxes[-1].kind != b"moov":
            raise InvalidMediaError("the remote proxy has no header; make the proxy again")
        self._kept, self._moov = boxes[:-1], boxes[-1]
        tracks = {self._handler(trak): RemoteTrack(self, self._moov, trak) for trak in reversed(self._moov.all(b"trak"))}
        self.video, self.audio = tracks.get(b"vide"), tracks.get(b"soun")

    def header_file(self) -> io.BytesIO:
        """A file for media libraries with the streams of the proxy, and its first frame, which says what the header leaves out."""
        names = b"".join(box.emptied() for box in self._kept if box.kind == b"ftyp")
        if self.video is None or not self.video.count:
            raise InvalidMediaError("the remote proxy has no video stream; make the proxy again")
        data = self._exactly(self.video.begins_at, int(self.video.sizes(0, 1)[0]))

        def header(offset: int) -> bytes:
            one = {
                b"stts": struct.pack(">4I", 0, 1, 1, 1),
                b"stsc": struct.pack(">5I", 0, 1, 1, 1, 1),
                b"stsz": struct.pack(">4I", 0, 0, 1, len(data)),
                b"stco": struct.pack(">3I", 0, 1, offset),
                b"co64": struct.pack(">IIQ", 0, 1, offset),
            }
            boxes = (box.emptied(one if self.video and box is self.video.trak else {}) for box in self._moov.inner)
            moov = b"".join(boxes)
            return names + struct.pack(">I4s", len(moov) + 8, b"moov") + moov + struct.pack(">I4s", len(data) + 8, b"mdat")

        return io.BytesIO(header(len(header(0))) + data)

    def read(self, start: int, size: int) -> bytes:
        at, data = self._held
        if at <= start and start + size <= at + len(data):
            return data[start - at : start - at + size]
        return self._exactly(start, size)

    def _exactly(self, start: int, size: int) -> bytes:
        self._source.expect(start, start + size)
        try:
            data = self._source.read_at(start, size)
        finally:
            self._source.expect(0, 0)
        if len(data) < size:
            raise InvalidMediaError("the remote proxy is cut off; make the proxy again")
        return data

    def _boxes(self, start: int, end: int, *, only: bytes | None = None) -> Iterator[_Box]:
        """The boxes between two places; only: end with the first of this kind, and read nothing of the others but `ftyp`."""
        while start + 8 <= end:
            self._hold(start, end)
            size, kind = struct.unpack(">I4s", self.read(start, 8))
            head = 8
            if size == 1:
                (size,) = struct.unpack(">Q", self.read(start + 8, 8))
                head = 16
            size = size or end - start
            body, length = start + head, size - head
            if length < 0 or start + size > end:
                raise InvalidMediaError("the remote proxy has a damaged header; make the proxy again")
            if kind in _CONTAINERS:
                yield _Box(kind, body, length, inner=tuple(self._boxes(body, body + length)))
            elif kind in _TABLES or (only is not None and kind != b"ftyp") or length > _LARGEST_LEAF_BYTES:
                yield _Box(kind, body, length)
            else:
                yield _Box(kind, body, length, self.read(body, length))
            if kind == only:
                return
            start += size

    def _hold(self, start: int, end: int) -> None:
        """The boxes before and after a long table are small, so a few are read at once."""
        at, data = self._held
        if not at <= start <= at + len(data) - 16:
            self._held = start, self._exactly(start, min(_BOX_BYTES, end - start, self._source.byte_size - start))

    @staticmethod
    def _handler(trak: _Box) -> bytes:
        box = trak.find(b"mdia", b"hdlr")
        return box.body[8:12] if box else b""


@dataclass
class RemoteTrack:
    """Packets of one stream. timescale: units of time in a second."""

    tables: ProxyTables
    moov: _Box
    trak: _Box
    timescale: int = field(init=False)

    def __post_init__(self) -> None:
        self.timescale = _timescale(self._box(b"mdia", b"mdhd").body)

    @cached_property
    def count(self) -> int:
        return int(struct.unpack(">I", self.tables.read(self._table(b"stsz").start + 8, 4))[0])

    @property
    def begins_at(self) -> int:
        """Where its first packet is."""
        return int(self._chunk_offsets(0, 1)[0])

    @cached_property
    def shown_later(self) -> int | None:
        """By how many units each packet is shown later than its time in the tables; None when the edit list is not a simple one."""
        box = self.trak.find(b"edts", b"elst")
        if box is None:
            return 0
        row = ">QqI" if box.body[0] else ">IiI"
        (count,) = struct.unpack_from(">I", box.body, 4)
        edits = [struct.unpack_from(row, box.body, 8 + number * struct.calcsize(row)) for number in range(count)]
        empty = edits.pop(0)[0] if edits and edits[0][1] == -1 else 0
        if len(edits) != 1 or edits[0][1] < 0:
            return None
        scale = _timescale(next(one for one in self.moov.inner if one.kind == b"mvhd").body)
        return (empty * self.timescale + scale // 2) // scale - int(edits[0][1])

    def sizes(self, first: int, past: int) -> NDArray[np.int64]:
        table = self._table(b"stsz")
        (same,) = struct.unpack(">I", self.tables.read(table.start + 4, 4))
        return np.full(past - first, same, np.int64) if same else self._column(table.start + 12, ">u4", first, past)

    def numbers(self, low: int, high: int) -> tuple[int, int]:
        """(first, past the last) of the packets at times in `[low, high)` of the tables, with the one before them and the one after."""
        first = min(self.count, max(0, self._number(low)))
        return first, max(first, min(self.count, self._number(high) + 2))

    def packets(self, first: int, past: int) -> Packets:
        starts, per_chunk, first_chunks = self._chunks(first, past)
        numbers = np.arange(first, past)
        runs = np.searchsorted(starts, numbers, side="right") - 1
        within = (numbers - starts[runs]) // per_chunk[runs]
        chunks = first_chunks[runs] + within
        chunk_begins = starts[runs] + within * per_chunk[runs]
        low = int(chunk_begins[0]) if len(numbers) else first
        sizes = self.sizes(low, past)
        ends = np.append(0, np.cumsum(sizes))
        offsets = self._chunk_offsets(int(chunks[0]), int(chunks[-1]) + 1) if len(numbers) else np.zeros(0, np.int64)
        places = offsets[chunks - chunks[0]] if len(numbers) else offsets
        return Packets(
            places + ends[numbers - low] - ends[chunk_begins - low], sizes[first - low :], self._times(np.arange(first, past + 1))
        )

    @cached_property
    def _steps(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each run of packets with one duration: its first packet, when that is, the duration."""
        rows = self._rows(b"stts", 2)
        counts, steps = rows[:, 0], rows[:, 1]
        return np.append(0, np.cumsum(counts))[:-1], np.append(0, np.cumsum(counts * steps))[:-1], steps

    def _times(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        firsts, times, steps = self._steps
        runs = np.searchsorted(firsts, numbers, side="right") - 1
        found: NDArray[np.int64] = times[runs] + (numbers - firsts[runs]) * steps[runs]
        return found

    def _number(self, time: int) -> int:
        """Of the packet that is decoded then or last before."""
        firsts, times, steps = self._steps
        run = max(0, int(np.searchsorted(times, time, side="right")) - 1)
        return int(firsts[run] + (time - times[run]) // max(1, int(steps[run])))

    def _chunks(self, first: int, past: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each run of chunks with one length that has some of these packets: its first packet, the packets of a chunk, its first chunk.

        There may be others before and after.
        """
        step, before = self._marks
        begin = max(0, int(np.searchsorted(before, first, side="right")) - 1)
        end = int(np.searchsorted(before, past, side="left"))
        rows = self._rows(b"stsc", 3, begin * step, end * step + 1 if end < len(before) else None) if self._has_marks else self._all_chunks
        first_chunks, lengths = rows[:, 0] - 1, rows[:, 1]
        starts = before[begin] + np.append(0, np.cumsum(np.diff(first_chunks) * lengths[:-1]))
        return starts, lengths, first_chunks

    @cached_property
    def _all_chunks(self) -> NDArray[np.int64]:
        return self._rows(b"stsc", 3)

    @property
    def _has_marks(self) -> bool:
        return len(self._marks[1]) > 1

    @cached_property
    def _marks(self) -> tuple[int, NDArray[np.int64]]:
        """How many packets come before each so many rows of the table of chunks."""
        inner = self.trak.find(b"mdia", b"minf", b"stbl")
        found = [box.body.removeprefix(CHUNK_MARKS) for box in inner.all(b"free") if box.body.startswith(CHUNK_MARKS)] if inner else []
        if not found:
            return 1, np.zeros(1, np.int64)
        return int(struct.unpack_from(">I", found[0])[0]), np.frombuffer(found[0], ">u8", offset=4).astype(np.int64)

    def _chunk_offsets(self, first: int, past: int) -> NDArray[np.int64]:
        long, short = (self.trak.find(b"mdia", b"minf", b"stbl", kind) for kind in (b"co64", b"stco"))
        table = long or short
        if table is None:
            raise _damaged()
        return self._column(table.start + 8, ">u8" if long else ">u4", first, past)

    def _rows(self, kind: bytes, columns: int, first: int = 0, past: int | None = None) -> NDArray[np.int64]:
        table = self._table(kind)
        (count,) = struct.unpack(">I", self.tables.read(table.start + 4, 4))
        past = count if past is None else min(past, count)
        return self._column(table.start + 8, ">u4", first * columns, past * columns).reshape(-1, columns)

    def _column(self, start: int, kind: str, first: int, past: int) -> NDArray[np.int64]:
        width = np.dtype(kind).itemsize
        if past <= first:
            return np.zeros(0, np.int64)
        return np.frombuffer(self.tables.read(start + first * width, (past - first) * width), kind).astype(np.int64)

    def _table(self, kind: bytes) -> _Box:
        return self._box(b"mdia", b"minf", b"stbl", kind)

    def _box(self, *path: bytes) -> _Box:
        box = self.trak.find(*path)
        if box is None:
            raise _damaged()
        return box


def _timescale(body: bytes) -> int:
    """Of a movie header or a media header."""
    return int(struct.unpack_from(">I", body, 20 if body[0] else 12)[0])


def _damaged() -> InvalidMediaError:
    return InvalidMediaError("the remote proxy has a damaged header; make the proxy again")
