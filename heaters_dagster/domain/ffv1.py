"""Into how many slices FFV1 divides a picture. The encoder allows only some grids, and which ones depends on the picture.

Source: FFmpeg, libavcodec/ffv1enc.c (`ff_ffv1_encode_determine_slices`) and ffv1.c (`ff_need_new_slices`), bitstream version 3.
"""

from __future__ import annotations

import re

_LARGEST_SLICE_BITS = 8 << 24
_MOST_SLICES = 1024
_MOST_ROWS = 32
#: Each slice is a thread's work and has a checksum of its own; more of them cost bytes.
_WANTED_SLICES = 4
_SLICED_FROM_SIDE = 8
#: A picture larger than this is never one row of slices.
_ONE_ROW_WIDTH, _ONE_ROW_HEIGHT = 352, 288

_ALPHA = re.compile(r"yuva|ayuv|vuya|uyva|gbrap|ya(?:8|16|f16|f32)|rgba|bgra|argb|abgr|pal8")
_GRAY = re.compile(r"gray|mono|ya(?:8|16|f16|f32)|y400a")
#: Part of a format's name -> how many times fewer samples colour has than brightness, as powers of two across and down.
_CHROMA_SHIFTS = (
    (re.compile(r"420|nv12|nv21|p01\d"), (1, 1)),
    (re.compile(r"422|nv16|nv20|y21\d|p21\d"), (1, 0)),
    (re.compile(r"411"), (2, 0)),
    (re.compile(r"yuv410"), (2, 2)),
    (re.compile(r"440"), (0, 1)),
)


def plane_count(pixel_format: str) -> int:
    """Planes of a pixel format (FFmpeg's name) as FFV1 stores it: brightness, two of colour, transparency."""
    return (1 if _GRAY.match(pixel_format) else 3) + (1 if _ALPHA.match(pixel_format) else 0)


def chroma_shifts(pixel_format: str) -> tuple[int, int]:
    """(across, down): a plane of colour has `side >> shift` samples, rounded up. (0, 0) for formats without such planes."""
    if _GRAY.match(pixel_format):
        return 0, 0
    return next((shifts for mark, shifts in _CHROMA_SHIFTS if mark.search(pixel_format)), (0, 0))


def slice_count(width: int, height: int, *, pixel_format: str, bit_depth: int) -> int | None:
    """How many slices to ask for: four, or the next number that FFV1 allows; one for tiny pictures.

    width, height: pixels as stored. bit_depth: bits of one sample; above 8 it is counted as 16, in case the encoder stores it so.
    None when bitstream version 3 has no grid for it, as for a strip of 640x3 pixels: version 1 then stores it without slices.
    """
    counts = _allowed_counts(width, height, pixel_format, 8 if bit_depth <= 8 else max(16, bit_depth))
    least = _WANTED_SLICES if min(width, height) >= _SLICED_FROM_SIDE else 1
    return min((count for count in counts if count >= least), default=max(counts, default=None))


def _allowed_counts(width: int, height: int, pixel_format: str, bit_depth: int) -> set[int]:
    across, down = chroma_shifts(pixel_format)
    most_columns, most_rows = -(-width >> across), -(-height >> down)
    fewest_rows = min(2 if width > _ONE_ROW_WIDTH or height > _ONE_ROW_HEIGHT else 1, most_rows)
    sample_bits = (bit_depth + 1) * plane_count(pixel_format)
    return {
        rows * columns
        for rows in range(fewest_rows, min(most_rows, _MOST_ROWS) + 1)
        for columns in range(rows, min(most_columns, 2 * rows - 1) + 1)
        if rows * columns <= _MOST_SLICES
        and -(-width // columns) * -(-height // rows) * sample_bits <= _LARGEST_SLICE_BITS
        and not _splits_colour(width, columns, across)
        and not _splits_colour(height, rows, down)
    }


def _splits_colour(side: int, parts: int, shift: int) -> bool:
    """Whether the last part of an odd side would hold whole samples of colour only: version 3 then has one sample of colour too few."""
    unit = 1 << shift
    return side % unit > 0 and (side - side * (parts - 1) // parts) % unit == 0
