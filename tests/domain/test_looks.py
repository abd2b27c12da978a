"""Looks: the same for the same frame, nearly the same for a copy of it, different for another picture."""

from __future__ import annotations

import numpy as np
import pytest

from heaters_dagster.domain import looks
from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.looks import BITS, SAMPLES, TOLERANCE_BITS, Likeness


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """(count, 27, 48, 3): parts of different brightness, with soft edges between them."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (count, 5, 7))
    rows, columns = (np.linspace(0, side - 1, size) for side, size in ((5, 27), (7, 48)))
    low_y, low_x = np.minimum(rows.astype(int), 3), np.minimum(columns.astype(int), 5)
    y, x = (rows - low_y)[:, None], (columns - low_x)[None, :]
    corners = [coarse[:, low_y + dy][:, :, low_x + dx] for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1))]
    soft = corners[0] * (1 - y) * (1 - x) + corners[1] * (1 - y) * x + corners[2] * y * (1 - x) + corners[3] * y * x
    return np.repeat(soft[..., None], 3, axis=3).round().astype(np.uint8)


def with_noise(frames: np.ndarray, levels: float, seed: int = 9) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, levels, frames.shape)
    return np.clip(frames + noise, 0, 255).round().astype(np.uint8)


def test_the_same_picture_has_the_same_hash_and_look_and_a_copy_nearly_the_same_look() -> None:
    frames = pictures(40)
    one, again, copy, other = (looks.looks_of(some) for some in (frames, frames.copy(), with_noise(frames, 3), pictures(40, seed=1)))
    assert (one.exact == again.exact).all()
    assert len(np.unique(one.exact)) == 40
    assert not (one.exact == copy.exact).any()
    assert looks.differing_bits(one.look, again.look).max() == 0
    assert looks.differing_bits(one.look, copy.look).max() <= TOLERANCE_BITS
    assert looks.differing_bits(one.look, other.look).min() > TOLERANCE_BITS
    assert one.look.shape == (40, BITS // 8)


def test_an_even_picture_says_nothing() -> None:
    black = looks.looks_of(np.zeros((3, 27, 48, 3), np.uint8))
    grain = looks.looks_of(with_noise(np.full((3, 27, 48, 3), 40, np.uint8), 1.5))
    assert not looks.is_telling(black.look).any()
    assert not looks.is_telling(grain.look).any()
    assert looks.is_telling(looks.looks_of(pictures(5)).look).all()


def test_the_file_of_looks_is_read_back_and_a_damaged_one_is_refused() -> None:
    made = looks.joined([looks.looks_of(pictures(3)), looks.looks_of(pictures(0)), looks.looks_of(pictures(2, seed=4))])
    read = looks.decoded(looks.encoded(made))
    assert (read.exact == made.exact).all()
    assert (read.look == made.look).all()
    assert len(looks.decoded(looks.encoded(looks.joined([])))) == 0
    for damaged in (b"", b"{}", looks.encoded(made)[:-1], b"null\n", b'{"version": 2, "frame_count": 0, "size": [48, 27]}\n'):
        with pytest.raises(InvalidMediaError, match="no file of looks"):
            looks.decoded(damaged)


def test_the_frames_that_are_compared_are_those_of_the_same_moments_at_any_frame_rate() -> None:
    frames = pictures(64)
    slow, fast = looks.looks_of(frames), looks.looks_of(np.repeat(frames, 2, axis=0))
    one = looks.sampled(slow, np.arange(64) / 25, 64 / 25)
    other = looks.sampled(fast, np.arange(128) / 50, 64 / 25)
    assert one.shape == (SAMPLES, BITS // 8)
    assert looks.likeness(one, other) == Likeness(SAMPLES, SAMPLES)


@pytest.mark.parametrize(
    ("alike", "compared", "is_hint"), [(16, 16, True), (13, 16, True), (12, 16, False), (4, 4, True), (3, 3, False), (0, 0, False)]
)
def test_four_telling_frames_and_four_fifths_of_them_make_a_hint(alike: int, compared: int, is_hint: bool) -> None:
    assert Likeness(alike, compared).is_hint is is_hint


def test_black_videos_are_not_said_to_be_alike_and_a_black_one_is_not_like_another() -> None:
    black = looks.looks_of(np.zeros((SAMPLES, 27, 48, 3), np.uint8)).look
    scenes = looks.looks_of(pictures(SAMPLES)).look
    assert looks.likeness(black, black) == Likeness(0, 0)
    assert looks.likeness(black, scenes) == Likeness(0, SAMPLES)


def test_lengths_are_the_same_within_a_frame() -> None:
    assert looks.same_length(10.0, 10.04, frame_seconds=0.04)
    assert not looks.same_length(10.0, 10.05, frame_seconds=0.04)
