from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from heaters_dagster.domain.errors import CutError, InvalidMediaError, ObjectNotFoundError
from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader, encoded
from heaters_dagster.domain.keys import frame_index_key
from resources.media.ffmpeg import source_streams
from resources.media.frame_index_reader import FrameIndexes, read_frame_index
from resources.media.media_probe import probe
from resources.media.proxy_writer import write_proxy
from resources.object_store.local import LocalObjectStore
from tests.media_files import barcode_video, read_barcode

SOURCES: dict[str, Callable[[Path], Path]] = {
    "constant": lambda folder: barcode_video(folder / "s.mp4", frames=40),
    "variable": lambda folder: barcode_video(folder / "s.mp4", frames=40, vfr=True),
    "delayed": lambda folder: barcode_video(folder / "s.mp4", frames=40, video_start_seconds=0.517),
    "silent": lambda folder: barcode_video(folder / "s.mkv", frames=40, audio=False),
    "wide pixels": lambda folder: barcode_video(folder / "s.mp4", frames=40, sample_aspect_ratio=Fraction(4, 3)),
    "one frame": lambda folder: barcode_video(folder / "s.mp4", frames=1),
}


def made_proxy(source: Path, path: Path) -> Path:
    found = probe(source)
    write_proxy(source, found, source_streams(found), path)
    return path


@pytest.mark.parametrize("kind", SOURCES)
def test_the_index_says_what_the_packets_say(kind: str, tmp_path: Path):
    path = made_proxy(SOURCES[kind](tmp_path), tmp_path / "proxy.mp4")
    index = read_frame_index(path, source_start_seconds=0.25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [(p.pts, p.pos, p.size) for p in packets] == list(
            zip(index.pts.tolist(), index.byte_offset.tolist(), index.byte_size.tolist(), strict=True)
        )
        assert index.header == FrameIndexHeader(
            frame_count=len(packets),
            time_base=stream.time_base,
            end_pts=packets[-1].pts + packets[-1].duration,
            width=160,
            height=120,
            sample_aspect_ratio=Fraction(4, 3) if kind == "wide pixels" else Fraction(1),
            avcc=stream.codec_context.extradata,
            has_audio=kind != "silent",
            source_start_seconds=0.25,
        )


@pytest.mark.parametrize("kind", ["constant", "variable", "delayed"])
def test_the_bytes_of_an_entry_decode_alone_to_its_frame(kind: str, tmp_path: Path):
    path = made_proxy(SOURCES[kind](tmp_path), tmp_path / "proxy.mp4")
    index, data = read_frame_index(path), path.read_bytes()
    for number in (0, 17, 39):
        context = av.CodecContext.create("h264", "r")
        context.extradata = index.header.avcc
        offset, size = int(index.byte_offset[number]), int(index.byte_size[number])
        (frame,) = [*context.decode(av.Packet(data[offset : offset + size])), *context.decode(None)]
        assert read_barcode(frame.to_ndarray(format="rgb24")) == number


def test_a_file_that_is_not_all_intra_is_no_proxy(tmp_path: Path):
    with pytest.raises(InvalidMediaError, match=r"s\.mp4 is not a proxy: frame 1 is not a keyframe"):
        read_frame_index(barcode_video(tmp_path / "s.mp4", frames=30))


def test_another_codec_is_no_proxy(tmp_path: Path):
    with pytest.raises(InvalidMediaError, match=r"not H\.264"):
        read_frame_index(barcode_video(tmp_path / "s.mp4", frames=30, codec="mpeg4", keyframe_every=1))


def test_a_proxy_that_was_cut_off_is_said_to_be(tmp_path: Path):
    path = made_proxy(barcode_video(tmp_path / "s.mp4", frames=30), tmp_path / "proxy.mp4")
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InvalidMediaError, match="cut off"):
        read_frame_index(path)


def test_what_is_no_video_is_no_proxy(tmp_path: Path):
    (tmp_path / "proxy.mp4").write_text("nothing")
    with pytest.raises(InvalidMediaError, match="cannot be read as a proxy"):
        read_frame_index(tmp_path / "proxy.mp4")


class CountingStore(LocalObjectStore):
    """Counts reads."""

    reads = 0

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self.reads += 1
        return super().get_range(key, start, end)


def stored(folder: Path, frames: int) -> tuple[CountingStore, FrameIndex]:
    """The frame index of source video 3, with uneven steps, in a store."""
    steps = np.random.default_rng(1).integers(1, 5000, frames)
    pts, sizes = np.cumsum(steps) - steps, np.full(frames, 700, np.int64)
    header = FrameIndexHeader(frames, Fraction(1, 90_000), int(pts[-1] + 3000), 160, 120, Fraction(1), b"\x01avcc", True, 0.0)
    index = FrameIndex(header, 0, pts, 48 + np.cumsum(sizes) - sizes, sizes)
    store = CountingStore(folder)
    store.put_bytes(frame_index_key(3), encoded(index))
    return store, index


def test_a_slice_is_one_range_read_after_the_first(tmp_path: Path):
    store, index = stored(tmp_path, 5000)
    indexes = FrameIndexes(store)
    indexes.slice(3, 10, 20)
    store.reads = 0
    part = indexes.slice(3, 4000, 4100)
    assert store.reads == 1
    assert np.array_equal(part.pts, index.pts[4000:4100])
    assert (part.first_frame, part.header) == (4000, index.header)


@pytest.mark.parametrize("frames", [[0], [5000], [17, 17, 3], [0, 4999, 5000], list(range(0, 5000, 50)), [0, 1500, 3000, 4999, 4998], []])
def test_times_of_any_frames_in_any_order(frames: list[int], tmp_path: Path):
    store, index = stored(tmp_path, 5000)
    indexes = FrameIndexes(store)
    indexes.header(3)
    store.reads = 0
    assert indexes.times(3, frames) == [index.time_seconds(frame) for frame in frames]
    assert store.reads <= 4


@pytest.mark.parametrize("frame", [-1, 5001])
def test_a_frame_that_is_not_there_has_no_time(frame: int, tmp_path: Path):
    store, _ = stored(tmp_path, 5000)
    with pytest.raises(CutError, match=rf"source video 3 is a number from 0 to 5000, not {frame}$"):
        FrameIndexes(store).times(3, [0, frame])


@pytest.mark.parametrize(("start", "end"), [(0, 5001), (-1, 4), (5, 5)])
def test_a_slice_beyond_the_video_is_refused_with_the_legal_range(start: int, end: int, tmp_path: Path):
    store, _ = stored(tmp_path, 5000)
    with pytest.raises(CutError, match=r"0\.\.4999"):
        FrameIndexes(store).slice(3, start, end)


def test_the_whole_index_can_be_loaded(tmp_path: Path):
    store, index = stored(tmp_path, 300)
    assert np.array_equal(FrameIndexes(store).load(3).byte_offset, index.byte_offset)


def test_a_source_video_without_a_proxy_has_no_index(tmp_path: Path):
    indexes = FrameIndexes(LocalObjectStore(tmp_path))
    for ask in (lambda: indexes.load(7), lambda: indexes.slice(7, 0, 1), lambda: indexes.times(7, [0])):
        with pytest.raises(ObjectNotFoundError, match="source video 7 has no frame index"):
            ask()


def test_an_index_that_was_made_anew_is_noticed_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, _ = stored(tmp_path, 300)
    indexes = FrameIndexes(store)
    assert indexes.header(3).frame_count == 300
    stored(tmp_path, 200)
    now = time.monotonic()
    monkeypatch.setattr("resources.media.frame_index_reader.time.monotonic", lambda: now + 61)
    assert indexes.header(3).frame_count == 200
