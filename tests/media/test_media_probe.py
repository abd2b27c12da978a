"""The probe on real files of every odd kind, and in plain words on what is no video."""

from __future__ import annotations

import json
import os
import re
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import pytest

from heaters_dagster.domain.errors import InvalidMediaError, SourceNotFoundError
from resources.media.first_look import MediaProbe
from resources.media.media_probe import probe
from tests.media_files import ffmpeg, file_frame_hashes, make_video, progressive_then_interlaced, rotated, truncated, with_bit_errors


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("probe") / "plain.mp4", frames=12)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return ffmpeg(["-f", "lavfi", "-i", "sine=d=0.5", "-c:a", "libmp3lame"], tmp_path_factory.mktemp("probe") / "sound.mp3")


def test_an_ordinary_file(plain):
    found = probe(plain)
    assert found.container == "mov,mp4,m4a,3gp,3g2,mj2"
    assert found.duration_seconds == pytest.approx(0.5, abs=0.05)
    video = found.video
    assert (video.codec, video.width, video.height, video.pixel_format, video.bit_depth) == ("h264", 160, 120, "yuv420p", 8)
    assert (video.average_frame_rate, video.sample_aspect_ratio, video.rotation_degrees, video.interlaced) == (24, 1, 0, False)
    assert (video.color_primaries, video.color_transfer, video.color_range, video.is_hdr) == (None, None, None, False)
    (audio,) = found.audio
    assert (audio.codec, audio.channels, audio.sample_rate, audio.language) == ("aac", 1, 48_000, None)


def test_json_and_back_is_the_same_probe(plain):
    found = probe(plain)
    assert MediaProbe.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(("rate", "expected"), [(Fraction(24_000, 1001), Fraction(24_000, 1001)), (Fraction(25), 25)])
def test_the_frame_rate_is_a_fraction(tmp_path, rate, expected):
    assert probe(make_video(tmp_path / "a.mp4", frames=10, rate=rate, audio=False)).video.average_frame_rate == expected


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(90, 270), (180, 180), (-90, 90)])
def test_rotation_is_clockwise(tmp_path, plain, counter_clockwise, clockwise):
    video = probe(rotated(plain, tmp_path / "r.mp4", counter_clockwise)).video
    assert (video.rotation_degrees, video.width, video.height) == (clockwise, 160, 120)


def test_ten_bits_and_hdr_tags(tmp_path):
    video = probe(make_video(tmp_path / "hdr.mkv", frames=4, audio=False, pixel_format="yuv420p10le", hdr=True)).video
    assert (video.bit_depth, video.pixel_format, video.is_hdr) == (10, "yuv420p10le", True)
    assert (video.color_primaries, video.color_transfer, video.color_space) == ("bt2020", "smpte2084", "bt2020nc")


def test_interlaced(tmp_path):
    assert probe(make_video(tmp_path / "i.mkv", frames=6, audio=False, interlaced=True)).video.interlaced


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("mpg", "mpeg2video")])
def test_interlaced_pictures_long_after_progressive_ones_are_found(tmp_path, suffix, codec):
    both = progressive_then_interlaced(tmp_path, codec=codec, suffix=suffix)
    assert not probe(tmp_path / f"film.{suffix}").video.interlaced
    assert probe(both).video.interlaced


def test_pixels_that_are_not_square(tmp_path):
    video = probe(make_video(tmp_path / "sar.mp4", frames=4, audio=False, sample_aspect_ratio=Fraction(4, 3))).video
    assert video.sample_aspect_ratio == Fraction(4, 3)


def test_full_range(tmp_path):
    path = ffmpeg(["-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2", "-pix_fmt", "yuvj420p", "-c:v", "mjpeg"], tmp_path / "full.avi")
    assert probe(path).video.color_range == "pc"


def test_a_video_stream_that_starts_late(tmp_path):
    found = probe(make_video(tmp_path / "late.mkv", frames=12, video_start_seconds=1.5))
    assert found.video.start_seconds == pytest.approx(1.5, abs=0.01)
    assert found.audio[0].start_seconds == pytest.approx(0, abs=0.03)


def test_languages_of_several_audio_streams(tmp_path, plain):
    path = ffmpeg(
        [
            "-i",
            str(plain),
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-map",
            "0:a",
            "-c",
            "copy",
            "-metadata:s:a:0",
            "language=ger",
            "-metadata:s:a:1",
            "language=eng",
        ],
        tmp_path / "two.mkv",
    )
    assert [stream.language for stream in probe(path).audio] == ["ger", "eng"]


def test_a_name_with_spaces_colons_and_percents(tmp_path, plain):
    path = tmp_path / "http: 100% 'x' é.mp4"
    path.write_bytes(plain.read_bytes())
    assert probe(path).video.width == 160


def test_the_largest_of_several_video_streams_is_used_unless_one_is_the_default(tmp_path):
    large, small = (make_video(tmp_path / f"{w}.mp4", frames=4, size=(w, 96), audio=False) for w in (128, 64))
    both = ["-i", str(small), "-i", str(large), "-map", "0", "-map", "1", "-c", "copy"]
    assert probe(ffmpeg([*both, "-disposition:v", "0"], tmp_path / "none.mkv")).video.width == 128
    found = probe(ffmpeg([*both, "-disposition:v:0", "default", "-disposition:v:1", "0"], tmp_path / "default.mkv"))
    assert (found.video.width, found.video.index) == (64, 0)


def test_cover_art_is_no_video(tmp_path, sound):
    picture = ffmpeg(["-f", "lavfi", "-i", "color=s=64x64:d=0.1", "-frames:v", "1"], tmp_path / "cover.png")
    path = ffmpeg(
        ["-i", str(sound), "-i", str(picture), "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic"],
        tmp_path / "song.mp3",
    )
    with pytest.raises(InvalidMediaError, match=r"^song\.mp3 has no video stream \(only cover art\): it is sound only$"):
        probe(path)


def test_cover_art_beside_a_video_is_passed_over(tmp_path, plain):
    picture = ffmpeg(["-f", "lavfi", "-i", "color=s=640x640:d=0.1", "-frames:v", "1"], tmp_path / "cover.png")
    path = ffmpeg(
        ["-i", str(picture), "-i", str(plain), "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"],
        tmp_path / "art.mp4",
    )
    assert probe(path).video.width == 160


def test_sound_only(sound):
    with pytest.raises(InvalidMediaError, match=r"^sound\.mp3 has no video stream: it is sound only$"):
        probe(sound)


def test_text_is_no_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Scene 1: a field. Schnitt über die Straße.\n" * 200)
    with pytest.raises(InvalidMediaError, match=r"^notes\.txt is not a video: it holds text$"):
        probe(path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "x.mp4"
    path.touch()
    with pytest.raises(InvalidMediaError, match=r"^x\.mp4 is empty \(0 bytes\)$"):
        probe(path)


def test_zero_bytes_all_through(tmp_path):
    path = tmp_path / "zeros.mp4"
    path.write_bytes(bytes(100_000))
    with pytest.raises(InvalidMediaError, match=r"zeros\.mp4 is not a video: it begins with 4096 zero bytes"):
        probe(path)


def test_noise_and_an_archive_are_no_video(tmp_path, plain):
    noise, archive = tmp_path / "noise.mp4", tmp_path / "archive.mp4"
    noise.write_bytes(b"n" + os.urandom(50_000))
    with zipfile.ZipFile(archive, "w") as file:
        file.write(plain)
    for path, what in ((noise, "it is in no video format"), (archive, "it is a ZIP archive; unpack it and submit the videos")):
        with pytest.raises(InvalidMediaError, match=f"^{path.name} is not a video: {what}"):
            probe(path)


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WebP"), ("tif", "TIFF"), ("bmp", "BMP")])
def test_a_single_picture_is_no_video(tmp_path, suffix, kind):
    path = ffmpeg(["-f", "lavfi", "-i", "color=s=64x64:d=0.1", "-frames:v", "1"], tmp_path / f"p.{suffix}")
    with pytest.raises(InvalidMediaError, match=rf"^p\.{suffix} is not a video: it is a {kind} picture$"):
        probe(path)


def test_an_animated_webp_picture_is_refused_with_a_remedy(tmp_path):
    path = ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1", "-c:v", "libwebp_anim"], tmp_path / "a.webp")
    remedy = r"convert it to MP4 or GIF with another program, or submit the video that it was made from$"
    with pytest.raises(InvalidMediaError, match=rf"^a\.webp is not a video: it is an animated WebP picture.* {remedy}"):
        probe(path)


def test_jpeg_pictures_one_after_the_other_are_a_video(tmp_path):
    found = probe(ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.4", "-c:v", "mjpeg", "-f", "mjpeg"], tmp_path / "m.mjpeg"))
    assert (found.video.codec, found.video.width, found.video.height) == ("mjpeg", 320, 240)


def test_hevc_that_an_avi_file_does_not_name_is_refused_with_a_remedy_that_works(tmp_path):
    picture = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.4,noise=alls=90:allf=t", "-f", "lavfi", "-i", "sine=d=0.4"]
    film = ffmpeg([*picture, "-c:v", "libx265", "-x265-params", "log-level=none:crf=1", "-c:a", "mp3"], tmp_path / "film.avi")
    with pytest.raises(InvalidMediaError, match=r"^film\.avi has an HEVC picture, but does not say so .* make an MP4") as refused:
        probe(film)
    line = str(refused.value).rpartition("ffmpeg: ffmpeg ")[2].replace("INPUT.avi", str(film)).split()
    mended = ffmpeg(line[:-1], tmp_path / "mended.mp4")
    assert probe(mended).video.codec == "hevc"
    assert len(list(file_frame_hashes(mended))) == 10


@pytest.mark.parametrize(
    ("tag", "colour", "warned"),
    [
        ("dvh1", "", True),
        ("hvc1", "", False),
        ("dvh1", ":colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc", False),
    ],
)
def test_dolby_vision_without_a_picture_for_other_screens_is_told(tmp_path, tag, colour, warned):
    coded = ["-c:v", "libx265", "-x265-params", f"log-level=none{colour}", "-pix_fmt", "yuv420p10le", "-tag:v", tag, "-strict", "-1"]
    found = probe(ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.4", *coded], tmp_path / "d.mp4"))
    assert bool([note for note in found.notes if "Dolby Vision alone" in note and "convert it to HDR10" in note]) == warned
    assert MediaProbe.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_data_beside_the_pictures_that_nothing_has_a_name_for(tmp_path):
    """LCEVC in its message of H.264: PyAV then gives none of the data that comes with a frame, and such a file was refused as a defect."""
    film = ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=160x120:d=0.4", "-c:v", "libx264", "-bf", "0", "-f", "h264"], tmp_path / "film.h264")
    message = b"\0\0\0\x01\x06\x04" + bytes([12]) + b"\xb4\x00\x50\x00" + bytes(range(1, 9)) + b"\x80"
    with_message = re.sub(rb"\x00\x00\x00?\x01(?=[\x65\x41])", lambda start: message + start[0], film.read_bytes())
    film.write_bytes(with_message)
    with av.open(film) as opened, pytest.raises(ValueError, match="28 is not a valid Type"):
        assert next(opened.decode(video=0)).side_data
    assert (probe(film).video.width, probe(film).video.hdr_metadata) == (160, False)


def test_an_encrypted_file_is_said_to_be_encrypted(tmp_path, plain):
    key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "01" * 16, "-encryption_kid", "02" * 16]
    with pytest.raises(InvalidMediaError, match=r"^locked\.mp4 is encrypted"):
        probe(ffmpeg(["-i", str(plain), "-c", "copy", *key], tmp_path / "locked.mp4"))


def test_a_recording_that_begins_long_before_its_first_keyframe_can_be_used(tmp_path):
    noise = ["-f", "lavfi", "-i", "testsrc2=s=640x480:r=10:d=4,noise=alls=90:allf=t"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "10", "-g", "20", "-sc_threshold", "0"]
    whole = ffmpeg([*noise, *coded], tmp_path / "whole.ts").read_bytes()
    path = tmp_path / "tuned_in.ts"
    path.write_bytes(whole[188 * 3000 :])
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].codec_context.width == 0
    assert (probe(path).video.width, probe(path).video.height) == (640, 480)


def test_an_mp4_without_its_index_is_said_to_be_cut_off(tmp_path, plain):
    unfinished = ffmpeg(["-i", str(plain), "-c", "copy"], tmp_path / "index_last.mp4")
    with pytest.raises(InvalidMediaError, match=r"^cut\.mp4 is cut off: .*its index \(moov\) is missing"):
        probe(truncated(unfinished, tmp_path / "cut.mp4", 0.5))


def test_a_cut_file_whose_index_is_there_can_be_used(tmp_path, plain):
    assert probe(truncated(plain, tmp_path / "cut.mp4", 0.7)).video.width == 160


def test_a_cut_right_behind_the_index_has_no_frame(tmp_path, plain):
    data = plain.read_bytes()
    path = tmp_path / "headers.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(InvalidMediaError, match=r"^headers\.mp4.*(without a single frame|can be decoded)"):
        probe(path)


def test_bit_errors_do_not_hide_the_video(tmp_path, plain):
    assert probe(with_bit_errors(plain, tmp_path / "bits.mp4", count=30)).video.codec == "h264"


def test_a_video_stream_with_zero_frames(tmp_path):
    path = ffmpeg(["-f", "lavfi", "-i", "testsrc=s=64x48:d=1", "-frames:v", "0", "-c:v", "ffv1"], tmp_path / "none.mkv")
    with pytest.raises(InvalidMediaError, match=r"none\.mkv"):
        probe(path)


def test_pictures_beyond_the_limit_are_refused(tmp_path):
    path = ffmpeg(["-f", "lavfi", "-i", "color=s=16390x16:d=0.1:r=10", "-frames:v", "1", "-c:v", "ffv1"], tmp_path / "wide.mkv")
    with pytest.raises(InvalidMediaError, match=r"wide\.mkv has pictures of 16390x16 pixels; sides from 2 to 16384"):
        probe(path)


def test_a_missing_file_a_folder_and_a_file_one_may_not_read(tmp_path, plain):
    with pytest.raises(SourceNotFoundError, match=r"^there is no file gone\.mp4$"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(InvalidMediaError, match="is a folder"):
        probe(tmp_path)


def test_messages_use_the_name_people_know(tmp_path):
    path = tmp_path / "original"
    path.touch()
    with pytest.raises(InvalidMediaError, match=r"^holiday\.mov is empty"):
        probe(path, name="holiday.mov")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "file '{path}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4">'
        "<Representation id='1' bandwidth='1'><BaseURL>{path}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
    ],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat", "list.mpd", "list.sdp", "list.txt"])
def test_a_file_that_only_names_other_files_never_opens_them(tmp_path, plain, playlist, name):
    path = tmp_path / name
    path.write_text(playlist.format(path=plain))
    with pytest.raises(InvalidMediaError, match="is not a video"):
        probe(path)
