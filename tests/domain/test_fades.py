"""Fades through a plain picture, told by the contrast alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.fades import Fade, fades, one_for_each_fade, whole_range


def contrast(*parts: tuple[float, float, int]) -> NDArray[np.float32]:
    """Runs (from, to, frames), a level of each frame; then as the features have it: of a frame and the one before it the smaller."""
    levels = np.concatenate([np.linspace(start, end, count, endpoint=False) for start, end, count in parts])
    return np.minimum(levels, np.concatenate([levels[:1], levels[:-1]])).astype(np.float32)


THROUGH_BLACK = contrast((50, 50, 40), (50, 0, 16), (0, 0, 10), (0, 60, 16), (60, 60, 40))


def test_a_fade_has_the_frames_of_both_halves_and_its_cut_among_the_plain_ones() -> None:
    (fade,) = fades(THROUGH_BLACK)
    assert (fade.first, fade.last) == pytest.approx((40, 82), abs=3)
    assert fade.plain_first <= fade.middle <= fade.plain_last
    assert fade.middle == pytest.approx(61, abs=2)


def test_what_is_found_in_both_halves_is_one_cut_as_sure_as_the_surer() -> None:
    column = np.zeros(len(THROUGH_BLACK), np.float32)
    column[[20, 48, 74, 110]] = 0.4, 0.7, 0.9, 0.8
    (fade,) = fades(THROUGH_BLACK)
    moved = one_for_each_fade(column, THROUGH_BLACK)
    assert {int(frame): round(float(moved[frame]), 2) for frame in np.flatnonzero(moved)} == {20: 0.4, fade.middle: 0.9, 110: 0.8}


def test_a_fade_in_which_nothing_is_found_stays_without_a_cut() -> None:
    assert not one_for_each_fade(np.zeros(len(THROUGH_BLACK), np.float32), THROUGH_BLACK).any()


@pytest.mark.parametrize(
    "levels",
    [
        contrast((50, 50, 40), (0, 0, 20), (50, 50, 40)),
        contrast((50, 50, 40), (0, 0, 2), (50, 50, 40)),
        contrast((50, 50, 40), (50, 0, 16), (0, 0, 20), (50, 50, 40)),
        contrast((50, 50, 40), (50, 0, 16), (0, 0, 30)),
        contrast((0, 0, 30), (0, 50, 16), (50, 50, 40)),
        contrast((50, 50, 40), (50, 0, 16), (0, 0, 150), (0, 50, 16), (50, 50, 40)),
        contrast((50, 50, 40), (50, 20, 16), (20, 50, 16), (50, 50, 40)),
    ],
    ids=["cuts to and from black", "a flash", "a fade out and a cut", "the end", "the beginning", "a long black shot", "never plain"],
)
def test_other_plain_pictures_are_no_fades(levels: NDArray[np.float32]) -> None:
    assert fades(levels) == ()


def test_motion_makes_the_ramps_waver_and_they_are_still_ramps() -> None:
    wavering = THROUGH_BLACK * (1 + 0.03 * np.random.default_rng(3).standard_normal(len(THROUGH_BLACK)).astype(np.float32))
    (fade,) = fades(wavering.astype(np.float32))
    assert (fade.first, fade.last) == pytest.approx((40, 82), abs=5)


def test_a_fade_knows_what_belongs_to_it() -> None:
    fade = Fade(10, 40, 22, 28)
    assert (fade.has(8), fade.has(42), fade.has(7), fade.has(43)) == (True, True, False, False)


WHOLE = (0, 10_000)


@pytest.mark.parametrize(
    ("levels", "seen", "expected"),
    [
        (contrast((50, 50, 60), (50, 0, 16), (0, 0, 10), (0, 60, 16), (60, 60, 60)), (70, 95), (60, 101)),
        (contrast((40, 40, 120), (40, 0, 90), (0, 0, 8), (0, 60, 12), (60, 60, 60)), (185, 225), (120, 229)),
        (contrast((9, 9, 120), (9, 0, 70), (0, 0, 8), (0, 60, 12), (60, 60, 60)), (170, 205), (120, 209)),
        (contrast((50, 50, 60), (0, 0, 30), (0, 50, 30), (50, 50, 60)), (88, 112), (60, 119)),
        (contrast((50, 50, 60), (50, 0, 30), (0, 0, 30), (50, 50, 60)), (70, 92), (60, 119)),
        (contrast((50, 50, 60), (50, 8, 30), (8, 60, 30), (60, 60, 60)), (75, 110), (60, 119)),
    ],
    ids=["short halves", "a slow fade out", "of a dark shot", "a cut to black", "a cut out of black", "never plain"],
)
def test_a_fade_begins_where_the_contrast_leaves_its_level_and_ends_where_it_is_level_again(
    levels: NDArray[np.float32], seen: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert whole_range(levels, *seen, WHOLE) == pytest.approx(expected, abs=2)
    wavering = levels * (1 + 0.05 * np.sin(np.arange(len(levels)) / 3).astype(np.float32))
    assert whole_range(wavering.astype(np.float32), *seen, WHOLE) == pytest.approx(expected, abs=6)


def test_a_fade_does_not_reach_over_the_next_cut() -> None:
    levels = contrast((30, 30, 20), (55, 55, 20), (50, 0, 30), (0, 0, 8), (0, 60, 12), (60, 60, 60))
    assert whole_range(levels, 55, 85, (20, 200)) == pytest.approx((40, 89), abs=2)
    assert whole_range(levels, 55, 85, (45, 80))[0] >= 45


def test_where_nothing_is_faded_the_range_stays() -> None:
    assert whole_range(contrast((50, 40, 30), (40, 60, 30)), 28, 33, WHOLE) == (28, 33)
    assert whole_range(contrast((50, 50, 30)), 40, 45, WHOLE) == (40, 45)
