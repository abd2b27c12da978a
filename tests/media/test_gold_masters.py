"""A gold master is its original, bit by bit, in another container: every pixel format, range, sound and damage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
from av.stream import Disposition

from heaters_dagster.domain.errors import InvalidMediaError
from resources.media.gold_masters import GoldMasterFile, master_problems, write_gold_master
from resources.media.master_frames import MasterClip, master_clip
from resources.media.media_probe import probe
from tests.media_files import (
    barcode_video,
    barcodes,
    ffmpeg,
    make_video,
    matroska_with_times,
    size_changes,
    truncated,
    with_bit_errors,
    with_clean_aperture,
    with_shifted_times,
)
from tests.sound_sync import decoded_sound, heard_lags


def archived(original: Path, *, timecode: str | None = None) -> tuple[GoldMasterFile, Path]:
    """The master of `original`, with this timecode, after a second, independent comparison of the two."""
    master = original.with_name(f"{original.stem}-master.mkv")
    made = write_gold_master(original, probe(original), master, called=original.name, timecode=timecode)
    assert master_problems(original, probe(original), master) == []
    return made, master


def ffmpeg_hashes(path: Path) -> list[str]:
    """What ffmpeg, asked by hand, says of every frame as it is stored."""
    picture = ["-v", "error", "-noautorotate", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *picture, "-f", "framehash", "-hash", "sha256", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [row.split(",")[-1].strip() for row in done.stdout.splitlines() if not row.startswith("#")]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv410p", "rgb24"])
@pytest.mark.parametrize("size", ["2x2", "3x5", "2x64", "64x2", "640x3", "7x7", "8x8"])
def test_the_smallest_pictures_are_archived_too(size: str, pixel_format: str, tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10:duration=0.3", "-c:v", "rawvideo", "-pix_fmt", pixel_format]
    made, _ = archived(ffmpeg(picture, tmp_path / "s.nut"))
    assert made.frame_count == 3


def test_pictures_too_big_for_four_slices_are_archived(tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "color=teal:size=5312x3984", "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "5", "-pix_fmt", "yuvj420p"]
    made, _ = archived(ffmpeg(picture, tmp_path / "s.mov"))
    assert made.frame_count == 1


def test_pictures_that_change_size_on_the_way_are_refused_and_not_quietly_scaled(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidMediaError, match=r"would not be lossless: its pictures change to 320x240 yuv420p within the file.* cut the file"
    ):
        archived(size_changes(tmp_path))


def test_pictures_that_change_depth_on_the_way_are_refused_and_not_quietly_rounded(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{depth}.ts", frames=12, pixel_format=depth) for depth in ("yuv420p", "yuv420p10le")]
    original = tmp_path / "depths.ts"
    original.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InvalidMediaError, match="would not be lossless: its pictures change to 160x120 yuv420p10le within the file"):
        archived(original)


def test_sound_that_changes_its_rate_on_the_way_is_refused_with_a_remedy(tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-f", "lavfi", "-i"]
    encoders = ["-c:v", "mpeg2video", "-c:a", "aac", "-ac", "2"]
    parts = [ffmpeg([*picture, f"sine=duration=1:sample_rate={r}", *encoders, "-ar", str(r)], tmp_path / f"{r}.ts") for r in (48000, 44100)]
    original = tmp_path / "rates.ts"
    original.write_bytes(b"".join(part.read_bytes() for part in parts))
    words = r"changes from 48000 Hz \(stereo\) to 44100 Hz \(stereo\) within the file.* cut the file where that changes.*original is kept"
    with pytest.raises(InvalidMediaError, match=words):
        archived(original)


def test_b_frames_in_avi_and_steps_of_forty_hours_are_archived(tmp_path: Path) -> None:
    crossed = barcode_video(tmp_path / "s.avi", frames=48, b_frames=3)
    far_apart = with_shifted_times(barcode_video(tmp_path / "p.mkv", frames=25, size=(96, 64)), tmp_path / "far.mkv", "video", in_steps)
    for original, count in ((crossed, 48), (far_apart, 25)):
        made, master = archived(original)
        assert made.frame_count == count
        assert barcodes(master) == list(range(count))


def in_steps(number: int, seconds: float) -> float:
    return number * 40 * 3600.0


def test_edges_that_the_container_hides_are_archived_too(tmp_path: Path) -> None:
    original = with_clean_aperture(make_video(tmp_path / "plain.mp4", frames=6), tmp_path / "s.mp4", 140, 100)
    _, master = archived(original)
    with av.open(str(master)) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(160, 120)}


@pytest.mark.parametrize("name", ["full.avi", "full.mp4", "full.mkv"])
def test_full_range_stays_full_range(name: str, tmp_path: Path) -> None:
    encoder = {
        "full.avi": ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"],
        "full.mp4": ["-c:v", "libx264", "-pix_fmt", "yuvj420p"],
        "full.mkv": ["-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-color_range", "pc"],
    }[name]
    test_picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=0.5", "-vf", "scale=out_range=full"]
    original = ffmpeg([*test_picture, *encoder], tmp_path / name)
    _, master = archived(original)
    assert probe(original).video.color_range == probe(master).video.color_range == "pc"
    assert ffmpeg_hashes(master) == ffmpeg_hashes(original)


def sound(path: Path, *options: str) -> Path:
    inputs = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1:sample_rate=44100"]
    return ffmpeg([*inputs, *options], path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("s.mov", "pcm_s24be"),
        ("s.mov", "alac"),
        ("s.avi", "adpcm_ms"),
        ("s.avi", "mp3"),
        ("s.ts", "aac"),
        ("s.mpg", "mp2"),
        ("s.mkv", "flac"),
    ],
)
def test_sound_is_copied(name: str, codec: str, tmp_path: Path) -> None:
    video = {"s.ts": "mpeg2video", "s.mpg": "mpeg2video"}.get(name, "mjpeg")
    original = sound(tmp_path / name, "-c:v", video, "-c:a", codec)
    made, master = archived(original)
    assert (made.sound_count, made.warnings) == (1, ())
    assert probe(master).audio[0].codec == probe(original).audio[0].codec


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [("s.mov", "adpcm_ima_qt", "pcm_s16le"), ("s.mov", "pcm_f32be", "pcm_f32le"), ("s.mov", "pcm_s8", "pcm_u8")],
)
def test_sound_that_matroska_cannot_hold_is_kept_as_samples_and_said(name: str, codec: str, kept: str, tmp_path: Path) -> None:
    made, master = archived(sound(tmp_path / name, "-c:v", "mjpeg", "-c:a", codec))
    assert made.warnings == (f"sound stream 1 ({codec}) cannot be stored in Matroska: the gold master has it losslessly as {kept}",)
    assert probe(master).audio[0].codec == kept


def test_every_sound_stream_is_kept_and_cover_art_is_not_the_video(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "s.mp4", frames=12)
    cover = ffmpeg(["-f", "lavfi", "-i", "color=red:size=64x64:duration=0.04", "-frames:v", "1"], tmp_path / "cover.png")
    inputs = ["-i", str(cover), "-i", str(plain), "-i", str(plain)]
    maps = ["-map", "0:v", "-map", "1:v", "-map", "1:a", "-map", "2:a", "-c", "copy", "-disposition:v:0", "attached_pic"]
    original = ffmpeg([*inputs, *maps], tmp_path / "covered.mp4")
    made, master = archived(original)
    assert (made.frame_count, made.sound_count) == (12, 2)
    assert len(probe(master).audio) == 2


@pytest.mark.parametrize("kind", ["truncated", "bit errors"])
def test_of_a_damaged_original_all_that_decodes_is_kept(kind: str, tmp_path: Path) -> None:
    whole = barcode_video(tmp_path / "s.mkv", frames=60, b_frames=2)
    original = truncated(whole, tmp_path / "d.mkv") if kind == "truncated" else with_bit_errors(whole, tmp_path / "d.mkv")
    made, master = archived(original)
    assert 0 < made.frame_count <= 60
    assert len(ffmpeg_hashes(master)) == made.frame_count


def test_a_master_of_something_else_is_found_out(tmp_path: Path) -> None:
    original = make_video(tmp_path / "a.mp4", frames=12, scenes=(6,))
    other = make_video(tmp_path / "b.mp4", frames=12, scenes=(7,))
    shorter = make_video(tmp_path / "c.mp4", frames=11, scenes=(6,))
    masters = {path.stem: archived(path)[1] for path in (other, shorter)}
    assert master_problems(original, probe(original), masters["b"]) == ["frame 6 shows another picture"]
    assert master_problems(original, probe(original), masters["c"])[0] == "it has 11 frames, the original 12"


def test_a_master_with_other_sound_is_found_out(tmp_path: Path) -> None:
    original = sound(tmp_path / "a.mkv", "-c:v", "mjpeg", "-c:a", "flac")
    _, master = archived(original)
    quieter = ffmpeg(["-i", str(master), "-c:v", "copy", "-af", "volume=0.5", "-c:a", "flac"], tmp_path / "quieter.mkv")
    assert master_problems(original, probe(original), quieter) == ["sound stream 1 differs from the original's"]


def test_a_master_with_mended_times_keeps_tags_chapters_and_both_sounds(tmp_path: Path) -> None:
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(";FFMETADATA1\ntitle=A day\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=Morning\n")
    inputs = ["-i", str(barcode_video(tmp_path / "s.mkv", frames=72, size=(96, 64), audio_codec="pcm_s16le")), "-i", str(chapters)]
    sounds = ["-map", "0:a", "-c:a:0", "libopus", "-metadata:s:a:0", "language=fra", "-disposition:a:0", "0"]
    sounds += ["-map", "0:a", "-c:a:1", "aac", "-disposition:a:1", "default"]
    plain = ffmpeg([*inputs, "-map", "0:v", "-c:v", "copy", *sounds, "-map_metadata", "1"], tmp_path / "plain.mkv")
    with av.open(str(plain)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        delays = [0.0, 312 / 48_000, 1024 / 48_000]  # of Opus and AAC: Matroska's times are without them, readers take them off
        told = [(one.stream.index, float(one.pts * one.time_base) + delays[one.stream.index]) for one in packets]
    first = min(second for stream, second in told if stream == 0)
    wanted = [(stream, 90_000 + round(1000 * (at - 50 if at > 1 else at))) for stream, at in told]
    wanted[[stream for stream, _ in told].index(0)] = (0, 90_000 - 20_000 + round(1000 * first))  # and the first frame is wild
    made, master = archived(matroska_with_times(plain, tmp_path / "wrong.mkv", wanted), timecode="23:59:59:12")
    assert (made.frame_count, made.sound_count) == (72, 2)
    with av.open(str(master)) as container:
        assert container.metadata["title"] == "A day"
        for tags in (container.metadata, container.streams.video[0].metadata):
            assert {name.lower(): value for name, value in tags.items()}["timecode"] == "23:59:59:12"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["Morning"]
        assert [stream.language for stream in container.streams.audio] == ["fra", None]
        assert [bool(stream.disposition & Disposition.default) for stream in container.streams.audio] == [False, True]
    for stream in (0, 1):
        heard = heard_lags(master, time_of_frame=lambda number: number / 24, sound=decoded_sound(master, stream=stream))
        lags = [one.lag_ms for one in heard if one.lag_ms is not None]
        assert lags == [pytest.approx(0, abs=5)] * len(lags)
        assert len(lags) >= 4


def clip_of(master: Path, start: int, end: int, *, frame_count: int, folder: Path) -> MasterClip:
    return master_clip(
        master,
        start_frame=start,
        end_frame=end,
        frame_count=frame_count,
        start_seconds=start / 24,
        duration_seconds=(end - start) / 24,
        sounds=(0,),
        sound_count=1,
        folder=folder,
        called="the master",
    )


def frames_of(clip: MasterClip, path: Path) -> list[int]:
    with path.open("wb", buffering=0) as file:
        clip.write(file)
    return barcodes(path)


def test_the_frames_of_a_clip_are_found_by_number_also_where_many_are_at_one_moment(tmp_path: Path) -> None:
    plain = barcode_video(tmp_path / "s.mp4", frames=48)
    crowded = ffmpeg(
        ["-i", str(plain), "-vf", "setpts=N/2500/TB", "-fps_mode", "passthrough", "-c:v", "libx264", "-bf", "0", "-c:a", "copy"],
        tmp_path / "crowded.mkv",
    )
    for original in (plain, crowded):
        _, master = archived(original)
        assert frames_of(clip_of(master, 7, 20, frame_count=48, folder=tmp_path), tmp_path / "clip.mkv") == list(range(7, 20))
        assert frames_of(clip_of(master, 0, 48, frame_count=48, folder=tmp_path), tmp_path / "clip.mkv") == list(range(48))


def test_a_master_with_another_number_of_frames_is_told(tmp_path: Path) -> None:
    _, master = archived(make_video(tmp_path / "s.mp4", frames=24))
    with pytest.raises(InvalidMediaError, match=r"the master has 24 frames, the proxy 25: make the gold master again"):
        clip_of(master, 6, 25, frame_count=25, folder=tmp_path)
