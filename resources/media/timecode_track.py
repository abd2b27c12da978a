"""Gives a finished MP4 or MOV file a timecode track: editing programs read the time of its first frame there.

Nothing else of the file changes: packets and their times stay as they are. The header grows by half a kilobyte; where there is room behind
it, as in proxies, no packet moves, else all move together. The one packet of the track lies at the end of the file.

Source: QuickTime File Format Specification, "Timecode media"; ISO/IEC 14496-12, sections 8.3 to 8.7.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from heaters_dagster.domain.timecode import SourceTime, nominal_rate
from resources.object_store.work_folder import disk_full_named

#: Names of files that can have one.
SUFFIXES = frozenset({".mp4", ".mov", ".m4v"})

_Boxes = list[tuple[bytes, bytes]]
_COPY_BYTES = 1 << 20
_HEAD_BYTES = 8
_LARGEST_MOOV_BYTES = 1 << 30
_DROP_FRAME, _TWENTY_FOUR_HOURS = 0x1, 0x2
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_ENABLED_AND_SHOWN = 0x3
_UNDEFINED_LANGUAGE = 0x55C4


def add_timecode(path: Path, time: SourceTime) -> bool:
    """Give the file at `path` a timecode track, in place of the one that it has. time: of its first frame.

    False for a file that cannot have one: it is made of fragments, has no picture, or its header is no header. Raises DiskFullError.
    """
    with disk_full_named(path), path.open("r+b") as file:
        end = file.seek(0, 2)
        boxes = list(_top_boxes(file, end))
        kinds = [kind for kind, _, _ in boxes]
        if kinds.count(b"moov") != 1 or b"moof" in kinds or boxes[-1][2] != end:
            return False
        place = kinds.index(b"moov")
        _, start, stop = boxes[place]
        if stop - start > _LARGEST_MOOV_BYTES:
            return False
        file.seek(start)
        inner = list(_boxes(file.read(stop - start)[_HEAD_BYTES:]))
        is_quicktime = b"ftyp" not in kinds or _brand(file, boxes[kinds.index(b"ftyp")][1]) == b"qt  "
        built = _with_track(inner, time, is_quicktime=is_quicktime)
        if built is None:
            return False
        after = boxes[place + 1 :]
        room_end = after[0][2] if after and after[0][0] == b"free" else stop
        moved = _moved(len(built(0, 0)), room_end - start, is_last=not after)
        if moved and b"mdat" in kinds[:place]:
            return False
        try:
            moov = built(moved, end + moved + _HEAD_BYTES if after else start + _HEAD_BYTES)
        except struct.error:  # places beyond 4 GiB, in a table for smaller files
            return False
        sample = struct.pack(">I4si", _HEAD_BYTES + 4, b"mdat", time.first_frame)
        if not after:
            file.seek(start)
            file.write(sample + moov)
            file.truncate()
            return True
        _shift(file, room_end, end, moved)
        free = room_end + moved - start - len(moov)
        file.seek(start)
        file.write(moov + (struct.pack(">I4s", free, b"free") if free else b""))
        file.seek(0, 2)
        file.write(sample)
        return True


def _moved(size: int, room: int, *, is_last: bool) -> int:
    """By how much everything behind a header of this size must move: what is left over must hold a box, or nothing."""
    if is_last or size == room or room - size >= _HEAD_BYTES:
        return 0
    return size - room if size > room else _HEAD_BYTES


def _shift(file: BinaryIO, start: int, end: int, by: int) -> None:
    """Move the bytes from `start` to the end of the file to later places, the last ones first."""
    at = end if by else start
    while at > start:
        size = min(_COPY_BYTES, at - start)
        at -= size
        file.seek(at)
        data = file.read(size)
        file.seek(at + by)
        file.write(data)


def _with_track(moov: _Boxes, time: SourceTime, *, is_quicktime: bool) -> Callable[[int, int], bytes] | None:
    """A function that writes the header: (how far packets move, where the track's packet is) -> bytes, as many for all of them."""
    tracks = {number: dict(_boxes(body)) for number, (kind, body) in enumerate(moov) if kind == b"trak"}
    kinds = {number: _handler(boxes) for number, boxes in tracks.items()}
    picture = next((number for number, kind in kinds.items() if kind == b"vide"), None)
    header = dict(moov).get(b"mvhd")
    if picture is None or header is None or b"mvex" in dict(moov):
        return None
    scale, duration = struct.unpack_from(">IQ" if header[0] else ">II", header, 20 if header[0] else 12)
    new = max(_track_number(boxes[b"tkhd"]) for boxes in tracks.values()) + 1
    waits = _empty_edit(tracks[picture])
    kept = [(number, kind, body) for number, (kind, body) in enumerate(moov) if kinds.get(number) != b"tmcd"]
    last_track = max(place for place, (_, kind, _) in enumerate(kept, start=1) if kind == b"trak")

    def written(moved: int, sample_at: int) -> bytes:
        parts = []
        for number, kind, body in kept:
            if kind == b"trak":
                body = _moved_track(body, moved, refers_to=new if number == picture else None)
            elif kind == b"mvhd":
                body = body[:-4] + struct.pack(">I", new + 1)
            parts.append(_box(kind, body))
        parts.insert(last_track, _track(time, new, scale, duration, waits, sample_at, is_quicktime=is_quicktime))
        return _box(b"moov", *parts)

    return written


def _track(time: SourceTime, number: int, scale: int, duration: int, waits: int, sample_at: int, *, is_quicktime: bool) -> bytes:
    """scale: units of the movie in a second; duration, waits: how long the movie is, and when its first frame is shown, in these."""
    shown = max(1, duration - waits)
    length = max(1, round(Fraction(shown, scale) * time.rate) * time.rate.denominator)
    tkhd = struct.pack(">IQQIIQ8xhhh2x", 1 << 24 | _ENABLED_AND_SHOWN, 0, 0, number, 0, duration, 0, 0, 0) + _MATRIX + bytes(8)
    edits = [(waits, -1)] if waits else []
    edits.append((shown, 0))
    elst = struct.pack(">II", 1 << 24, len(edits)) + b"".join(struct.pack(">QqI", *edit, 0x10000) for edit in edits)
    mdhd = struct.pack(">IQQIQHH", 1 << 24, 0, 0, time.rate.numerator, length, _UNDEFINED_LANGUAGE, 0)
    name = b"Timecode"
    hdlr = struct.pack(">I4s4s12x", 0, b"mhlr" if is_quicktime else b"", b"tmcd")
    hdlr += struct.pack("B", len(name)) + name if is_quicktime else name + b"\0"
    flags = _TWENTY_FOUR_HOURS | (_DROP_FRAME if time.drop_frame else 0)
    entry = struct.pack(">6xH4xIIIBx", 1, flags, time.rate.numerator, time.rate.denominator, min(255, nominal_rate(time.rate)))
    if time.reel:
        reel = time.reel.encode()
        entry += _box(b"name", struct.pack(">HH", len(reel), 0), reel)
    dinf = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1))))
    stbl = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"tmcd", entry)),
        _box(b"stts", struct.pack(">IIII", 0, 1, 1, min(length, 2**32 - 1))),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        _box(b"stsz", struct.pack(">III", 0, 4, 1)),
        _box(b"co64", struct.pack(">IIQ", 0, 1, sample_at)),
    )
    media = _quicktime_header() if is_quicktime else _box(b"nmhd", bytes(4))
    minf = _box(b"minf", media, dinf, stbl)
    mdia = _box(b"mdia", _box(b"mdhd", mdhd), _box(b"hdlr", hdlr), minf)
    return _box(b"trak", _box(b"tkhd", tkhd), _box(b"edts", _box(b"elst", elst)), mdia)


def _quicktime_header() -> bytes:
    gmin = struct.pack(">IHHHHHH", 0, 0x40, 0x8000, 0x8000, 0x8000, 0, 0)
    font = b"Lucida Grande"
    tcmi = struct.pack(">IHHHHHHHHHH", 0, 0, 0, 12, 0, 0, 0, 0, 0xFFFF, 0xFFFF, 0xFFFF) + struct.pack("B", len(font)) + font
    return _box(b"gmhd", _box(b"gmin", gmin), _box(b"tmcd", _box(b"tcmi", tcmi)))


def _moved_track(trak: bytes, moved: int, *, refers_to: int | None) -> bytes:
    """The track with its packets so many bytes later. refers_to: the number of the timecode track that it gets."""
    parts = []
    for kind, body in _boxes(trak):
        if kind == b"tref":
            body = b"".join(_box(one, inner) for one, inner in _boxes(body) if one != b"tmcd")
            if not body:
                continue
        if kind == b"mdia":
            if refers_to is not None:
                parts.append(_box(b"tref", _box(b"tmcd", struct.pack(">I", refers_to))))
            body = _moved_packets(body, moved)
        parts.append(_box(kind, body))
    return b"".join(parts)


def _moved_packets(body: bytes, moved: int) -> bytes:
    parts = []
    for kind, inner in _boxes(body):
        if kind in (b"minf", b"stbl"):
            inner = _moved_packets(inner, moved)
        elif kind in (b"stco", b"co64") and moved:
            form = "Q" if kind == b"co64" else "I"
            (count,) = struct.unpack_from(">I", inner, 4)
            places = struct.unpack_from(f">{count}{form}", inner, 8)
            inner = inner[:8] + struct.pack(f">{count}{form}", *(place + moved for place in places))
        parts.append(_box(kind, inner))
    return b"".join(parts)


def _empty_edit(track: dict[bytes, bytes]) -> int:
    """How long the movie runs before the track is shown, in units of the movie."""
    body = dict(_boxes(track.get(b"edts", b""))).get(b"elst", b"")
    if len(body) < 20 or not struct.unpack_from(">I", body, 4)[0]:
        return 0
    length, media = struct.unpack_from(">Qq" if body[0] else ">Ii", body, 8)
    return int(length) if media == -1 else 0


def _handler(track: dict[bytes, bytes]) -> bytes:
    return dict(_boxes(track.get(b"mdia", b""))).get(b"hdlr", b"")[8:12]


def _track_number(tkhd: bytes) -> int:
    return int(struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)[0])


def _brand(file: BinaryIO, start: int) -> bytes:
    file.seek(start + _HEAD_BYTES)
    return file.read(4)


def _top_boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the boxes of a file, up to one that does not say where it ends."""
    at = 0
    while at + _HEAD_BYTES <= end:
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size < _HEAD_BYTES or at + size > end:
            return
        yield kind, at, at + size
        at += size


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the boxes in `data`."""
    at = 0
    while at + _HEAD_BYTES <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + _HEAD_BYTES : at + size]
        at += max(size, _HEAD_BYTES)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + _HEAD_BYTES, kind) + body
