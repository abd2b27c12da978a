"""What is said of the quality that a site offered and of the one that was taken."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.quality import MOST_OFFERED, Picture, Quality, codec_words

UHD = Picture(width=3840, height=2160, frame_rate=60.0, codec="av01.0.13M.10", dynamic_range="HDR10")
HD = Picture(width=1920, height=1080, frame_rate=30.0, codec="vp9")
SMALL = Picture(width=640, height=360, frame_rate=30.0, codec="avc1.42001E")


def quality(taken: Picture, *offered: Picture, **more: object) -> Quality:
    values: dict[str, object] = {"offered": offered or (taken,), "taken": taken, "limit": 4320, "order": "res:4320", **more}
    return Quality(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (quality(UHD, UHD, HD, sound="Opus"), "2160p60 AV1 HDR10, sound Opus of 2160p, 1080p: the best that the site offers"),
        (quality(HD), "1080p VP9: the only one that the site offers"),
        (quality(HD, UHD, HD, limit=1080), "1080p VP9 of 2160p, 1080p: the best up to HEATERS_DOWNLOAD_MAX_HEIGHT=1080"),
        (quality(UHD, UHD, limit=1080), "2160p60 AV1 HDR10: the best up to HEATERS_DOWNLOAD_MAX_HEIGHT=1080"),
        (quality(HD, protected=True), "1080p VP9: the best that is not protected against copying (DRM)"),
        (quality(SMALL, HD, SMALL, cause="the best broke off"), "360p H.264 of 1080p, 360p: the best broke off"),
        (quality(SMALL, HD, SMALL), "360p H.264 of 1080p, 360p: a better one, 1080p, could not be taken"),
    ],
)  # fmt: skip
def test_what_was_taken_of_what_was_offered_and_why(of: Quality, words: str) -> None:
    assert of.words == words


def test_a_drop_in_quality_is_told_but_not_a_limit_that_somebody_set() -> None:
    assert quality(SMALL, UHD, SMALL).drops() == ("the site offered 2160p and 360p was downloaded",)
    assert quality(SMALL, UHD, SMALL, cause="no room").drops() == ("the site offered 2160p and 360p was downloaded (no room)",)
    assert quality(HD, UHD, HD, limit=1080).drops() == ()
    assert quality(SMALL, UHD, HD, SMALL, limit=1080).drops() == ("the site offered 1080p and 360p was downloaded",)


def test_a_file_that_is_smaller_than_what_was_chosen_is_told() -> None:
    assert quality(UHD).with_arrived(SMALL).drops() == ("the site said 2160p, but the file that arrived has 360p",)
    assert quality(HD).with_arrived(Picture(width=1920, height=1012)).drops() == (), "black edges are cropped"
    portrait = Picture(width=1080, height=1920)
    assert quality(HD).with_arrived(portrait).drops() == (), "turned, and no less"


def test_it_is_kept_as_json() -> None:
    one = quality(SMALL, UHD, SMALL, sound="AAC", cause="because").with_arrived(SMALL)
    kept = one.to_json()
    assert Quality.from_json(kept) == one
    assert kept["why"] == "because"
    many = quality(HD, *(Picture(height=n) for n in range(1, 100)))
    assert len(many.to_json()["offered"]) == MOST_OFFERED
    assert Quality.from_json(None) is Quality.from_json({}) is Quality.from_json({"taken": 3, "offered": [{"x": 1}]}) is None


@pytest.mark.parametrize(
    ("codec", "words"), [("avc1.640028", "H.264"), ("hev1.1.6", "HEVC"), ("vp09.00.51", "VP9"), ("none", None), ("rv40.\x1b[2J", "rv40")]
)
def test_codecs_are_called_as_people_call_them(codec: str, words: str | None) -> None:
    assert codec_words(codec) == words
