"""Writes a plain MP4 with its header first, while ffmpeg encodes, in memory that does not grow with the pictures.

ffmpeg's own MP4 writer keeps some 140 bytes for every packet, which for two hours of picture and sound doubled the memory of the whole
proxy pass (107 to 203 MB), and then copies the file once more to move the header to its front. So ffmpeg writes fragments (`moof`,
`mdat`) into a pipe, the payloads go straight to their place in the file, behind room for the header, and 4 bytes a packet are kept for it.

Source: ISO/IEC 14496-12 (ISO base media file format), sections 8.3 to 8.8.
"""

from __future__ import annotations

import io
import math
import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import rising_ticks
from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.words import counted
from resources.object_store.work_folder import disk_full_named

_COPY_BYTES = 1 << 20
_MDAT_HEADER_BYTES = 16
_FREE_HEADER_BYTES = 8
_FTYP = struct.pack(">I4s4sI4s4s4s4s", 32, b"ftyp", b"isom", 0x200, b"isom", b"iso2", b"avc1", b"mp41")
_ROUNDING_TICKS = 1e-3
_LARGEST_TIMESCALE = 2**31 - 1
_HEADER_RESERVE_BYTES = 1 << 13
_LARGEST_RESERVE_BYTES = 16 << 20
#: The first bytes of a free box behind a long table of chunks, which players skip: how many packets come before every so many of its rows.
CHUNK_MARKS, CHUNK_MARK_ROWS = b"heaters packets before rows", 1024

# tfhd, trun: which optional fields are there.
_TFHD_BASE_OFFSET, _TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_TRUN_OFFSET, _TRUN_FIRST_FLAGS, _TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800


def header_bytes(*, seconds: float, frames_per_second: float, has_audio: bool) -> int:
    """Bytes to reserve for the header of a video of about that length.

    If the estimate is far off, the file must be copied once, which costs only time. A claimed duration may be wrong by any factor: a
    duration of years must not reserve gigabytes.
    """
    picture = seconds * frames_per_second * 12
    sound = seconds * 50 * 4 if has_audio else 0
    chunks = seconds * 4 * 20
    return int(min(_HEADER_RESERVE_BYTES + 1.5 * (picture + sound + chunks), _LARGEST_RESERVE_BYTES))


@dataclass(slots=True)
class _Track:
    """One stream: the boxes of its header as ffmpeg wrote them, and what is known about its packets so far.

    sizes: bytes of each packet. step_counts, steps: numbers of packets in a row with one duration, and these durations in time units.
    chunk_offsets, chunk_lengths: for each run its place in the payload and its number of packets.
    """

    number: int
    timescale: int
    language: bytes
    header_tail: bytes
    boxes: dict[bytes, bytes]
    default_duration: int = 0
    default_size: int = 0
    start: int | None = None
    end: int = 0
    sizes: array[int] = field(default_factory=lambda: array("I"))
    step_counts: array[int] = field(default_factory=lambda: array("I"))
    steps: array[int] = field(default_factory=lambda: array("I"))
    chunk_offsets: array[int] = field(default_factory=lambda: array("Q"))
    chunk_lengths: array[int] = field(default_factory=lambda: array("I"))

    @property
    def length(self) -> int:
        """Duration of all packets together, in time units."""
        return self.end - (self.start or 0)

    def begin_fragment(self, time: int) -> None:
        """Note the time at which a fragment begins: the packet before it ends then."""
        if self.start is None:
            self.start = self.end = time
        elif time != self.end:
            last = self.steps[-1]
            self._drop_last_step()
            self._add_steps(1, max(0, last + time - self.end))
            self.end = time

    def add_packets(self, sizes: NDArray[np.uint32], durations: NDArray[np.uint32]) -> None:
        self.sizes.frombytes(sizes.tobytes())
        firsts, counts = _repeats(durations)
        for count, step in zip(counts.tolist(), durations[firsts].tolist(), strict=True):
            self._add_steps(count, step)
        self.end += int(durations.sum(dtype=np.int64))

    def _add_steps(self, count: int, step: int) -> None:
        if self.steps and self.steps[-1] == step:
            self.step_counts[-1] += count
        else:
            self.step_counts.append(count)
            self.steps.append(step)

    def show_at(self, ticks: NDArray[np.int64]) -> None:
        """Give every packet a new time; times rise. The duration of the last packet stays."""
        last = self.steps[-1] if self.steps else 1
        durations = np.append(np.diff(ticks), last)
        self.start, self.end = int(ticks[0]), int(ticks[-1]) + last
        firsts, counts = _repeats(durations)
        self.step_counts, self.steps = array("I", counts.tolist()), array("I", durations[firsts].tolist())

    def move(self, ticks: int) -> None:
        """Move everything earlier by so much."""
        if self.start is not None:
            self.start -= ticks
            self.end -= ticks

    def _drop_last_step(self) -> None:
        self.step_counts[-1] -= 1
        if self.step_counts[-1] == 0:
            self.step_counts.pop()
            self.steps.pop()


class ProgressiveMp4Writer:
    """Give `read` to ffmpeg as the target of an output in fragments; when ffmpeg has ended well, call `finish`.

    reserve_bytes: room for the header, from `header_bytes`. A longer header costs one copy of the file, and so does reserved room that
    is larger than the pictures.
    """

    def __init__(self, path: Path, *, reserve_bytes: int) -> None:
        self._path = path
        self._payload_start = len(_FTYP) + reserve_bytes + _MDAT_HEADER_BYTES
        self._payload_bytes = 0
        self._tracks: dict[int, _Track] = {}

    def read(self, file: IO[bytes]) -> None:
        """Read everything from the pipe. A stream that breaks off is no error here: the code that ran ffmpeg reports why."""
        source = _Source(file)
        with disk_full_named(self._path), self._path.open("wb", buffering=0) as target:
            target.seek(self._payload_start)
            runs: list[tuple[_Track, int, int]] = []
            for kind, start, size in source.boxes():
                if kind in (b"moov", b"moof"):
                    data = source.take(size)
                    if len(data) < size:
                        return
                    if kind == b"moov":
                        self._tracks = {track.number: track for track in _tracks(data)}
                    else:
                        runs = self._fragment(data, start)
                elif kind == b"mdat":
                    payload = source.position
                    if not source.copy(size, target):
                        return
                    for track, offset, packets in runs:
                        track.chunk_offsets.append(self._payload_bytes + offset - payload)
                        track.chunk_lengths.append(packets)
                    runs = []
                    self._payload_bytes += size
                else:
                    source.skip(size)

    def finish(self, shown_seconds: NDArray[np.float64] | None = None, *, zero_seconds: float = 0.0) -> None:
        """Write the header. shown_seconds: (n,) when each frame is shown, instead of ffmpeg's times; a frame at the time of the one
        before it is shown right after that one. zero_seconds: the time that becomes 0 in the file.

        Raises InvalidMediaError when there was no frame, or the numbers of frames and times differ.
        """
        tracks = [track for track in self._tracks.values() if track.sizes]
        picture = next((track for track in tracks if b"vmhd" in track.boxes), None)
        if picture is None:
            raise InvalidMediaError(f"{self._path.name}: ffmpeg wrote no picture")
        if shown_seconds is not None and len(shown_seconds) != len(picture.sizes):
            raise InvalidMediaError(
                f"{self._path.name}: ffmpeg wrote {counted(len(picture.sizes), 'frame')}, but the times of {len(shown_seconds)}"
            )
        zero = math.floor(zero_seconds * picture.timescale + _ROUNDING_TICKS)
        for track in tracks:
            if track is picture and shown_seconds is not None:
                track.show_at(rising_ticks(np.round(shown_seconds * track.timescale).astype(np.int64) - zero))
            else:
                track.move(round(zero * track.timescale / picture.timescale))
        moov = _moov(tracks, self._payload_start)
        free = self._payload_start - _MDAT_HEADER_BYTES - len(_FTYP) - len(moov)
        with disk_full_named(self._path):
            if free == 0 or _FREE_HEADER_BYTES <= free <= min(self._payload_bytes, _LARGEST_RESERVE_BYTES):
                with self._path.open("r+b") as target:
                    self._write_head(target, moov, free)
            else:
                self._copy_behind(tracks, len(_FTYP) + len(moov) + _MDAT_HEADER_BYTES)

    def _write_head(self, target: BinaryIO, moov: bytes, free: int) -> None:
        target.write(_FTYP + moov)
        if free:
            target.write(struct.pack(">I4s", free, b"free"))
            target.seek(free - _FREE_HEADER_BYTES, os.SEEK_CUR)
        target.write(struct.pack(">I4sQ", 1, b"mdat", self._payload_bytes + _MDAT_HEADER_BYTES))

    def _copy_behind(self, tracks: list[_Track], head_bytes: int) -> None:
        """The reserved room has the wrong size: write the file again, with the payload at `head_bytes` from its beginning."""
        again = self._path.with_suffix(".again")
        with self._path.open("rb") as source, again.open("wb") as target:
            self._write_head(target, _moov(tracks, head_bytes), 0)
            source.seek(self._payload_start)
            while block := source.read(_COPY_BYTES):
                target.write(block)
        os.replace(again, self._path)

    def _fragment(self, data: bytes, moof_start: int) -> list[tuple[_Track, int, int]]:
        """Note the packets of a `moof`: (track, place of its first byte in the stream, packets) of each run."""
        runs = []
        for kind, body in _boxes(data):
            if kind != b"traf":
                continue
            parts = list(_boxes(body))
            track, base, duration, size = self._fragment_header(dict(parts)[b"tfhd"], moof_start)
            track.begin_fragment(_decode_time(dict(parts)[b"tfdt"]))
            runs += [_noted_run(part, track, base, duration, size) for box, part in parts if box == b"trun"]
        return runs

    def _fragment_header(self, tfhd: bytes, moof_start: int) -> tuple[_Track, int, int, int]:
        """(track, base of data offsets, default duration, default size)."""
        flags, number = struct.unpack_from(">II", tfhd)
        track = self._tracks[number]
        base, duration, size, at = moof_start, track.default_duration, track.default_size, 8
        if flags & _TFHD_BASE_OFFSET:
            (base,) = struct.unpack_from(">Q", tfhd, at)
            at += 8
        if flags & _TFHD_DESCRIPTION:
            at += 4
        if flags & _TFHD_DURATION:
            (duration,) = struct.unpack_from(">I", tfhd, at)
            at += 4
        if flags & _TFHD_SIZE:
            (size,) = struct.unpack_from(">I", tfhd, at)
        return track, base, duration, size


class _Source:
    """Reads boxes from a pipe and counts the bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = io.BufferedReader(cast(io.RawIOBase, file), _COPY_BYTES)
        self.position = 0

    def boxes(self) -> Iterator[tuple[bytes, int, int]]:
        """(kind, start of the box in the stream, bytes of its body): the body must be read, copied or skipped before the next box."""
        while True:
            start = self.position
            head = self.take(8)
            if len(head) < 8:
                return
            size, kind = struct.unpack(">I4s", head)
            if size == 1:
                (size,) = struct.unpack(">Q", self.take(8).ljust(8, b"\0"))
            yield kind, start, size - (self.position - start)

    def take(self, size: int) -> bytes:
        data = self._file.read(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        while size > 0 and (block := self.take(min(size, _COPY_BYTES))):
            size -= len(block)

    def copy(self, size: int, target: io.FileIO) -> bool:
        """Copy that many bytes; False when the pipe ended before."""
        while size > 0 and (block := self.take(min(size, _COPY_BYTES))):
            _write_all(target, block)
            size -= len(block)
        return size == 0


def _write_all(target: io.FileIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[target.write(view) or 0 :]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the boxes in `data`."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += max(size, 8)


def _tracks(moov: bytes) -> Iterator[_Track]:
    boxes = list(_boxes(moov))
    extended = [body for kind, body in boxes if kind == b"mvex"]
    defaults = {}
    for kind, body in (box for mvex in extended for box in _boxes(mvex)):
        if kind == b"trex":
            _, number, _, duration, size, _ = struct.unpack_from(">6I", body)
            defaults[number] = (duration, size)
    for kind, body in boxes:
        if kind == b"trak":
            yield _track(body, defaults)


def _track(trak: bytes, defaults: dict[int, tuple[int, int]]) -> _Track:
    boxes = dict(_boxes(trak))
    media = dict(_boxes(boxes[b"mdia"]))
    information = dict(_boxes(media[b"minf"]))
    times = ">4xQQIQ2s" if media[b"mdhd"][0] else ">4xIIII2s"
    _, _, timescale, _, language = struct.unpack_from(times, media[b"mdhd"])
    (number,) = struct.unpack_from(">I", boxes[b"tkhd"], 20 if boxes[b"tkhd"][0] else 12)
    kept = {b"tkhd flags": boxes[b"tkhd"][1:4], b"hdlr": media[b"hdlr"], b"stsd": dict(_boxes(information[b"stbl"]))[b"stsd"]}
    kept |= {kind: body for kind, body in information.items() if kind in {b"vmhd", b"smhd", b"dinf"}}
    duration, size = defaults.get(number, (0, 0))
    return _Track(number, timescale, language, boxes[b"tkhd"][-60:], kept, duration, size)


def _decode_time(tfdt: bytes) -> int:
    """When the fragment begins, in time units; below 0 for the sound that an AAC decoder needs to start."""
    (time,) = struct.unpack_from(">q" if tfdt[0] else ">i", tfdt, 4)
    return int(time)


def _noted_run(trun: bytes, track: _Track, base: int, duration: int, size: int) -> tuple[_Track, int, int]:
    flags, count = struct.unpack_from(">II", trun)
    at, offset = 8, 0
    if flags & _TRUN_OFFSET:
        (offset,) = struct.unpack_from(">i", trun, at)
        at += 4
    if flags & _TRUN_FIRST_FLAGS:
        at += 4
    columns = [flag for flag in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION) if flags & flag]
    table = np.frombuffer(trun, ">u4", count * len(columns), at).reshape(count, len(columns)).astype(np.uint32)
    if _TRUN_COMPOSITION in columns and table[:, columns.index(_TRUN_COMPOSITION)].any():
        raise InvalidMediaError("frames are stored in another order than they are shown in, which a proxy never has")
    track.add_packets(_column(table, columns, _TRUN_SIZE, size), _column(table, columns, _TRUN_DURATION, duration))
    return track, base + offset, count


def _column(table: NDArray[np.uint32], columns: list[int], which: int, default: int) -> NDArray[np.uint32]:
    return table[:, columns.index(which)] if which in columns else np.full(len(table), default, np.uint32)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _moov(tracks: list[_Track], payload_start: int) -> bytes:
    """The header of a file whose payload begins at `payload_start`: its length does not depend on `payload_start`."""
    scales = [track.timescale for track in tracks]
    scale = math.lcm(*scales)
    scale = scale if scale <= _LARGEST_TIMESCALE else next(track.timescale for track in tracks if b"vmhd" in track.boxes)
    longest = max(_scaled(max(0, track.end), track, scale) for track in tracks)
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    mvhd = struct.pack(">IQQIQIH10x", 1 << 24, 0, 0, scale, longest, 0x10000, 0x100) + matrix
    mvhd += struct.pack(">24xI", max(track.number for track in tracks) + 1)
    return _box(b"moov", _box(b"mvhd", mvhd), *(_trak(track, scale, payload_start) for track in tracks))


def _scaled(units: int, track: _Track, scale: int) -> int:
    """Time units of the track, converted to those of the whole file."""
    return round(units * scale / track.timescale) if scale % track.timescale else units * (scale // track.timescale)


def _trak(track: _Track, scale: int, payload_start: int) -> bytes:
    boxes = track.boxes
    shown = _scaled(max(0, track.end), track, scale)
    tkhd = b"\x01" + boxes[b"tkhd flags"] + struct.pack(">QQIIQ", 0, 0, track.number, 0, shown) + track.header_tail
    mdhd = struct.pack(">IQQIQ2sH", 1 << 24, 0, 0, track.timescale, track.length, track.language, 0)
    media = b"vmhd" if b"vmhd" in boxes else b"smhd"
    tables = _box(b"stbl", _box(b"stsd", boxes[b"stsd"]), *_sample_tables(track, payload_start))
    minf = _box(b"minf", _box(media, boxes[media]), _box(b"dinf", boxes[b"dinf"]), tables)
    mdia = _box(b"mdia", _box(b"mdhd", mdhd), _box(b"hdlr", boxes[b"hdlr"]), minf)
    return _box(b"trak", _box(b"tkhd", tkhd), _box(b"edts", _edit_list(track, scale)), mdia)


def _edit_list(track: _Track, scale: int) -> bytes:
    """The edit list: an empty edit for a track that begins late; what lies before time 0 is decoded but not shown."""
    start = track.start or 0
    edits = [(_scaled(start, track, scale), -1)] if start > 0 else []
    edits.append((_scaled(track.end - max(0, start), track, scale), max(0, -start)))
    rows = b"".join(struct.pack(">QqI", length, media_time, 0x10000) for length, media_time in edits)
    return _box(b"elst", struct.pack(">II", 1 << 24, len(edits)), rows)


def _sample_tables(track: _Track, payload_start: int) -> Iterator[bytes]:
    yield _table(b"stts", np.stack([np.frombuffer(track.step_counts, np.uint32), np.frombuffer(track.steps, np.uint32)], axis=1))
    chunks = np.frombuffer(track.chunk_lengths, np.uint32)
    firsts, _ = _repeats(chunks)
    yield _table(b"stsc", np.stack([firsts + 1, chunks[firsts], np.ones(len(firsts), np.int64)], axis=1))
    if len(firsts) > 2 * CHUNK_MARK_ROWS:
        before = np.append(0, np.cumsum(chunks, dtype=np.uint64))[firsts[::CHUNK_MARK_ROWS]]
        yield _box(b"free", CHUNK_MARKS, struct.pack(">I", CHUNK_MARK_ROWS), before.astype(">u8").tobytes())
    sizes = np.frombuffer(track.sizes, np.uint32)
    yield _box(b"stsz", struct.pack(">III", 0, 0, len(sizes)), sizes.astype(">u4").tobytes())
    offsets = np.frombuffer(track.chunk_offsets, np.uint64) + np.uint64(payload_start)
    yield _box(b"co64", struct.pack(">II", 0, len(offsets)), offsets.astype(">u8").tobytes())


def _table(kind: bytes, rows: NDArray[np.generic]) -> bytes:
    return _box(kind, struct.pack(">II", 0, len(rows)), rows.astype(">u4").tobytes())


def _repeats(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(where each run of equal values begins, how long it is)."""
    firsts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return firsts, np.diff(np.append(firsts, len(values)))
