"""Writes the timecode of each picture into a stream of H.264 or HEVC, as cameras do and no encoder of FFmpeg does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_START = b"\x00\x00\x00\x01"


def with_timecodes(source: Path, target: Path, times: Sequence[tuple[int, int, int, int, bool]]) -> Path:
    """The raw stream `source` (.h264 with pic-struct=1, or .hevc; without B-frames) with a time in each picture.

    times: hours, minutes, seconds, frames, and whether it is drop-frame timecode.
    """
    is_hevc, written, left = source.suffix == ".hevc", [], list(times)
    for unit in re.split(rb"\x00\x00\x00?\x01", source.read_bytes())[1:]:
        if not is_hevc and unit[0] & 0x1F == 6 and unit[1] == 1:  # x264's own, without a time
            continue
        if _begins_picture(unit, is_hevc):
            written.append(_message(left.pop(0), is_hevc))
        written.append(unit)
    assert not left
    target.write_bytes(b"".join(_START + unit for unit in written))
    return target


def _begins_picture(unit: bytes, is_hevc: bool) -> bool:
    if is_hevc:
        return unit[0] >> 1 & 0x3F < 32 and bool(unit[2] & 0x80)
    return unit[0] & 0x1F in (1, 5) and bool(unit[1] & 0x80)


def _message(time: tuple[int, int, int, int, bool], is_hevc: bool) -> bytes:
    """ITU-T H.264, D.1.3, or H.265, D.2.27: one full time stamp."""
    hours, minutes, seconds, frames, drop = time
    full = f"{seconds:06b}{minutes:06b}{hours:05b}"
    kind = f"{4 if drop else 0:05b}"  # counting_type: 4 drops numbers
    if is_hevc:
        bits = "011" + f"0{kind}1" + f"0{int(drop)}" + f"{frames:09b}{full}" + "00000"
    else:
        bits = "0000" + "1" + "00" + f"0{kind}1" + f"0{int(drop)}" + f"{frames:08b}{full}" + "0" * 24
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    head, number = (b"\x4e\x01", 136) if is_hevc else (b"\x06", 1)
    return head + _protected(bytes([number, len(payload)]) + payload + b"\x80")


def _protected(data: bytes) -> bytes:
    """With the bytes that keep a start code from appearing within (emulation prevention)."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", data)
