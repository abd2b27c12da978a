"""Frame n is frame n, wherever in the file it is and whoever asks."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from heaters_dagster.domain.errors import CutError, InvalidMediaError
from resources.media.frame_hashes import frame_hash
from resources.media.frame_reader import FrameReader, file_frames, rgb, square_size
from resources.media.proxy_bytes import RangeFile
from tests.media_files import barcode_video, file_frame_hashes, make_video, read_barcode
from tests.proxy_files import SOURCES, index_of, make_proxy_file


@pytest.fixture(scope="module", params=["constant", "variable", "odd", "ten_bit", "delayed", "b_frames"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return make_proxy_file(SOURCES[request.param](folder), folder / "proxy.mp4")


def test_every_frame_read_alone_is_the_frame_a_player_decodes(proxy: Path) -> None:
    index, hashes = index_of(proxy), list(file_frame_hashes(proxy))
    order = random.Random(5).sample(range(len(index)), len(index))
    with FrameReader(proxy, index) as reader:
        assert {number: frame_hash(reader.frame(number)) for number in order} == dict(enumerate(hashes))
        assert [read_barcode(picture) for picture in reader.read_frames([0, 7, 31])] == [0, 7, 31]


def test_a_slice_of_the_index_is_enough(proxy: Path) -> None:
    with FrameReader(proxy, index_of(proxy).slice(10, 20)) as reader:
        assert read_barcode(reader.read_frame(13)) == 13
        with pytest.raises(CutError, match=r"frame 20 is outside 10\.\.19"):
            reader.read_frame(20)


def test_a_remote_frame_costs_little_more_than_its_bytes(tmp_path: Path) -> None:
    proxy = make_proxy_file(barcode_video(tmp_path / "s.mp4", frames=200, size=(320, 240)), tmp_path / "proxy.mp4")
    data, index = proxy.read_bytes(), index_of(proxy)
    requests: list[tuple[int, int]] = []

    def ranges(start: int, end: int) -> bytes:
        requests.append((start, end))
        return data[start:end]

    with FrameReader(RangeFile(ranges, len(data)), index) as reader:
        assert [read_barcode(picture) for picture in reader.read_frames(range(100, 140))] == list(range(100, 140))
    assert requests == [(int(index.byte_offset[100]), int(index.byte_offset[139] + index.byte_size[139]))]


def test_pictures_have_square_pixels_when_asked(tmp_path: Path) -> None:
    proxy = make_proxy_file(SOURCES["wide_pixels"](tmp_path), tmp_path / "proxy.mp4")
    with FrameReader(proxy, index_of(proxy)) as reader:
        assert reader.read_frame(0).shape == (120, 160, 3)
        assert reader.read_frame(0, square_pixels=True).shape == (120, 213, 3)
        assert reader.read_frame(0, square_pixels=True, max_height=60).shape == (60, 106, 3)
        assert reader.read_frame(0, max_height=600).shape == (120, 160, 3)


def test_the_side_that_is_too_short_grows() -> None:
    assert square_size(720, 576, Fraction(16, 15)) == (768, 576)
    assert square_size(720, 480, Fraction(8, 9)) == (720, 540)
    assert square_size(720, 480, Fraction(0)) == (720, 480)


@pytest.mark.parametrize(
    ("colour_space", "colour_range", "expected"),
    [(1, 1, (227, 68, 18)), (5, 1, (213, 54, 21)), (1, 2, (213, 73, 29)), (2, 1, (213, 54, 21))],
    ids=["bt709", "bt601", "full range", "untagged and small"],
)
def test_colours_follow_the_tags_of_the_frame(colour_space: int, colour_range: int, expected: tuple[int, int, int]) -> None:
    assert np.abs(rgb(grey_frame(64, colour_space, colour_range))[10, 10].astype(int) - expected).max() <= 3


def test_untagged_high_definition_is_bt709() -> None:
    assert np.abs(rgb(grey_frame(720, 2, 1))[10, 10].astype(int) - (227, 68, 18)).max() <= 3


def grey_frame(height: int, colour_space: int, colour_range: int) -> Any:
    frame = av.VideoFrame(64, height, "yuv420p")
    for plane, level in zip(frame.planes, (100, 90, 200), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.colorspace, frame.color_range = colour_space, colour_range
    return frame


def test_damaged_bytes_are_told_with_the_frame(tmp_path: Path) -> None:
    proxy = make_proxy_file(make_video(tmp_path / "s.mp4", frames=10), tmp_path / "proxy.mp4")
    index, data = index_of(proxy), bytearray(proxy.read_bytes())
    at = int(index.byte_offset[4])
    data[at : at + int(index.byte_size[4])] = bytes(int(index.byte_size[4]))
    proxy.write_bytes(data)
    with FrameReader(proxy, index) as reader:
        with pytest.raises(InvalidMediaError, match="frame 4"):
            reader.frame(4)
        assert reader.frame(5).height == 120


@pytest.mark.parametrize("kind", ["constant", "variable", "b_frames", "ten_bit"])
def test_frames_of_any_file_are_counted_in_order_of_showing(kind: str, tmp_path: Path) -> None:
    path = SOURCES[kind](tmp_path)
    wanted = [0, 5, 23, 39]
    assert [(number, read_barcode(rgb(frame))) for number, frame in file_frames(path, wanted, called="it")] == [(n, n) for n in wanted]


def test_frames_of_an_all_intra_file_are_the_same_as_by_counting(proxy: Path) -> None:
    hashes = list(file_frame_hashes(proxy))
    assert [frame_hash(frame) for _, frame in file_frames(proxy, [1, 8, 30], called="it")] == [hashes[1], hashes[8], hashes[30]]


def test_a_frame_past_the_end_is_told(proxy: Path) -> None:
    with pytest.raises(InvalidMediaError, match="the clip has no frame 4000"):
        list(file_frames(proxy, [0, 4000], called="the clip"))


def test_of_a_remote_clip_only_the_wanted_frames_are_read(tmp_path: Path) -> None:
    clip = make_proxy_file(barcode_video(tmp_path / "s.mp4", frames=400, size=(320, 240)), tmp_path / "clip.mp4")
    data = clip.read_bytes()
    read: list[int] = []

    def ranges(start: int, end: int) -> bytes:
        read.append(end - start)
        return data[start:end]

    frames = dict(file_frames(RangeFile(ranges, len(data)), [50, 399], called="the clip"))
    assert {number: read_barcode(rgb(frame)) for number, frame in frames.items()} == {50: 50, 399: 399}
    assert sum(read) < len(data) / 2
