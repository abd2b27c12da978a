"""How gold masters are made and compared."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.archiving import (
    ArchivedSound,
    archiving_profile,
    compared_pixel_format,
    master_hashes_profile,
    original_hashes_profile,
)
from heaters_dagster.domain.profiles import SourceStreams


@pytest.mark.parametrize(
    ("pixel_format", "compared"),
    [
        ("yuv420p", "yuv420p"),
        ("yuvj422p", "yuv422p"),
        ("nv12", "nv12"),
        ("gbrp10le", "gbrp10le"),
        ("rgba", "rgba"),
        ("rgb565le", "rgb24"),
        ("bgr0", "rgb24"),
        ("pal8", "bgra"),
    ],
)
def test_frames_are_compared_in_the_originals_own_format_where_it_can_be_had_again(pixel_format: str, compared: str) -> None:
    assert compared_pixel_format(pixel_format) == compared


def test_the_master_and_its_proof_come_from_one_decoding() -> None:
    profile = archiving_profile(
        SourceStreams(video=2, pixel_format="yuv422p10le"), [ArchivedSound(0, "copy"), ArchivedSound(3, "pcm_s16le")]
    )
    master, frames, sounds = profile.outputs
    assert profile.video == "2"
    assert profile.background
    assert profile.input_options == {"noautorotate": None, "threads": 1}
    assert master.audio == sounds.audio == ("0", "3")
    assert {name: master.options[name] for name in ("c:a:0", "c:a:1")} == {"c:a:0": "copy", "c:a:1": "pcm_s16le"}
    assert frames.options["f"] == "framehash"
    assert "pix_fmt" not in frames.options
    assert not frames.filters
    assert not sounds.video


def test_a_silent_original_has_no_sound_hashes() -> None:
    source = SourceStreams(video=0, pixel_format="yuv420p")
    assert len(archiving_profile(source, []).outputs) == 2
    assert len(original_hashes_profile(source, []).outputs) == 1
    assert len(master_hashes_profile(source, []).outputs) == 1


def test_the_masters_frames_are_brought_back_into_the_originals_format() -> None:
    frames = master_hashes_profile(SourceStreams(video=4, pixel_format="uyvy422"), []).outputs[0]
    assert frames.options["pix_fmt"] == "uyvy422"
