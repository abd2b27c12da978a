"""Reads the timecode that lies within the pictures themselves, where neither a track nor a tag of the file says one.

MPEG-1 and MPEG-2 have it in the header of a group of pictures (ISO/IEC 13818-2, 6.3.8), H.264 in the picture timing SEI (ITU-T H.264,
D.1.3), HEVC in the time code SEI (ITU-T H.265, D.2.27), DV in its subcode (IEC 61834-2). Encoders that know no time of day count from zero
there, or write the same again and again: neither is a timecode.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.timecode import DROP_FRAME_RATES, SourceTime, frames_per_day, read_timecode
from resources.media.first_look import MediaProbe, opened

#: A group of pictures and the picture after it, which is the first one that is decoded of it: their headers.
_GROUP = re.compile(rb"\x00\x00\x01\xb8(.{4}).*?\x00\x00\x01\x00(.{2})", re.DOTALL)
_MPEG, _DV = frozenset({"mpeg1video", "mpeg2video"}), frozenset({"dvvideo"})
_WITH_SEI = frozenset({"h264", "hevc"})
#: A camera writes it into each picture, or each first one of a group; groups are rarely longer than this.
_MOST_PACKETS = 400
_MOST_PICTURES_WITHOUT = 2
#: So far apart that a timecode which stands still is told from one that counts.
_COMPARED_SECONDS = 0.2
#: Where the first subcode pack of a DV frame is, and the number of the pack with timecode.
_DV_PACK_AT, _DV_TIMECODE = 86, 0x13


@dataclass(frozen=True, slots=True)
class _Seen:
    """One picture with its timecode. seconds: when it is shown. written: hours, minutes, seconds, frames. drop_frame: whether it says that
    numbers are left out: some cameras say it only where that happens. before: pictures of its group that are shown before it.
    """

    seconds: float
    written: tuple[int, int, int, int]
    drop_frame: bool
    before: int = 0

    def count(self, rate: Fraction, *, drop_frame: bool) -> int:
        """Of frames, at the rate of the timecode. Raises BadRequestError when there is no such timecode."""
        text = "{:02d}:{:02d}:{:02d}:{:02d}".format(*self.written)
        return read_timecode(text, rate, drop_frame=drop_frame, mend=True).frame + self.before


def picture_timecode(path: Path, probe: MediaProbe, *, rate: Fraction, name: str) -> SourceTime | None:
    """The timecode of the first frame by the first picture that has one; None without, or when one a little later contradicts it.

    rate: at which it counts. Raises InvalidMediaError, SourceNotFoundError when the file cannot be opened.
    """
    codec = probe.video.codec
    if codec not in _MPEG | _DV | _WITH_SEI:
        return None
    import av

    seen: list[_Seen] = []
    with opened(path, name=name, look_bytes=probe.look_bytes) as container, suppress(av.FFmpegError):
        stream = container.streams[probe.video.index]
        for one in (_in_groups if codec in _MPEG else _in_dv if codec in _DV else _in_messages)(container, stream):
            seen.append(one)
            if one.seconds - seen[0].seconds >= _COMPARED_SECONDS:
                break
    with suppress(BadRequestError):
        return _time_of(seen, rate, probe.video.start_seconds) if seen else None
    return None


def _time_of(seen: Sequence[_Seen], rate: Fraction, start_seconds: float) -> SourceTime | None:
    """Of the frame that is shown at start_seconds. None when the last picture does not count as many frames more than the first as lie
    between the two, up to one, and for a count from zero.
    """
    first, last = seen[0], seen[-1]
    drop = rate in DROP_FRAME_RATES and any(one.drop_frame for one in seen)
    count = first.count(rate, drop_frame=drop)
    passed = last.count(rate, drop_frame=drop) - count - round(Fraction(last.seconds - first.seconds) * rate)
    if (passed + 1) % frames_per_day(rate, drop_frame=drop) > 2:
        return None
    time = SourceTime.from_count(count - round(Fraction(first.seconds - start_seconds) * rate), rate, drop_frame=drop)
    return time if time.first_frame else None


def _in_groups(container: Any, stream: Any) -> Iterator[_Seen]:
    """Of MPEG-1 and MPEG-2: the time in a group's header is that of its first picture in the order of showing."""
    for packet in _packets(container, stream):
        group = _GROUP.search(bytes(packet))
        if group is None:
            continue
        (bits,) = struct.unpack(">I", group[1])
        (picture,) = struct.unpack(">H", group[2])
        code = bits >> 7
        written = (code >> 19 & 0x1F, code >> 13 & 0x3F, code >> 6 & 0x3F, code & 0x3F)
        if packet.pts is not None:
            yield _Seen(float(packet.pts * packet.time_base), written, bool(code >> 24), picture >> 6)


def _in_dv(container: Any, stream: Any) -> Iterator[_Seen]:
    for packet in _packets(container, stream):
        data = bytes(packet)
        if packet.pts is not None and data[_DV_PACK_AT : _DV_PACK_AT + 1] == bytes([_DV_TIMECODE]):
            (code,) = struct.unpack_from(">I", data, _DV_PACK_AT + 1)
            yield _Seen(float(packet.pts * packet.time_base), _smpte(code, None), bool(code >> 30 & 1))


def _in_messages(container: Any, stream: Any) -> Iterator[_Seen]:
    """Of H.264 and HEVC, as FFmpeg's decoder gives it with a picture: SMPTE ST 12-1 as 32 bits."""
    without = 0
    for number, frame in enumerate(container.decode(stream)):
        codes = _codes(frame)
        if codes and frame.time is not None:
            yield _Seen(frame.time, _smpte(codes[0], stream.codec_context.framerate), bool(codes[0] >> 30 & 1))
        else:
            without += 1
        if without == _MOST_PICTURES_WITHOUT or number == _MOST_PACKETS:
            return


def _codes(frame: Any) -> tuple[int, ...]:
    """The timecodes of a picture, of each of its fields. PyAV gives none when there is a kind of data that it has no name for."""
    with suppress(ValueError):
        for one in frame.side_data:
            if one.type.name == "S12M_TIMECODE":
                count, *codes = struct.unpack("=4I", bytes(one)[:16])
                return tuple(codes[:count])
    return ()


def _smpte(code: int, decoded_at: Fraction | None) -> tuple[int, int, int, int]:
    """(hours, minutes, seconds, frames). decoded_at: the rate that the decoder knew; above 30 it counts pairs, and a bit tells which."""
    hours, minutes, seconds, frames = (
        (code >> shift & 0xF) + 10 * (code >> shift + 4 & tens) for shift, tens in ((0, 0x3), (8, 0x7), (16, 0x7), (24, 0x3))
    )
    if decoded_at is not None and decoded_at > 30:
        frames = 2 * frames + (code >> (7 if decoded_at == 50 else 23) & 1)
    return hours, minutes, seconds, frames


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    for number, packet in enumerate(container.demux(stream)):
        if number == _MOST_PACKETS:
            return
        if packet.size:
            yield packet
