"""Metadata as an operator reads it."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from assets import metadata, pictures
from heaters_dagster.domain.scenes import CutSettings
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings

C = ClipState


@pytest.mark.parametrize(
    ("byte_count", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.00 KiB"), (187_678, "183.28 KiB"), (3 * 2**29, "1.50 GiB"), (2**60, "1048576.00 TiB")],
)
def test_sizes(byte_count: int, shown: str) -> None:
    assert metadata.size(byte_count) == shown


def test_ratios_have_two_digits() -> None:
    assert metadata.times(3_000, 2_000).value == "1.50"
    assert metadata.times(3_000, None).value == "not known"


def test_the_kind_of_store_is_named() -> None:
    assert metadata.store(Settings(bucket="films")).value == "bucket films"
    assert str(metadata.store(Settings()).value).startswith("local folder /")


def test_a_link_stands_in_dagster_only_when_it_holds_for_good() -> None:
    here = metadata.review_link(Settings(review_port=8700), 3)["review"].value
    assert "8700" not in str(here)
    shared = Settings.from_environment({"HEATERS_REVIEW_URL": "https://review.example.org/app/"})
    assert metadata.review_link(shared, 3)["review"].value == "https://review.example.org/app/?video=3"


def test_totals_are_those_of_all_clips() -> None:
    counts = {C.PENDING_REVIEW: 4, C.REVIEW_APPROVED: 1, C.EXPORTED: 2, C.EMBEDDED: 3, C.EXPORT_FAILED: 1, C.REVIEW_SKIPPED: 5}
    shown = [value.value for value in metadata.totals(counts).values()]
    assert shown == [16, 4, 7, 5, 3, 1]
    assert (metadata.made_by(EXPORTS, counts), metadata.waiting(counts)) == (5, 8)
    assert metadata.waiting_words(counts) == "clips wait: 4 for review, 4 that are approved for the next stage"


@pytest.mark.parametrize(("width", "height"), [(160, 90), (30, 90), (400, 90), (1, 1)])
def test_pictures_in_dagster_s_database_are_small_however_full_of_detail(width: int, height: int) -> None:
    """Each is stored three times for each video, for years."""
    noise = np.random.default_rng(0).integers(0, 255, (6, height, width, 3), dtype=np.uint8)
    shown = pictures.frames({40 * number: picture for number, picture in enumerate(noise)})
    files = [base64.b64decode(found) for found in re.findall(r"!\[frame \d+\]\(data:image/webp;base64,([A-Za-z0-9+/=]+)\)", shown)]
    assert len(files) == 6
    assert sum(map(len, files)) <= pictures.MOST_BYTES
    assert all(file.startswith(b"RIFF") for file in files)


def test_the_plot_of_restless_scores_is_small_too() -> None:
    scores = np.random.default_rng(0).uniform(0, 1, 200_000).astype(np.float32)
    shown = pictures.score_plot({"transnetv2": scores}, CutSettings("transnetv2", 0.35, 2), list(range(0, 200_000, 100)))
    assert len(shown) < 2 * pictures.MOST_BYTES
