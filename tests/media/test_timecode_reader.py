"""The timecode of a file, as its track or its tags say it: for frame 0 of the frame index, and with its drop-frame flag."""

from __future__ import annotations

import math
import re
import struct
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest

from heaters_dagster.domain.kept_tags import KeptTags
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.timecode import SourceTime
from resources.media.container_facts import container_facts
from resources.media.first_look import first_look
from resources.media.timecode_reader import timecode_in, tmcd_of
from tests.media.sei_timecodes import with_timecodes

RATES = [
    ("24000/1001", "10:00:00:00"),
    ("24", "10:00:00:00"),
    ("25", "10:00:00:12"),
    ("30000/1001", "01:00:00;02"),
    ("30000/1001", "01:00:00:02"),
    ("30", "23:59:59:29"),
    ("50", "10:00:00:49"),
    ("60000/1001", "00:01:00;04"),
    ("60000/1001", "00:01:00:04"),
    ("60", "10:00:00:59"),
]


def made(path: Path, rate: str, *more: str, seconds: str = "0.4", codec: Sequence[str] = (), inputs: Sequence[str] = ()) -> Path:
    """A tiny video of this rate."""
    made_as([path], rate, *more, seconds=seconds, codec=codec, inputs=inputs)
    return path


def made_as(
    paths: Sequence[Path], rate: str, *more: str, seconds: str = "0.4", codec: Sequence[str] = (), inputs: Sequence[str] = ()
) -> None:
    """A tiny video of this rate in files of several containers, by one start of ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"color=gray:size=64x48:rate={rate}:duration={seconds}", *inputs]
    for path in paths:
        chosen = [*codec] or (["-c:v", "mpeg2video"] if path.suffix == ".mxf" else ["-c:v", "libx264", "-preset", "ultrafast"])
        command += ["-pix_fmt", "yuv420p", *chosen, *more, str(path)]
    subprocess.run(command, check=True)


def facts_of(path: Path, **options: bool) -> SourceFacts:
    return container_facts(path, first_look(path), name=path.name, kept=KeptTags()).facts


def time_of(path: Path) -> SourceTime | None:
    return facts_of(path).source_time(None)


@pytest.mark.parametrize(("rate", "start"), RATES)
def test_the_timecode_of_each_rate_and_container(rate: str, start: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"a{suffix}" for suffix in (".mov", ".mp4", ".mxf", ".mkv")]
    made_as(paths, rate, "-timecode", start)
    for path in paths:
        facts = facts_of(path)
        assert (facts.start_timecode, facts.timecode_rate) == (start, rate), path.suffix
        assert facts.source_time(None) == facts.source_time(Fraction(rate)), path.suffix


def patched(path: Path, mark: bytes, change: int, value: bytes) -> Path:
    """The file with other bytes, so far behind the only place of `mark`."""
    data = bytearray(path.read_bytes())
    assert data.count(mark) == 1
    at = data.index(mark) + change
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def sample_entry(path: Path) -> bytes:
    """The beginning of the description of a file's timecode."""
    data = path.read_bytes()
    at = data.index(b"tmcd\0\0\0\0\0\0\0\1")
    return data[at : at + 30]


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".mxf"])
def test_timecode_of_a_variable_rate_counts_at_its_own_rate(suffix: str, tmp_path: Path) -> None:
    """Every third frame of 30 a second is missing, as in a telephone's video."""
    dropped = ["-vf", "select='mod(n+1,3)'", "-fps_mode", "passthrough"] if suffix != ".mxf" else []
    assert time_of(made(tmp_path / f"a{suffix}", "30", *dropped, "-timecode", "10:00:00:00", seconds="1")) == SourceTime(
        1_080_000, Fraction(30)
    )


def test_the_flag_of_the_track_is_the_truth_and_not_the_sign_in_a_tag(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "30000/1001", "-timecode", "01:00:00:00")
    entry = sample_entry(path)
    assert entry[16:20] == b"\0\0\0\0"
    patched(path, entry, 16, b"\0\0\0\1")
    assert tmcd_of(path, 0.0).time == SourceTime(108_000, Fraction(30_000, 1001), True)  # type: ignore[union-attr]
    assert facts_of(path).start_timecode == "01:00:03;18", "the number is a count of frames, written as drop-frame timecode"


def test_a_drop_flag_at_a_rate_without_drop_frame_timecode_means_nothing(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "25", "-timecode", "01:00:00:00")
    patched(path, sample_entry(path), 16, b"\0\0\0\1")
    assert facts_of(path).start_timecode == "01:00:00:00"


def test_a_counter_is_no_timecode(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "25", "-timecode", "01:00:00:00")
    patched(path, sample_entry(path), 16, b"\0\0\0\x08")
    assert tmcd_of(path, 0.0).time is None  # type: ignore[union-attr]


def test_sixty_frames_a_second_may_count_thirty(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "60", "-timecode", "01:00:00:00")
    entry = sample_entry(path)
    assert entry[28] == 60
    patched(path, entry, 28, b"\x1e")
    assert time_of(path) == SourceTime(216_000, Fraction(30))


def test_frames_that_the_edit_lists_hide_have_gone_by_at_frame_0(tmp_path: Path) -> None:
    """As an editor that trims without encoding writes it: picture and timecode begin ten frames later, in both edit lists."""
    path = made(tmp_path / "a.mov", "25", "-timecode", "10:00:00:00", "-bf", "0", seconds="2")
    data = bytearray(path.read_bytes())
    scales = {b"vide": 0, b"tmcd": 0}
    at = 0
    while (at := data.find(b"elst", at + 1)) > 0:  # the handler and the time scale of a track stand behind its edit list
        kind = bytes(data[data.index(b"mhlr", at) + 4 :][:4])
        (scale,) = struct.unpack_from(">I", data, data.index(b"mdhd", at) + 16)
        scales[kind] = scale
        struct.pack_into(">i", data, at + 16, scale * 10 // 25)
    path.write_bytes(data)
    assert all(scales.values())
    assert time_of(path) == SourceTime(900_010, Fraction(25))


def test_a_picture_that_begins_late_has_the_timecode_of_its_moment(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "25", "-timecode", "10:00:00:00", "-bf", "0", seconds="2")
    assert tmcd_of(path, 0.4).time == SourceTime(900_010, Fraction(25))  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", [40, 200, 900])
def test_a_file_that_is_damaged_or_none_has_no_timecode_track(cut: int, tmp_path: Path) -> None:
    path = made(tmp_path / "a.mov", "25", "-timecode", "10:00:00:00", "-movflags", "+faststart")
    path.write_bytes(path.read_bytes()[:cut])
    assert tmcd_of(path, 0.0) is None
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    assert tmcd_of(path, 0.0) is None


@pytest.mark.parametrize(
    ("tags", "time", "notes"),
    [
        ({"TIMECODE": "10:00:00:00"}, SourceTime(900_000, Fraction(25)), 0),
        ({"timecode": "10:00:00;00"}, SourceTime(900_000, Fraction(25)), 0),
        ({"timecode": "10:00:00:25"}, None, 1),
        ({"timecode": "soon"}, None, 1),
        ({"time_reference": str(48_000 * 3600)}, SourceTime(90_000, Fraction(25)), 0),
        ({"time_reference": "0"}, None, 0),
        ({"time_reference": str(48_000 * 90_000)}, None, 0),
        ({}, None, 0),
    ],
)
def test_the_timecode_of_tags(tags: dict[str, str], time: SourceTime | None, notes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(bytes(20))
    found = timecode_in(path, [tags], frame_rate=Fraction(25), first_frame_seconds=0.0, sound_rate=48_000)
    assert (found.time, len(found.notes)) == (time, notes)


def test_the_time_reference_of_broadcast_wave_is_read_with_the_picture(tmp_path: Path) -> None:
    """ffmpeg carries it over when picture and recorded sound are put together."""
    wave, path = tmp_path / "a.wav", tmp_path / "a.mkv"
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=0.4", "-write_bext", "1"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"]
    subprocess.run([*command, *sound, "-metadata", f"time_reference={48_000 * 3600}", str(wave)], check=True)
    picture = made(tmp_path / "silent.mkv", "25")
    both = ["-i", str(picture), "-i", str(wave), "-map", "0:v", "-map", "1:a", "-c", "copy", "-map_metadata", "1"]
    subprocess.run([*command, *both, str(path)], check=True)
    assert time_of(path) == SourceTime(90_000, Fraction(25))


def test_a_reel_that_says_where_it_was_filmed_is_not_kept_without_places(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", "25", "-metadata", "reel_name=+48.2082+016.3738/")
    assert facts_of(path).reel is None
    assert container_facts(path, first_look(path), name="a.mkv", kept=KeptTags(places=True)).facts.reel == "+48.2082+016.3738/"


@pytest.mark.parametrize("suffix", [".mov", ".mxf", ".mkv"])
def test_the_reel_is_read(suffix: str, tmp_path: Path) -> None:
    option = "-metadata:s:v:0" if suffix == ".mov" else "-metadata"
    path = made(tmp_path / f"a{suffix}", "25", "-timecode", "10:00:00:00", option, "reel_name=A001_C002 ä")
    assert facts_of(path).reel == "A001_C002 ä"


def raw_stream(folder: Path, rate: str, suffix: str) -> Path:
    codec = (
        ["-c:v", "libx264", "-x264-params", "pic-struct=1"] if suffix == ".h264" else ["-c:v", "libx265", "-x265-params", "log-level=none"]
    )
    return made(folder / f"raw{suffix}", rate, "-bf", "0", codec=[*codec, "-preset", "ultrafast"])


def copied(source: Path, target: Path, *before: str) -> Path:
    """The same packets without any tag. before: options of the input."""
    inputs = [*before, "-i", str(source), "-map_metadata", "-1", "-c", "copy"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *inputs, str(target)], check=True)
    return target


@pytest.mark.parametrize("suffix", [".h264", ".hevc"])
@pytest.mark.parametrize(
    ("rate", "start"), [("25", "10:00:00:20"), ("30000/1001", "00:00:59;27"), ("50", "23:59:59:45"), ("60000/1001", "01:00:59;55")]
)
def test_the_timecode_of_pictures_is_read_where_neither_track_nor_tag_has_one(rate: str, start: str, suffix: str, tmp_path: Path) -> None:
    time = SourceFacts(start_timecode=start, timecode_rate=rate).source_time(None)
    assert time is not None
    raw = raw_stream(tmp_path, rate, suffix)
    count = math.ceil(Fraction(rate) * Fraction("0.4"))
    written = [time.written(time.first_frame + number) for number in range(count)]
    stamps = [(*map(int, re.split("[:;]", one)), time.drop_frame) for one in written]
    stream = with_timecodes(raw, tmp_path / f"timed{suffix}", stamps)
    for target in ("a.mkv", "a.mp4", "a.ts"):
        assert time_of(copied(stream, tmp_path / target, "-r", rate)) == time, target
    for name, told in {"zero": [(0, 0, 0, 0, False)], "stands": stamps[:1]}.items():
        other = with_timecodes(raw, tmp_path / f"{name}{suffix}", told * count)
        assert time_of(copied(other, tmp_path / "b.mkv", "-r", rate)) is None, name
    assert time_of(copied(raw, tmp_path / "c.mkv", "-r", rate)) is None


@pytest.mark.parametrize(
    ("rate", "start"), [("25", "10:00:00:20"), ("30000/1001", "00:00:59;27"), ("30000/1001", "01:00:00:00"), ("50", "10:00:00:45")]
)
def test_the_timecode_in_the_header_of_a_group_of_pictures_is_read(rate: str, start: str, tmp_path: Path) -> None:
    codec = ["-c:v", "mpeg2video", "-bf", "2", "-g", "6"]
    paths = [tmp_path / name for name in ("a.ts", "a.mpg", "a.mkv")]
    made_as(paths, rate, "-gop_timecode", start, codec=codec)
    time = SourceFacts(start_timecode=start, timecode_rate=rate).source_time(None)
    assert {path.name: time_of(path) for path in paths} == {path.name: time for path in paths}
    assert time_of(made(tmp_path / "b.ts", rate, codec=codec)) is None, "an encoder counts from zero when it knows no time"


@pytest.mark.parametrize(("size", "rate", "start"), [("720x576", "25", "10:00:00:12"), ("720x480", "30000/1001", "01:00:00;02")])
def test_the_timecode_of_dv_is_read_from_its_own_frames(size: str, rate: str, start: str, tmp_path: Path) -> None:
    form = ["-s", size, "-pix_fmt", "yuv420p" if rate == "25" else "yuv411p"]
    tape = made(tmp_path / "a.dv", rate, *form, "-timecode", start, codec=["-c:v", "dvvideo"])
    time = SourceFacts(start_timecode=start, timecode_rate=rate).source_time(None)
    for path in (tape, copied(tape, tmp_path / "a.avi"), copied(tape, tmp_path / "a.mkv")):
        assert time_of(path) == time, path.suffix
