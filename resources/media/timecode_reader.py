"""Reads the timecode that a file carries: of the `tmcd` track of MOV and MP4, else of the tags of container and streams, else elsewhere.

FFmpeg gives the first timecode of a `tmcd` track as a tag, but it looks neither at edit lists, which say where in the track the first frame
is, nor at what the number counts. So the track itself is read: its flag is the truth about drop-frame timecode.

Source: QuickTime File Format Specification, "Timecode media"; ISO/IEC 14496-12, sections 8.6 and 8.7.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import clean_line
from heaters_dagster.domain.timecode import (
    DROP_FRAME_RATES,
    SourceTime,
    common_rate,
    nominal_rate,
    read_timecode,
    timeline_rate,
)
from resources.media.proxy_bytes import RangeFile, media_input

_DROP_FRAME, _COUNTER = 0x1, 0x8
_CONTAINERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"tref", b"udta", b"gmhd", b"tmcd"})
_LARGEST_BOX_BYTES = 1 << 24
_MOST_BOXES = 100_000
_REELS = (
    "com.apple.proapps.reel", "reel_name", "reelname", "reel", "tape_name", "tapename", "tape", "com.arri.camera.reelname",
)  # fmt: skip
_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class FoundTimecode:
    """time: None when there is no timecode that can be used. reel: of the tape, card or reel. notes: for people."""

    time: SourceTime | None = None
    reel: str | None = None
    notes: tuple[str, ...] = ()


def timecode_in(
    path: Path,
    tags: Iterable[Mapping[str, str]],
    *,
    frame_rate: Fraction,
    first_frame_seconds: float,
    sound_rate: int | None = None,
    in_pictures: Callable[[Fraction], SourceTime | None] = lambda rate: None,
) -> FoundTimecode:
    """The timecode of the first frame of a file, and its reel.

    tags: of the video stream, of the container and of the other streams, in this order. frame_rate: of the picture, on average.
    first_frame_seconds: when the file shows its first frame. sound_rate: of the first sound, for the time reference of broadcast wave.
    in_pictures: gets the rate of the timecode, and looks for one in the pictures themselves; it is asked only when it is needed.
    """
    known = [{key.lower(): value.strip() for key, value in one.items()} for one in tags]
    reel = next((one[key] for key in _REELS for one in known if one.get(key)), None)
    track = tmcd_of(path, first_frame_seconds)
    rate, notes = common_rate(frame_rate), list[str]()
    time = track.time if track is not None else None
    if time is None:
        written = [one["timecode"] for one in known if one.get("timecode")]
        if track is not None and track.text:
            written.append(track.text)
        times = (_of_text(text, rate, notes) for text in written)
        time = next((one for one in times if one is not None), None)
    if time is None:
        time = in_pictures(rate) or _of_time_reference(known, sound_rate, rate)
    reel = clean_line((track.reel if track is not None else None) or reel)
    return FoundTimecode(replace(time, reel=reel) if time is not None else None, reel, tuple(notes))


def _of_text(text: str, rate: Fraction, notes: list[str]) -> SourceTime | None:
    """Of a tag: its sign before the frames says whether it is drop-frame timecode, where the rate has such."""
    try:
        read = read_timecode(text, rate, drop_frame=None if rate in DROP_FRAME_RATES else False, mend=True)
    except BadRequestError as error:
        notes.append(f"its timecode cannot be used: {error}")
        return None
    return SourceTime.from_count(read.frame, rate, drop_frame=read.drop_frame)


def _of_time_reference(known: Iterable[Mapping[str, str]], sound_rate: int | None, rate: Fraction) -> SourceTime | None:
    """Of broadcast wave: the samples of sound since midnight (EBU Tech 3285). It names no frames, so they are counted without dropping."""
    for one in known:
        with suppress(ValueError, OverflowError):
            samples = int(one.get("time_reference", "0"))
            if sound_rate and 0 < samples < _SECONDS_OF_A_DAY * sound_rate:
                return SourceTime.from_count(round(Fraction(samples, sound_rate) * rate), rate)
    return None


@dataclass(frozen=True, slots=True)
class TimecodeTrack:
    """What a MOV or MP4 file says. text: a timecode that it has as text only."""

    time: SourceTime | None = None
    reel: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class _Box:
    """start, end: of its body."""

    kind: bytes
    start: int
    end: int


class _Damaged(Exception):
    """The boxes make no sense."""


def tmcd_of(source: Path | RangeFile, first_frame_seconds: float) -> TimecodeTrack | None:
    """What the timecode track says of the moment at which the first frame is shown; None when it is no MOV or MP4 file, or is damaged."""
    with source.open("rb") if isinstance(source, Path) else source.opened() as file:
        with suppress(_Damaged, struct.error, IndexError, OverflowError):
            return _Movie(file).timecode(first_frame_seconds)
    return None


def timecode_of_made(source: Path | RangeFile, frame_rate: Fraction) -> SourceTime | None:
    """The timecode of the first frame of a proxy, a gold master or the file of a clip; None without one.

    frame_rate: of its pictures, at which a timecode counts that is there as text only. A track says its own rate: it may count 25 where
    there are 50 pictures a second. Raises av.FFmpegError, OSError, HeatersError when the file cannot be read.
    """
    import av

    with av.open(media_input(source)) as container:
        picture = next(iter(container.streams.video), None)
        begins = picture.start_time * picture.time_base if picture and picture.start_time and picture.time_base else Fraction(0)
        tags = [{key.lower(): value for key, value in one.metadata.items()} for one in (container, *container.streams)]
    track = tmcd_of(source, float(begins))
    if track is not None and track.time is not None:
        return track.time
    return next((time for one in tags if (text := one.get("timecode")) and (time := _of_text(text, common_rate(frame_rate), []))), None)


class _Movie:
    def __init__(self, file: BinaryIO | io.RawIOBase) -> None:
        self._file = file
        self._boxes_left = _MOST_BOXES
        if self._read(4, 8)[:4] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            raise _Damaged
        end = file.seek(0, 2)
        self._moov = next((box for box in self._boxes(0, end) if box.kind == b"moov"), None)

    def timecode(self, first_frame_seconds: float) -> TimecodeTrack | None:
        if self._moov is None:
            return None
        tracks = [box for box in self._inner(self._moov) if box.kind == b"trak"]
        video = next((one for one in tracks if self._handler(one) == b"vide"), None)
        chosen = self._referred(video) if video else ()
        ordered = sorted((one for one in tracks if self._handler(one) == b"tmcd"), key=lambda one: self._number(one) not in chosen)
        moment = Fraction(first_frame_seconds) if video and self._find(video, b"edts", b"elst") else Fraction(0)
        found = TimecodeTrack(text=self._text())
        for track in ordered:
            found = self._track(track, moment, found)
            if found.time is not None:
                break
        return found

    def _track(self, track: _Box, moment: Fraction, known: TimecodeTrack) -> TimecodeTrack:
        table = self._find(track, b"mdia", b"minf", b"stbl")
        entry = self._body(self._needed(track, b"mdia", b"minf", b"stbl", b"stsd"))[8:]
        if table is None or entry[4:8] not in (b"tmcd", b"tc64"):
            return known
        flags, timescale, duration, frames = struct.unpack_from(">IIIB", entry, 20)
        reel = _reel_of(entry[34 : struct.unpack_from(">I", entry)[0]])
        known = replace(known, reel=known.reel or reel)
        if flags & _COUNTER or not timescale or not duration:
            return known
        rate = timeline_rate(Fraction(timescale, duration))
        if frames and frames != nominal_rate(rate):  # 60 frames a second that count 30
            rate = timeline_rate(rate * frames / nominal_rate(rate))
        drop = bool(flags & _DROP_FRAME) and rate in DROP_FRAME_RATES
        units = self._media_time(track, moment)
        number, into = self._sample_at(table, units)
        width, form = (8, ">q") if entry[4:8] == b"tc64" else (4, ">i")
        (count,) = struct.unpack(form, self._read(self._place(table, number, width), width))
        count += round(Fraction(into, self._timescale(track, b"mdia", b"mdhd")) * rate)
        return replace(known, time=SourceTime.from_count(count, rate, drop_frame=drop))

    def _media_time(self, track: _Box, moment: Fraction) -> int:
        """The time of a track at a moment of the movie, in its own units: as its edit list says."""
        scale = self._timescale(track, b"mdia", b"mdhd")
        edits = self._find(track, b"edts", b"elst")
        if edits is None:
            return round(moment * scale)
        body = self._body(edits)
        movie = self._timescale(self._moov_box(), b"mvhd")
        row = ">QqI" if body[0] else ">IiI"
        begins, first = Fraction(0), 0
        for number in range(min(struct.unpack_from(">I", body, 4)[0], 1000)):
            length, media, _ = struct.unpack_from(row, body, 8 + number * struct.calcsize(row))
            lasts = Fraction(length, movie)
            if media >= 0:
                first = media + round((moment - begins) * scale)
                if moment < begins + lasts or not length:
                    break
            begins += lasts
        return first

    def _sample_at(self, table: _Box, units: int) -> tuple[int, int]:
        """(number of the sample that holds at a time, how long it has held then)."""
        body = self._body(self._needed(table, b"stts"))
        number, begins, last = 0, 0, 0
        for row in range(min(struct.unpack_from(">I", body, 4)[0], _MOST_BOXES)):
            count, step = struct.unpack_from(">II", body, 8 + 8 * row)
            if count and (units < begins + count * step or not step):
                within = max(0, (units - begins) // step) if step else 0
                return number + within, units - begins - within * step
            number, begins, last = number + count, begins + count * step, step
        return max(0, number - 1), units - begins + last

    def _place(self, table: _Box, number: int, width: int) -> int:
        """Where the sample of this number is. Timecodes all have one size."""
        chunks = self._body(self._needed(table, b"stsc"))
        wide = self._find(table, b"co64")
        offsets = self._body(wide or self._needed(table, b"stco"))
        form, each = (">Q", 8) if wide else (">I", 4)
        rows = [struct.unpack_from(">III", chunks, 8 + 12 * row)[:2] for row in range(min(struct.unpack_from(">I", chunks, 4)[0], 100_000))]
        before = 0
        for (first, size), following in zip(rows, [*(one[0] for one in rows[1:]), 1 << 32], strict=True):
            held = (following - first) * size
            if size and number < before + held:
                chunk, within = divmod(number - before, size)
                (place,) = struct.unpack_from(form, offsets, 8 + each * (first - 1 + chunk))
                return int(place + within * width)
            before += held
        raise _Damaged

    def _text(self) -> str | None:
        """The start timecode that some programs write as user data."""
        user = self._find(self._moov_box(), b"udta", b"\xa9TIM")
        body = self._body(user) if user else b""
        return body[4 : 4 + struct.unpack_from(">H", body)[0]].decode("latin-1").strip() if len(body) > 4 else None

    def _moov_box(self) -> _Box:
        if self._moov is None:
            raise _Damaged
        return self._moov

    def _referred(self, track: _Box) -> tuple[int, ...]:
        box = self._find(track, b"tref", b"tmcd")
        body = self._body(box) if box else b""
        return struct.unpack(f">{len(body) // 4}I", body[: len(body) // 4 * 4])

    def _number(self, track: _Box) -> int:
        body = self._body(self._needed(track, b"tkhd"))
        return int(struct.unpack_from(">I", body, 20 if body[0] else 12)[0])

    def _handler(self, track: _Box) -> bytes:
        box = self._find(track, b"mdia", b"hdlr")
        return self._body(box)[8:12] if box else b""

    def _timescale(self, box: _Box, *path: bytes) -> int:
        body = self._body(self._needed(box, *path))
        return int(struct.unpack_from(">I", body, 20 if body[0] else 12)[0]) or 1

    def _needed(self, box: _Box, *path: bytes) -> _Box:
        found = self._find(box, *path)
        if found is None:
            raise _Damaged
        return found

    def _find(self, box: _Box, *path: bytes) -> _Box | None:
        found: _Box | None = box
        for kind in path:
            found = next((one for one in self._inner(found) if one.kind == kind), None) if found else None
        return found

    def _inner(self, box: _Box) -> Iterator[_Box]:
        return self._boxes(box.start, box.end)

    def _boxes(self, start: int, end: int) -> Iterator[_Box]:
        while start + 8 <= end:
            self._boxes_left -= 1
            size, kind = struct.unpack(">I4s", self._read(start, 8))
            head = 8
            if size == 1:
                (size,) = struct.unpack(">Q", self._read(start + 8, 8))
                head = 16
            size = size or end - start
            if size < head or start + size > end or self._boxes_left < 0:
                if kind == b"mdat" or self._boxes_left < 0:
                    raise _Damaged
                return
            yield _Box(kind, start + head, start + size)
            start += size

    def _body(self, box: _Box) -> bytes:
        if box.end - box.start > _LARGEST_BOX_BYTES:
            raise _Damaged
        return self._read(box.start, box.end - box.start)

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(size)
        if len(data) < size:
            raise _Damaged
        return data


def _reel_of(extensions: bytes) -> str | None:
    """Of the boxes behind a description of timecode: the name of the source tape."""
    at = 0
    while at + 12 <= len(extensions):
        size, kind = struct.unpack_from(">I4s", extensions, at)
        if kind == b"name" and size >= 12:
            (length,) = struct.unpack_from(">H", extensions, at + 8)
            return clean_line(extensions[at + 12 : at + 12 + length].decode("utf-8", "replace"))
        at += max(size, 8)
    return None
