from __future__ import annotations

import pytest

from heaters_dagster.domain.ffmpeg_run import Profile, SoundInput
from heaters_dagster.domain.profiles import (
    EXACT_TIMES,
    SideStream,
    SourceStreams,
    delivery,
    displayed_size,
    download_normalization,
    frame_times,
    gold_master,
    master_export,
    picture_filters,
    proxy,
    treatment_notes,
)

PLAIN = SourceStreams(video=0, pixel_format="yuv420p", audio=1, audio_channels=2)
SOUND = SoundInput(rate=48_000, channels=2, start_seconds=0.5)


def encoding_profiles() -> list[Profile]:
    return [
        proxy(PLAIN, (SideStream(48, 27, "rgb24"),)), gold_master(PLAIN), delivery(audio=True), master_export(PLAIN, sound=SOUND),
        download_normalization(audio=True, copy=False), frame_times(PLAIN),
    ]  # fmt: skip


@pytest.mark.parametrize("profile", encoding_profiles(), ids=lambda profile: profile.name)
def test_every_output_that_is_encoded_keeps_the_number_of_frames_and_their_times(profile: Profile):
    for output in profile.outputs:
        assert EXACT_TIMES.items() <= output.options.items()


def test_the_proxy_is_all_intra_and_starts_to_play_at_once():
    file, *_ = proxy(PLAIN, sound=SOUND).outputs
    wanted = {"c:v": "libx264", "g": 1, "bf": 0, "pix_fmt": "yuv420p", "movflags": "+faststart", "c:a": "aac", "b:a": "128k"}
    assert wanted.items() <= file.options.items()
    assert file.sound


def test_only_small_pictures_get_more_bits():
    usual, small = (
        proxy(SourceStreams(video=0, pixel_format="yuv420p", is_small=is_small)).outputs[0].options for is_small in (False, True)
    )
    assert {name for name in usual if usual[name] != small[name]} == {"crf"}
    assert int(small["crf"] or 0) < int(usual["crf"] or 0)


def test_a_source_without_sound_gets_no_sound_options():
    file, *_ = proxy(SourceStreams(video=0, pixel_format="yuv420p")).outputs
    assert not file.sound
    assert not [name for name in file.options if name in {"c:a", "b:a", "af", "ac"}]


def test_every_sound_is_kept_in_the_master():
    surround = SourceStreams(video=0, pixel_format="yuv420p", audio=1, audio_channels=6)
    assert gold_master(surround).outputs[0].options["c:a"] == "copy"
    assert gold_master(surround).outputs[0].audio == ("a?",)


def test_each_side_stream_is_one_raw_output_after_the_file():
    sides = (SideStream(48, 27, "rgb24", "area"), SideStream(256, 144, "bgr24"))
    profile = proxy(PLAIN, sides)
    assert len(profile.outputs) == 3
    for side, output in zip(sides, profile.outputs[1:], strict=True):
        scale, layout = output.filters
        assert (scale.options["width"], scale.options["height"], scale.options["flags"]) == (side.width, side.height, side.scale_flags)
        assert layout.options["pix_fmts"] == side.pixel_format
        assert output.options["f"] == "rawvideo"
    assert sides[0].frame_bytes == 48 * 27 * 3


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (PLAIN, ["crop", "format"]),
        (SourceStreams(video=0, pixel_format="yuv420p", interlaced=True), ["bwdif", "crop", "format"]),
        (SourceStreams(video=0, pixel_format="yuvj420p", color_range="pc"), ["crop", "scale", "format"]),
        (SourceStreams(video=0, pixel_format="gbrp"), ["crop", "scale", "format"]),
        (
            SourceStreams(video=0, pixel_format="yuv420p10le", color_transfer="smpte2084"),
            ["crop", "setparams", "format", "setparams", "zscale", "format", "zscale", "tonemap", "zscale", "format"],
        ),
    ],
    ids=["plain", "interlaced", "full range", "rgb", "hdr"],
)
def test_the_picture_is_treated_only_as_far_as_it_needs(streams: SourceStreams, expected: list[str]):
    assert [step.name for step in picture_filters(streams)] == expected


def test_what_an_hdr_file_leaves_unsaid_is_filled_in_before_it_is_tone_mapped():
    streams = SourceStreams(video=0, pixel_format="yuv420p10le", color_transfer="arib-std-b67", color_space="bt709")
    tags = picture_filters(streams)[3].options
    assert tags == {"color_trc": "arib-std-b67", "color_primaries": "bt2020", "colorspace": "bt709", "range": "tv"}


def test_the_master_stores_pixels_as_they_are():
    master = gold_master(PLAIN)
    assert master.filters == ()
    assert "noautorotate" in master.input_options
    assert master.background
    options = master.outputs[0].options
    assert (options["c:v"], options["g"], options["slicecrc"], options["c:a"]) == ("ffv1", 1, 1, "copy")
    assert "color_range" not in options


def test_full_range_is_said_twice_in_the_master_or_ffmpeg_compresses_it():
    master = gold_master(SourceStreams(video=0, pixel_format="yuvj420p", color_range="pc"))
    assert master.filters[0].options == {"in_range": "full", "out_range": "full"}
    assert master.outputs[0].options["color_range"] == "pc"


@pytest.mark.parametrize("profile", [proxy(PLAIN, sound=SOUND), master_export(PLAIN, sound=SOUND)], ids=lambda profile: profile.name)
def test_sound_that_comes_as_samples_is_moved_to_its_time_by_whole_samples(profile: Profile):
    assert profile.sound is not None
    assert profile.sound.input_options == {"f": "f32le", "ar": 48_000, "ch_layout": "stereo"}
    assert profile.outputs[0].options["af"] == "asetpts=PTS+24000"


@pytest.mark.parametrize(
    ("stored", "rotation", "shown"),
    [((160, 120), 0, (160, 120)), ((161, 121), 0, (160, 120)), ((854, 480), 90, (480, 854)), ((427, 241), 270, (240, 426))],
)
def test_the_shown_size_is_upright_and_even(stored: tuple[int, int], rotation: int, shown: tuple[int, int]):
    assert displayed_size(*stored, rotation) == shown


def test_pictures_beyond_the_levels_of_h264_are_told():
    assert treatment_notes(PLAIN, 8192, 4352) == []
    (note,) = treatment_notes(PLAIN, 8192, 4368)
    assert note.startswith("pictures of 8192x4368 pixels: larger than H.264 levels allow")


def test_nothing_is_said_of_a_source_that_is_taken_as_it_is():
    assert treatment_notes(PLAIN, 160, 120) == []


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        (SourceStreams(video=0, pixel_format="yuv420p", interlaced=True), "deinterlaced"),
        (SourceStreams(video=0, pixel_format="yuv420p10le", color_transfer="arib-std-b67"), "tone-mapped"),
        (SourceStreams(video=0, pixel_format="yuv420p", audio=1, audio_channels=6), "6 sound channels"),
        (PLAIN, "160x120 of them"),
    ],
)
def test_whatever_is_done_to_a_source_is_said(streams: SourceStreams, said: str):
    (note,) = treatment_notes(streams, *((161, 121) if streams is PLAIN else (160, 120)))
    assert said in note
