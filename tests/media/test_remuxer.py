"""Clips by stream copy hold exactly the frames they should, whatever the source was."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from heaters_dagster.domain.errors import CutError, DiskFullError, InvalidMediaError
from heaters_dagster.domain.frame_index import FrameIndex
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.media.remuxer import ProxyReader, remux
from tests.media_files import barcodes, ffmpeg, file_frame_hashes, make_video
from tests.proxy_files import SOURCES, index_of, make_proxy_file


@pytest.fixture(scope="module", params=list(SOURCES))
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.replace(".", "_"))
    return make_proxy_file(SOURCES[request.param](folder), folder / "proxy.mp4")


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A proxy of 3 s with audio of its full length, and of an odd frame rate so that no cut falls on an audio packet."""
    folder = tmp_path_factory.mktemp("sounding")
    return make_proxy_file(make_video(folder / "s.mp4", frames=90, rate=Fraction(30000, 1001)), folder / "proxy.mp4")


def cut(proxy: Path, start: int, end: int, path: Path, index: FrameIndex | None = None) -> Any:
    with ProxyReader(proxy) as reader:
        return remux(reader, index or index_of(proxy), start_frame=start, end_frame=end, path=path, title="a clip")


def packets(path: Path, kind: str) -> list[Any]:
    with av.open(str(path)) as container:
        streams = getattr(container.streams, kind)
        return [packet for packet in container.demux(streams[0]) if packet.size] if streams else []


def seconds(packet: Any) -> Fraction:
    return Fraction(packet.pts) * packet.time_base


def colour_tags(path: Path) -> tuple[int, ...]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.color_primaries, context.color_trc, context.colorspace, context.color_range


def decoded_audio(path: Path) -> np.ndarray:
    """(n,) float samples of the first channel as a player hears them."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def test_random_ranges_hold_exactly_their_frames_at_their_times_with_audio_in_sync(proxy: Path, tmp_path: Path) -> None:
    index, hashes = index_of(proxy), list(file_frame_hashes(proxy))
    source_audio = packets(proxy, "audio")
    rng = random.Random(20)
    with ProxyReader(proxy) as reader:
        for _ in range(23):  # 9 sources: 207 ranges
            start = rng.randrange(len(index))
            end = rng.randrange(start + 1, len(index) + 1)
            path = tmp_path / "clip.mp4"
            clip = remux(reader, index, start_frame=start, end_frame=end, path=path, title="a clip")
            video, audio = packets(path, "video"), packets(path, "audio")
            origin = index.pts_of(start)
            assert list(file_frame_hashes(path)) == hashes[start:end]
            assert clip.frame_count == end - start
            assert [packet.pts for packet in video] == [index.pts_of(n) - origin for n in range(start, end)]
            assert video[-1].pts + video[-1].duration == index.pts_of(end) - origin
            assert clip.duration_seconds == pytest.approx(float((index.pts_of(end) - origin) * index.header.time_base))
            begin, finish = index.pts_of(start) * index.header.time_base, index.pts_of(end) * index.header.time_base
            overlapping = [p for p in source_audio if seconds(p) < finish and seconds(p) + p.duration * p.time_base > begin]
            assert [bytes(p) for p in audio] == [bytes(p) for p in overlapping]
            for copied, original in zip(audio, overlapping, strict=True):
                assert abs(seconds(copied) - (seconds(original) - begin)) <= Fraction(1, 48_000)
            if audio:
                assert clip.audio_offset_seconds == pytest.approx(float(seconds(audio[0])), abs=1 / 48_000)
                assert clip.audio_offset_seconds > -1024 / 48_000
            else:
                assert clip.audio_offset_seconds is None


def test_codec_parameters_are_carried(tmp_path: Path) -> None:
    proxy = make_proxy_file(make_video(tmp_path / "s.mp4", frames=12, sample_aspect_ratio=Fraction(4, 3)), tmp_path / "plain.mp4")
    tagged = tmp_path / "proxy.mp4"
    with av.open(str(proxy)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    tagged.write_bytes(proxy.read_bytes())
    cut(tagged, 3, 9, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.extradata == extradata
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        assert container.metadata["title"] == "a clip"


def test_colour_tags_are_carried(tmp_path: Path) -> None:
    source = make_video(tmp_path / "s.mp4", frames=6)
    colours = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    encoder = ["-c:v", "libx264", "-g", "1", "-bf", "0", "-movflags", "+faststart"]
    proxy = ffmpeg(["-i", str(source), "-vf", colours, *encoder], tmp_path / "proxy.mp4")
    cut(proxy, 1, 5, tmp_path / "clip.mp4")
    assert colour_tags(proxy) == (1, 1, 1, 1)
    assert colour_tags(tmp_path / "clip.mp4") == (1, 1, 1, 1)


def test_a_clip_can_be_played_from_its_first_bytes(sounding: Path, tmp_path: Path) -> None:
    cut(sounding, 10, 40, tmp_path / "clip.mp4")
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_audio_that_is_heard_is_that_of_the_range(sounding: Path, tmp_path: Path) -> None:
    index = index_of(sounding)
    cut(sounding, 31, 77, tmp_path / "clip.mp4")
    heard, whole = decoded_audio(tmp_path / "clip.mp4"), decoded_audio(sounding)
    begin = round(index.time_seconds(31) * 48_000)
    middle = heard[4_800:24_000]
    agreement = [float(middle @ whole[begin + 4_800 + lag : begin + 24_000 + lag]) for lag in range(-480, 481)]
    assert abs(int(np.argmax(agreement)) - 480) <= 1
    assert len(heard) == pytest.approx((index.time_seconds(77) - index.time_seconds(31)) * 48_000, abs=1024)


def test_audio_that_begins_inside_the_clip_keeps_its_delay(tmp_path: Path) -> None:
    source = make_video(tmp_path / "s.mp4", frames=48)
    shifted = ["-i", str(source), "-itsoffset", "1", "-i", str(source)]
    late = ffmpeg([*shifted, "-map", "0:v", "-map", "1:a", "-c", "copy"], tmp_path / "late.mp4")
    proxy = make_proxy_file(late, tmp_path / "proxy.mp4")
    clip = cut(proxy, 12, 48, tmp_path / "clip.mp4")
    delay = float(seconds(packets(proxy, "audio")[0])) - 0.5
    assert delay > 0.4
    assert clip.audio_offset_seconds == pytest.approx(delay, abs=1 / 48_000)
    assert float(seconds(packets(tmp_path / "clip.mp4", "audio")[0])) == pytest.approx(delay, abs=1 / 48_000)
    assert cut(proxy, 0, 12, tmp_path / "silent.mp4").audio_offset_seconds is None
    assert packets(tmp_path / "silent.mp4", "audio") == []


def test_the_barcodes_of_a_clip_count_on_from_its_first_frame(tmp_path: Path) -> None:
    proxy = make_proxy_file(SOURCES["b_frames"](tmp_path), tmp_path / "proxy.mp4")
    cut(proxy, 17, 42, tmp_path / "clip.mp4")
    assert barcodes(tmp_path / "clip.mp4") == list(range(17, 42))


def test_the_same_clip_is_the_same_file(sounding: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        cut(sounding, 5, 25, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


class CountingStore:
    """Ranges of one file, as a remote store gives them."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.requests: list[tuple[int, int]] = []

    def local_path(self, key: str) -> None:
        return None

    def info(self, key: str) -> Any:
        from resources.object_store.interface import ObjectInfo

        return ObjectInfo(key, len(self.data), "STANDARD", needs_restore=False)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self.requests.append((start, end))
        return self.data[start:end]


def test_a_remote_proxy_gives_the_same_file_from_one_stretch_of_bytes(tmp_path: Path) -> None:
    source = make_video(tmp_path / "s.mp4", frames=400, size=(320, 240))
    proxy = make_proxy_file(source, tmp_path / "proxy.mp4")
    index = index_of(proxy)
    store = CountingStore(proxy)
    remote = open_proxy(store, "review_proxies/video_1_proxy.mp4")  # type: ignore[arg-type]
    assert isinstance(remote, RangeFile)
    with ProxyReader(remote) as reader:
        opening = list(store.requests)
        remux(reader, index, start_frame=300, end_frame=330, path=tmp_path / "remote.mp4", title="a clip")
    cut(proxy, 300, 330, tmp_path / "local.mp4", index)
    assert (tmp_path / "remote.mp4").read_bytes() == (tmp_path / "local.mp4").read_bytes()
    clip_requests = store.requests[len(opening) :]
    clip_bytes = int(index.byte_offset[329] + index.byte_size[329] - index.byte_offset[300])
    assert len(clip_requests) == 1
    assert clip_requests[0][1] - clip_requests[0][0] < 2 * clip_bytes
    assert sum(end - start for start, end in store.requests) < len(store.data) / 2


def test_every_clip_of_a_remote_proxy_is_the_same_file_as_of_one_that_is_here(proxy: Path, tmp_path: Path) -> None:
    """Of the remote one only parts of the header are read, by our own code; of the one that is here all of it, by FFmpeg."""
    index, store = index_of(proxy), CountingStore(proxy)
    count = len(index)
    with ProxyReader(open_proxy(store, "review_proxies/video_1_proxy.mp4")) as remote, ProxyReader(proxy) as here:  # type: ignore[arg-type]
        for start, end in ((0, count), (0, 1), (count - 1, count), (count // 3, count // 2), (count // 2, count // 2 + 2)):
            for reader, name in ((remote, "remote.mp4"), (here, "here.mp4")):
                remux(reader, index, start_frame=start, end_frame=end, path=tmp_path / name, title="a clip")
            assert (tmp_path / "remote.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes(), (start, end)


def test_an_index_of_another_remote_file_is_refused(proxy: Path, sounding: Path, tmp_path: Path) -> None:
    remote = open_proxy(CountingStore(sounding), "review_proxies/video_1_proxy.mp4")  # type: ignore[arg-type]
    with ProxyReader(remote) as reader, pytest.raises(InvalidMediaError, match="frame index was made from another file"):
        remux(reader, index_of(proxy), start_frame=0, end_frame=10, path=tmp_path / "clip.mp4", title="a clip")


@pytest.mark.parametrize("left", [0, 20, 500])
def test_a_remote_file_that_is_no_proxy_is_refused(left: int, sounding: Path) -> None:
    store = CountingStore(sounding)
    store.data = store.data[:left]
    with pytest.raises(InvalidMediaError, match="make the proxy again"):
        ProxyReader(open_proxy(store, "review_proxies/video_1_proxy.mp4"))  # type: ignore[arg-type]


def test_an_index_of_another_file_is_refused(proxy: Path, sounding: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidMediaError, match="frame index was made from another file"):
        cut(sounding, 0, 10, tmp_path / "clip.mp4", index_of(proxy))


def test_a_file_that_is_no_video_is_refused_by_name(tmp_path: Path, sounding: Path) -> None:
    (tmp_path / "proxy.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(InvalidMediaError, match=r"proxy\.mp4"):
        cut(tmp_path / "proxy.mp4", 0, 10, tmp_path / "clip.mp4", index_of(sounding))


def test_frames_outside_the_video_are_refused(sounding: Path, tmp_path: Path) -> None:
    for start, end in ((0, 91), (-1, 5), (7, 7)):
        with pytest.raises(CutError, match="the video has 90 frames"):
            cut(sounding, start, end, tmp_path / "clip.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told_as_such(sounding: Path, tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "clip.mp4")
    with pytest.raises(DiskFullError, match="no room left"):
        cut(sounding, 0, 90, tmp_path / "clip.mp4")
