"""Picture and sound that came apart become one file, packet by packet, at the times they had."""

from __future__ import annotations

from pathlib import Path

import pytest

from heaters_dagster.domain.errors import InvalidMediaError
from resources.media.media_probe import probe
from resources.media.stream_joiner import Joined, check_clean, joined
from tests.media_files import barcode_video, barcodes, ffmpeg, frame_times, make_video, truncated


@pytest.fixture
def sound(tmp_path) -> Path:
    return ffmpeg(["-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac"], tmp_path / "sound.m4a")


def joined_cleanly(video: Path, audio: Path, folder: Path) -> Joined:
    whole = joined(video, audio, folder, name="x")
    check_clean(whole, name="x")
    return whole


def test_every_frame_keeps_its_picture_and_its_time(tmp_path, sound):
    video = barcode_video(tmp_path / "video.mp4", frames=30, vfr=True, b_frames=2, audio=False)
    whole = joined_cleanly(video, sound, tmp_path)
    assert whole.video_packets == 30
    assert barcodes(whole.path) == list(range(30))
    assert frame_times(whole.path) == pytest.approx(frame_times(video), abs=1e-4)


@pytest.mark.parametrize(("late", "early"), [("video", "audio"), ("audio", "video")])
def test_what_begins_later_stays_later(tmp_path, sound, late, early):
    video = make_video(tmp_path / "video.mp4", frames=24, audio=False)
    parts = {"video": video, "audio": sound}
    parts[late] = ffmpeg(["-itsoffset", "0.5", "-i", str(parts[late]), "-c", "copy", "-copyts"], tmp_path / "late.mkv")
    found = probe(joined_cleanly(parts["video"], parts["audio"], tmp_path).path)
    starts = {"video": found.video.start_seconds, "audio": found.audio[0].start_seconds}
    assert starts[early] == pytest.approx(0, abs=0.03)
    assert starts[late] - starts[early] == pytest.approx(0.5, abs=0.03)


def test_a_clock_that_both_share_need_not_begin_at_zero(tmp_path, sound):
    video = make_video(tmp_path / "video.mp4", frames=24, audio=False)
    parts = [
        ffmpeg(["-itsoffset", "3000", "-i", str(part), "-c", "copy", "-copyts"], tmp_path / f"{part.stem}.ts") for part in (video, sound)
    ]
    found = probe(joined_cleanly(*parts, tmp_path).path)
    assert found.duration_seconds == pytest.approx(1, abs=0.2)
    assert found.video.start_seconds == pytest.approx(found.audio[0].start_seconds, abs=0.03)


def test_clocks_that_have_nothing_to_do_with_each_other_both_begin_at_zero(tmp_path, sound):
    video = make_video(tmp_path / "video.mp4", frames=24, audio=False)
    far = ffmpeg(["-itsoffset", "3000", "-i", str(video), "-c", "copy", "-copyts"], tmp_path / "far.ts")
    found = probe(joined_cleanly(far, sound, tmp_path).path)
    assert found.duration_seconds == pytest.approx(1, abs=0.2)


def test_sound_of_a_codec_that_mp4_does_not_hold_goes_into_matroska(tmp_path):
    picture = make_video(tmp_path / "picture.mp4", frames=24, audio=False)
    sound = ffmpeg(["-f", "lavfi", "-i", "sine=d=1", "-c:a", "libvorbis"], tmp_path / "sound.ogg")
    whole = joined_cleanly(picture, sound, tmp_path)
    found = probe(whole.path)
    assert (found.container, [stream.codec for stream in found.audio], whole.video_packets) == ("matroska,webm", ["vorbis"], 24)


def test_times_that_fall_back_follow_on(tmp_path):
    """Transport streams strung together, as sites do with advertisements: the second one's times begin again."""
    one = make_video(tmp_path / "one.ts", frames=24, audio=False)
    strung = tmp_path / "strung.ts"
    strung.write_bytes(one.read_bytes() * 2)
    sound = ffmpeg(["-f", "lavfi", "-i", "sine=d=2", "-c:a", "aac"], tmp_path / "sound.m4a")
    whole = joined_cleanly(strung, sound, tmp_path)
    assert whole.video_packets == 48
    assert probe(whole.path).duration_seconds == pytest.approx(2, abs=0.15)


def test_a_part_that_is_not_what_it_should_be(tmp_path, sound):
    video = make_video(tmp_path / "video.mp4", frames=12, audio=False)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {video}\n")
    for picture, audio, words in (
        (video, playlist, "x is not a video: it is an ffmpeg file list"),
        (playlist, sound, "x is not a video: it is an ffmpeg file list"),
        (video, video, "x: the file that was downloaded as its sound has no audio stream"),
        (sound, sound, "x has no video stream"),
    ):
        with pytest.raises(InvalidMediaError, match=words):
            joined(picture, audio, tmp_path, name="x")


def test_a_file_that_lost_frames_or_its_end_is_not_clean(tmp_path, sound):
    whole = joined(make_video(tmp_path / "video.mp4", frames=24, audio=False), sound, tmp_path, name="x")
    with pytest.raises(InvalidMediaError, match="only 24 of 25 frames are in the file"):
        check_clean(Joined(whole.path, 25), name="x")
    cut = Joined(truncated(whole.path, tmp_path / "cut.mp4", 0.5), 24)
    with pytest.raises(InvalidMediaError, match=r"x: (no frame at its end can be decoded|its end cannot be decoded)"):
        check_clean(cut, name="x")
