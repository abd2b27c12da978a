from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.media.ffmpeg import source_streams
from resources.media.frame_index_reader import read_frame_index
from resources.media.media_probe import probe
from resources.media.proxy_proof import compared_with_original, sampled_frames, undecodable_frames
from resources.media.proxy_writer import write_proxy
from tests.media_files import barcode_video, truncated


def made(source: Path, path: Path) -> Path:
    found = probe(source)
    write_proxy(source, found, source_streams(found), path)
    return path


def test_a_proxy_agrees_with_its_original_and_not_with_another(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=40, vfr=True)
    other = barcode_video(tmp_path / "other.mp4", frames=40)
    index = read_frame_index(made(source, tmp_path / "proxy.mp4"))
    assert compared_with_original(source, probe(source), index).same
    compared = compared_with_original(other, probe(other), index)
    assert (compared.same, compared.first_wrong_frame) == (False, 3)


def test_packets_that_decode_to_nothing_do_not_count_against_a_proxy(tmp_path: Path):
    source = truncated(barcode_video(tmp_path / "whole.mp4", frames=48, audio=False), tmp_path / "s.mp4")
    index = read_frame_index(made(source, tmp_path / "proxy.mp4"))
    assert compared_with_original(source, probe(source), index).same


def test_a_frame_whose_bytes_were_overwritten_is_found(tmp_path: Path):
    path = made(barcode_video(tmp_path / "s.mp4", frames=20), tmp_path / "proxy.mp4")
    index = read_frame_index(path)
    assert undecodable_frames(path, index, range(20)) == {}
    data = bytearray(path.read_bytes())
    start, size = int(index.byte_offset[7]), int(index.byte_size[7])
    data[start : start + size] = bytes(size)
    path.write_bytes(bytes(data))
    bad = undecodable_frames(path, index, range(20))
    assert list(bad) == [7]
    assert "frame 7" in bad[7]


@given(frame_count=st.integers(1, 10_000), most=st.integers(2, 50))
def test_a_sample_has_both_ends_and_no_frame_twice(frame_count: int, most: int):
    frames = sampled_frames(frame_count, most)
    assert frames[0] == 0
    assert frames[-1] == frame_count - 1
    assert frames == sorted(set(frames))
    assert len(frames) == min(frame_count, most)


@pytest.mark.parametrize("frame_count", [1, 2, 3])
def test_a_short_video_is_sampled_whole(frame_count: int):
    assert sampled_frames(frame_count, 6) == list(range(frame_count))
