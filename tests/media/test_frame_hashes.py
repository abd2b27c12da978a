"""Our frame hashes are those that ffmpeg itself prints: anybody can check a manifest."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from heaters_dagster.domain.errors import InvalidMediaError
from resources.media.frame_hashes import file_sha256, frame_hash
from tests.media_files import file_frame_hashes, make_video
from tests.proxy_files import SOURCES, make_proxy_file


def ffmpeg_hashes(path: Path) -> list[str]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0", "-f", "framehash", "-hash", "sha256", "-"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [row.split(",")[-1].strip() for row in rows if not row.startswith("#")]


@pytest.mark.parametrize("kind", ["constant", "variable", "odd", "b_frames"])
def test_hashes_agree_with_the_framehash_muxer_of_ffmpeg(kind: str, tmp_path: Path) -> None:
    proxy = make_proxy_file(SOURCES[kind](tmp_path), tmp_path / "proxy.mp4")
    ours = list(file_frame_hashes(proxy))
    assert ours == ffmpeg_hashes(proxy)
    assert len(set(ours)) == len(ours)


def test_padding_of_the_decoder_is_not_hashed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "s.mp4", frames=3, size=(162, 122), audio=False)
    assert list(file_frame_hashes(path)) == ffmpeg_hashes(path)


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "gbrp10le", "nv12", "rgb24", "gray", "yuva444p"])
def test_frames_of_other_pixel_formats_are_hashed_as_ffmpeg_does(pixel_format: str, tmp_path: Path) -> None:
    path = tmp_path / "s.nut"
    source = ["-f", "lavfi", "-i", "testsrc=size=162x122:rate=25", "-frames:v", "2", "-pix_fmt", pixel_format, "-c:v", "rawvideo"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, str(path)], check=True)
    assert list(file_frame_hashes(path)) == ffmpeg_hashes(path)


@pytest.mark.parametrize("pixel_format", ["pal8", "rgb565le", "rgb0", "monob"])
def test_a_frame_whose_samples_are_not_whole_bytes_is_refused(pixel_format: str) -> None:
    with pytest.raises(InvalidMediaError, match=pixel_format):
        frame_hash(av.VideoFrame(16, 16, pixel_format))


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 1000)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 1000).hexdigest()
