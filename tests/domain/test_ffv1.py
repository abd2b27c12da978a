"""The number of slices, asked of the encoder itself: opening it is enough for it to refuse."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from heaters_dagster.domain.ffv1 import chroma_shifts, plane_count, slice_count
from heaters_dagster.domain.ingest import MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS

SIZES = [
    (2, 2), (2, 1000), (3, 289), (7, 7), (8, 8), (161, 121), (353, 9), (353, 11), (640, 2), (640, 3), (640, 7), (1919, 1079), (1920, 1080),
    (3840, 2160), (4096, 2160), (5312, 3984), (6144, 3160), (7680, 4320), (8192, 8192), (MAX_SIDE_PIXELS, 4096), (MAX_SIDE_PIXELS, 2),
    (2, MAX_SIDE_PIXELS),
]  # fmt: skip
PIXEL_FORMATS = """
    gray gray16le ya8 yuv410p yuv411p yuv420p yuv422p yuv440p yuv444p yuv420p10le yuv422p10le yuv444p12le yuv420p16le yuv444p16le
    yuva420p yuva444p16le gbrp10le gbrp16le gbrap16le bgra rgb48le
"""


def opened(size: tuple[int, int], pixel_format: str, slices: int | None) -> None:
    context = av.CodecContext.create("ffv1", "w")
    context.width, context.height = size
    context.pix_fmt, context.time_base = pixel_format, Fraction(1, 25)
    context.options = {"level": "1"} if slices is None else {"level": "3", "slices": str(slices), "slicecrc": "1"}
    context.open()


def depth(pixel_format: str) -> int:
    return max(component.bits for component in av.VideoFormat(pixel_format).components)


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS.split())
def test_the_encoder_takes_the_slices_of_every_size_that_is_admitted(pixel_format: str):
    assert MAX_PICTURE_PIXELS == 8192 * 8192, "the largest pictures below are the largest that are admitted"
    for size in SIZES:
        opened(size, pixel_format, slice_count(*size, pixel_format=pixel_format, bit_depth=depth(pixel_format)))


def test_four_slices_are_refused_for_big_pictures():
    with pytest.raises(av.error.NotImplementedError):
        opened((5312, 3984), "yuv420p", 4)


@pytest.mark.parametrize(
    ("size", "pixel_format", "slices"),
    [
        ((1920, 1080), "yuv420p", 4),
        ((3840, 2160), "yuv422p10le", 4),
        ((5312, 3984), "yuv420p", 6),
        ((8192, 8192), "gbrap16le", 35),
        ((7, 7), "yuv420p", 1),
        ((640, 3), "yuv420p", None),
    ],
)
def test_pictures_get_four_slices_or_the_next_number_that_is_allowed(size: tuple[int, int], pixel_format: str, slices: int | None):
    assert slice_count(*size, pixel_format=pixel_format, bit_depth=depth(pixel_format)) == slices


@pytest.mark.parametrize(
    "pixel_format", [*PIXEL_FORMATS.split(), "nv12", "nv16", "p010le", "p210le", "p410le", "uyvy422", "v30xle", "ayuv64le"]
)
def test_planes_and_their_sizes_are_read_from_the_name(pixel_format: str):
    described = av.VideoFormat(pixel_format, 64, 64)
    assert plane_count(pixel_format) == len(described.components)
    across, down = chroma_shifts(pixel_format)
    assert (64 >> across, 64 >> down) == (described.chroma_width(64), described.chroma_height(64))
