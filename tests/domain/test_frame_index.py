from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.errors import CutError, InvalidMediaError
from heaters_dagster.domain.frame_index import (
    HEADER_BYTES,
    ROW_BYTES,
    FrameIndex,
    FrameIndexHeader,
    decoded,
    decoded_header,
    decoded_rows,
    encoded,
    row_range,
)

TIME_BASE = Fraction(1, 90_000)


def made(pts: list[int], *, end_pts: int | None = None, avcc: bytes = b"\x01d\x00\x1f", first_frame: int = 0) -> FrameIndex:
    header = FrameIndexHeader(
        frame_count=len(pts),
        time_base=TIME_BASE,
        end_pts=pts[-1] + 3000 if end_pts is None else end_pts,
        width=160,
        height=120,
        sample_aspect_ratio=Fraction(4, 3),
        avcc=avcc,
        has_audio=True,
        source_start_seconds=0.04,
    )
    sizes = np.arange(100, 100 + len(pts), dtype=np.int64)
    return FrameIndex(header, first_frame, np.array(pts, np.int64), 48 + np.cumsum(sizes) - sizes, sizes)


@given(steps=st.lists(st.integers(1, 2**40), min_size=1, max_size=40), avcc=st.binary(max_size=200), data=st.data())
def test_the_rows_of_any_clip_are_one_range_of_the_stored_file(steps: list[int], avcc: bytes, data: st.DataObject):
    index = made(np.cumsum(steps).tolist(), avcc=avcc)
    stored = encoded(index)
    start = data.draw(st.integers(0, len(steps) - 1))
    end = data.draw(st.integers(start + 1, len(steps)))

    header, header_bytes = decoded_header(stored[:HEADER_BYTES])
    low, high = row_range(header_bytes, start, end)
    rows = decoded_rows(header, start, stored[low:high])

    assert header == index.header
    expected = index.slice(start, end)
    assert rows.first_frame == expected.first_frame
    for column in ("pts", "byte_offset", "byte_size"):
        assert np.array_equal(getattr(rows, column), getattr(expected, column))


def test_the_stored_file_is_plain_json_for_everybody_else():
    index = made([0, 3000, 9000])
    fields = json.loads(encoded(index))
    assert fields["columns"] == ["ordinal", "pts", "byte_offset", "byte_size"]
    assert [row[:2] for row in fields["frames"]] == [[0, 0], [1, 3000], [2, 9000]]
    assert Fraction(*fields["time_base"]) == TIME_BASE
    assert {len(line) + 1 for line in encoded(index).decode().splitlines()[1:3]} == {ROW_BYTES}


def test_a_long_decoder_description_makes_the_header_longer_and_nothing_else():
    index = made([0, 3000], avcc=bytes(range(256)) * 20)
    stored = encoded(index)
    header, header_bytes = decoded_header(stored)
    assert header_bytes == 2 * HEADER_BYTES
    assert header == index.header
    assert np.array_equal(decoded(stored).pts, index.pts)
    with pytest.raises(InvalidMediaError, match="cut off"):
        decoded_header(stored[:HEADER_BYTES])


def test_times_come_from_pts_and_the_frame_count_stands_for_the_end():
    index = made([3600, 7200, 18_000], end_pts=27_000)
    assert [index.time_seconds(frame) for frame in range(4)] == [0.04, 0.08, 0.2, 0.3]


@pytest.mark.parametrize("frame", [-1, 4])
def test_a_frame_outside_the_video_has_no_time(frame: int):
    with pytest.raises(CutError, match=rf"frame {frame} is outside 0\.\.2"):
        made([0, 3000, 6000]).time_seconds(frame)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 4), (2, 2), (2, 1)])
def test_a_slice_must_lie_within_the_held_frames(start: int, end: int):
    with pytest.raises(CutError, match=r"within 0\.\.2"):
        made([0, 3000, 6000]).slice(start, end)


def test_a_slice_of_a_slice_keeps_the_ordinals_of_the_video():
    part = made(list(range(0, 30_000, 3000))).slice(4, 9).slice(6, 8)
    assert (part.first_frame, part.end_frame, part.pts.tolist()) == (6, 8, [18_000, 21_000])
    assert part.time_seconds(7) == pytest.approx(7 / 30)


@pytest.mark.parametrize("pts", [[0, 0], [0, 3000, 3000], [3000, 0]])
def test_two_frames_at_one_time_are_refused_and_the_second_is_named(pts: list[int]):
    with pytest.raises(InvalidMediaError, match=f"frame {len(pts) - 1} is not later"):
        made(pts)


def test_only_a_whole_index_is_stored():
    with pytest.raises(InvalidMediaError, match="whole"):
        encoded(made([0, 3000, 6000]).slice(1, 3))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"version": 1}', b'{"version": 9, "row_bytes": 1,"frames":[\n'])
def test_what_is_no_frame_index_is_said_to_be_none(text: bytes):
    with pytest.raises(InvalidMediaError, match="not a frame index"):
        decoded_header(text)


def test_rows_of_another_frame_are_refused():
    index = made([0, 3000, 6000])
    stored = encoded(index)
    low, high = row_range(HEADER_BYTES, 1, 2)
    with pytest.raises(InvalidMediaError, match="begin with frame 0"):
        decoded_rows(index.header, 0, stored[low:high])
    with pytest.raises(InvalidMediaError, match="cannot be read"):
        decoded_rows(index.header, 0, b"[0, 1, ")
