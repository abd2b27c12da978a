"""A file gets a timecode track that other programs read, and nothing else of it changes."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.timecode import SourceTime
from resources.media.timecode_reader import tmcd_of
from resources.media.timecode_track import add_timecode
from tests.media.test_timecode_reader import RATES, made, made_as

SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=0.4")
CODEC = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-c:a", "aac")


def told(rate: str, start: str, reel: str | None = "A001 ä") -> SourceTime:
    time = SourceFacts(start_timecode=start, timecode_rate=rate, reel=reel).source_time(None)
    assert time is not None
    return time


def packets(path: Path) -> list[Any]:
    """Every packet of picture and sound: stream, times, bytes."""
    with av.open(str(path)) as container:
        streams = [one for one in container.streams if one.type in ("video", "audio")]
        return [
            (one.stream.type, one.pts, one.dts, one.duration, one.is_keyframe, hashlib.sha256(bytes(one)).hexdigest())
            for one in container.demux(streams)
            if one.size
        ]


def pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [np.ascontiguousarray(frame.to_ndarray()).tobytes() for frame in container.decode(video=0)]


def ffmpeg_reads(path: Path) -> tuple[str | None, str | None]:
    """Timecode and reel as FFmpeg's own reader of the track says them."""
    with av.open(str(path)) as container:
        (track,) = [one for one in container.streams if one.type == "data"]
        assert container.streams.video[0].metadata.get("timecode") == track.metadata.get("timecode")
        return track.metadata.get("timecode"), track.metadata.get("reel_name")


def as_ffmpeg(written: str, nominal: int) -> str:
    """FFmpeg writes frame numbers with three digits above 100 a second."""
    head, frames = written[:9], int(written[9:])
    return f"{head}{frames:0{3 if nominal > 100 else 2}d}"


def source(path: Path, rate: str, *more: str) -> Path:
    return made(path, rate, *more, codec=CODEC, inputs=SOUND)


@pytest.mark.parametrize(("rate", "start"), [*RATES, ("120000/1001", "00:02:00;08"), ("120", "10:00:00:119")])
def test_the_timecode_of_each_rate_is_read_back_by_another_reader(rate: str, start: str, tmp_path: Path) -> None:
    paths, time = [tmp_path / "a.mp4", tmp_path / "a.mov"], told(rate, start)
    made_as(paths, rate, codec=CODEC, inputs=SOUND)
    for path in paths:
        before = packets(path)
        assert add_timecode(path, time)
        assert ffmpeg_reads(path) == (as_ffmpeg(start, round(Fraction(rate))), "A001 ä"), path.suffix
        found = tmcd_of(path, 0.0)
        assert found is not None
        assert (found.time, found.reel) == (SourceTime(time.first_frame, time.rate, time.drop_frame), "A001 ä"), path.suffix
        assert packets(path) == before, path.suffix
    nominal, drop = round(Fraction(rate)), time.drop_frame
    sign, first = (";", nominal // 15) if drop else (":", 0)
    for before_it, after_it in (
        (f"23:59:59{sign}{nominal - 1:02d}", f"00:00:00{sign}00"),
        (f"00:00:59{sign}{nominal - 1:02d}", f"00:01:00{sign}{first:02d}"),
        (f"00:09:59{sign}{nominal - 1:02d}", f"00:10:00{sign}00"),
    ):
        clip = told(rate, before_it).beginning_at(1 / Fraction(rate))
        assert clip.start == after_it
        assert add_timecode(paths[0], clip)
        assert ffmpeg_reads(paths[0]) == (as_ffmpeg(after_it, nominal), "A001 ä")


@pytest.mark.parametrize(
    "options", [(), ("-movflags", "+faststart"), ("-movflags", "+faststart", "-moov_size", "20000")], ids=["end", "front", "room"]
)
def test_wherever_the_header_is_the_pictures_stay(options: tuple[str, ...], tmp_path: Path) -> None:
    path = source(tmp_path / "a.mp4", "25", *options)
    before, shown, size = packets(path), pictures(path), path.stat().st_size
    assert add_timecode(path, told("25", "10:00:00:00"))
    assert packets(path) == before
    assert pictures(path) == shown
    assert ffmpeg_reads(path)[0] == "10:00:00:00"
    assert path.stat().st_size - size < 1000
    data = path.read_bytes()
    assert (data.index(b"moov") < data.index(b"mdat")) == bool(options), "a file that plays while it loads still does"


def test_another_timecode_takes_the_place_of_the_first(tmp_path: Path) -> None:
    path = source(tmp_path / "a.mp4", "30000/1001", "-timecode", "05:00:00;00", "-movflags", "+faststart")
    before = packets(path)
    for start in ("01:00:00;02", "02:00:00:00"):
        assert add_timecode(path, told("30000/1001", start))
        assert ffmpeg_reads(path)[0] == start
    assert packets(path) == before


def test_a_picture_that_begins_late_has_its_own_timecode_then(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", "25", "-vf", "setpts=PTS+0.2/TB", codec=CODEC, inputs=SOUND)
    with av.open(str(path)) as container:
        begins = float(container.streams.video[0].start_time * container.streams.video[0].time_base)
    assert begins > 0.1
    assert add_timecode(path, told("25", "10:00:00:00"))
    assert tmcd_of(path, begins).time == SourceTime(900_000, Fraction(25))  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["fragments", "sound only", "nothing", "cut off"])
def test_a_file_that_cannot_have_one_stays_as_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if kind == "fragments":
        source(path, "25", "-movflags", "+frag_keyframe+empty_moov")
    elif kind == "sound only":
        source(path, "25", "-vn")
    elif kind == "cut off":
        path.write_bytes(source(path, "25").read_bytes()[:-100])
    else:
        path.write_bytes(b"no boxes here, only words")
    before = path.read_bytes()
    assert not add_timecode(path, told("25", "10:00:00:00"))
    assert path.read_bytes() == before
