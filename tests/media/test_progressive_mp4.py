from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from heaters_dagster.domain.errors import DiskFullError, InvalidMediaError
from heaters_dagster.domain.profiles import proxy
from resources.media.ffmpeg import run, source_streams
from resources.media.frame_index_reader import read_frame_index
from resources.media.media_probe import probe
from resources.media.progressive_mp4 import ProgressiveMp4Writer, header_bytes
from resources.media.proxy_writer import sound_input, sound_of, write_proxy
from tests.media_files import barcode_video, barcodes, ffmpeg

SOURCES = {
    "constant": {},
    "variable": {"vfr": True},
    "23.976": {"rate": Fraction(24000, 1001)},
    "late picture": {"video_start_seconds": 1.517},
    "silent": {"audio": False},
    "wide pixels": {"sample_aspect_ratio": Fraction(4, 3)},
    "long": {"frames": 200, "size": (64, 48)},
    "one frame": {"frames": 1},
}


def fragments(source: Path, path: Path) -> bytes:
    """What ffmpeg writes into the pipe."""
    run_proxy(source, path, in_fragments=True)
    return path.read_bytes()


def run_proxy(source: Path, path: Path, *, in_fragments: bool = False) -> None:
    found = probe(source)
    streams = source_streams(found)
    sound = sound_of(source, found, streams)
    profile = proxy(streams, sound=sound_input(sound) if sound else None, in_fragments=in_fragments)
    run(profile, source, [path], sound=sound.write if sound else None)


def written(data: bytes, path: Path, reserve_bytes: int = 1 << 14) -> Path:
    writer = ProgressiveMp4Writer(path, reserve_bytes=reserve_bytes)
    writer.read(io.BytesIO(data))
    writer.finish()
    return path


def packets(path: Path) -> list[list[tuple[int | None, int | None, bytes]]]:
    """(pts, duration in units of the time base, bytes) of the packets of every stream; times as players see them."""
    with av.open(str(path)) as container:
        found: list[list[tuple[int | None, int | None, bytes]]] = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.size:
                found[packet.stream_index].append((packet.pts, packet.duration, bytes(packet)))
    return found


def late_sound(folder: Path) -> Path:
    """The sound begins 0.7 s after the picture."""
    made = str(barcode_video(folder / "together.mp4", frames=60))
    return ffmpeg(["-i", made, "-itsoffset", "0.7", "-i", made, "-map", "0:v", "-map", "1:a", "-c", "copy"], folder / "s.mkv")


@pytest.mark.parametrize("kind", [*SOURCES, "late sound"])
def test_it_holds_what_ffmpegs_own_file_holds(kind: str, tmp_path: Path):
    options = SOURCES.get(kind)
    source = late_sound(tmp_path) if options is None else barcode_video(tmp_path / "s.mp4", **{"frames": 60, **options})
    ours, theirs = written(fragments(source, tmp_path / "f.mp4"), tmp_path / "ours.mp4"), tmp_path / "theirs.mp4"
    run_proxy(source, theirs)
    assert packets(ours) == packets(theirs)
    mine, other = read_frame_index(ours), read_frame_index(theirs)
    assert mine.header == other.header
    assert np.array_equal(mine.pts, other.pts)
    with av.open(str(ours)) as a, av.open(str(theirs)) as b:
        for one, two in zip(a.streams, b.streams, strict=True):
            assert (one.time_base, one.start_time, one.duration, one.language) == (
                two.time_base,
                two.start_time,
                two.duration,
                two.language,
            )
            assert one.codec_context.extradata == two.codec_context.extradata


@pytest.mark.parametrize("reserve_bytes", [0, 1300, 1 << 13, 1 << 20])
def test_room_for_the_header_may_be_too_small_or_too_large(reserve_bytes: int, tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=60)
    path = written(fragments(source, tmp_path / "f.mp4"), tmp_path / "ours.mp4", reserve_bytes)
    assert barcodes(path) == list(range(60))
    kinds = [kind for kind, _ in top_boxes(path.read_bytes())]
    assert kinds in (["ftyp", "moov", "mdat"], ["ftyp", "moov", "free", "mdat"])
    assert [file.name for file in tmp_path.iterdir() if "again" in file.name] == []


def top_boxes(data: bytes) -> list[tuple[str, int]]:
    """(kind, size); they must fill the file exactly."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        found.append((kind.decode(), size))
        at += size
    assert at == len(data)
    return found


def test_every_header_length_next_to_the_reserved_room_is_right(tmp_path: Path):
    data = fragments(barcode_video(tmp_path / "s.mp4", frames=12), tmp_path / "f.mp4")
    moov = dict(top_boxes(written(data, tmp_path / "p.mp4").read_bytes()))["moov"]
    for room in range(moov - 2, moov + 10):
        path = written(data, tmp_path / "p.mp4", room)
        assert "mdat" in dict(top_boxes(path.read_bytes()))
        assert len(read_frame_index(path)) == 12


def test_the_estimated_room_is_enough_and_not_wasteful(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=240, size=(64, 48), vfr=True)
    found = probe(source)
    room = header_bytes(seconds=found.duration_seconds or 0, frames_per_second=float(found.video.average_frame_rate), has_audio=True)
    path = written(fragments(source, tmp_path / "f.mp4"), tmp_path / "ours.mp4", room)
    assert dict(top_boxes(path.read_bytes()))["free"] < 24_000


@pytest.mark.parametrize("claimed_seconds", [95_443.0, 2e7, 1e12])
def test_a_container_that_claims_a_wrong_duration_costs_no_room(claimed_seconds: float, tmp_path: Path):
    source = ffmpeg(["-i", str(barcode_video(tmp_path / "s.mp4", frames=25)), "-map", "0", "-c", "copy"], tmp_path / "s.mkv")
    data = bytearray(source.read_bytes())
    struct.pack_into(">d", data, data.index(b"\x44\x89\x88") + 3, claimed_seconds * 1000)
    source.write_bytes(data)
    found = probe(source)
    assert found.duration_seconds == pytest.approx(claimed_seconds)
    write_proxy(source, found, source_streams(found), tmp_path / "proxy.mp4")
    assert barcodes(tmp_path / "proxy.mp4") == list(range(25))
    boxes = dict(top_boxes((tmp_path / "proxy.mp4").read_bytes()))
    assert boxes.get("free", 0) <= boxes["mdat"]


def test_a_stream_that_breaks_off_is_left_to_whoever_ran_ffmpeg(tmp_path: Path):
    data = fragments(barcode_video(tmp_path / "s.mp4", frames=60), tmp_path / "f.mp4")
    for length in (0, 5, 700, 1500, len(data) // 2, len(data) - 3):
        ProgressiveMp4Writer(tmp_path / "cut.mp4", reserve_bytes=1 << 14).read(io.BytesIO(data[:length]))


def test_a_file_without_a_picture_is_none(tmp_path: Path):
    writer = ProgressiveMp4Writer(tmp_path / "p.mp4", reserve_bytes=1 << 14)
    writer.read(io.BytesIO(b""))
    with pytest.raises(InvalidMediaError, match="no picture"):
        writer.finish()


def test_a_full_disk_is_said_to_be_full(tmp_path: Path):
    data = fragments(barcode_video(tmp_path / "s.mp4", frames=60), tmp_path / "f.mp4")
    with pytest.raises(DiskFullError):
        ProgressiveMp4Writer(Path("/dev/full"), reserve_bytes=0).read(io.BytesIO(data))


def test_a_fragment_that_begins_later_makes_the_frame_before_it_last_longer(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=60, audio=False)
    data = bytearray(fragments(source, tmp_path / "f.mp4"))
    second = data.index(b"tfdt", data.index(b"tfdt") + 4) + 8
    (begins,) = struct.unpack_from(">q", data, second)
    step = int(np.diff(read_frame_index(written(bytes(data), tmp_path / "p.mp4")).pts)[0])
    for later in (1, 100):
        moved = bytearray(data)
        for at in (second, *places(moved, b"tfdt", second)):
            struct.pack_into(">q", moved, at, struct.unpack_from(">q", moved, at)[0] + later)
        steps = np.diff(read_frame_index(written(bytes(moved), tmp_path / "p.mp4")).pts)
        first = begins // step
        assert steps.tolist() == [step] * (first - 1) + [step + later] + [step] * (59 - first)


def places(data: bytes | bytearray, kind: bytes, after: int) -> list[int]:
    """Where the bodies of boxes of `kind` that begin behind `after` have their 64-bit time."""
    found, at = [], after
    while (at := data.find(kind, at)) >= 0:
        at += 8
        found.append(at)
    return found
