"""What the features say of a cut, a flash, motion and a dissolve: each kind has one of them that tells it from the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.cut_features import REACH, picture_features

AT = 60


def picture(seed: int) -> NDArray[np.uint8]:
    grid = np.random.default_rng(seed).integers(0, 256, (7, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(grid, (48, 27), interpolation=cv2.INTER_LINEAR), np.uint8)


def still(seed: int, frames: int = 120) -> NDArray[np.uint8]:
    return np.repeat(picture(seed)[None], frames, axis=0)


def features(frames: NDArray[np.uint8], at: int = AT) -> dict[str, float]:
    names, rows = picture_features(frames)
    assert rows.shape == (len(frames) - 2 * REACH, len(names))
    assert np.isfinite(rows).all()
    return dict(zip(names, rows[at - REACH].tolist(), strict=True))


def cut() -> NDArray[np.uint8]:
    frames = still(1)
    frames[AT:] = picture(2)
    return frames


def test_a_cut_jumps_and_nothing_of_before_comes_back() -> None:
    told = features(cut())
    assert told["jump"] == pytest.approx(np.abs(picture(1).astype(int) - picture(2)).mean(), rel=1e-4)
    assert told["least_apart"] > 20
    assert told["least_apart_far"] > 20
    assert told["unlike_across"] > 0.3
    assert told["jump_over_greatest"] > 50
    beside = features(cut(), AT + 2)
    assert beside["jump"] == 0
    assert beside["least_apart"] == 0


@pytest.mark.parametrize("length", [1, 3, 9])
def test_a_flash_jumps_as_much_but_the_picture_comes_back(length: int) -> None:
    frames = still(1)
    frames[AT : AT + length] = 255
    for at in (AT, AT + length):
        told = features(frames, at)
        assert told["jump"] > 50
        assert min(told["least_apart"], told["least_apart_far"]) == 0
    assert features(frames)["across_16"] == 0


def test_fast_motion_jumps_but_hardly_beyond_where_things_were() -> None:
    wide = np.concatenate([picture(1), picture(2), picture(3)], axis=1)
    frames = np.stack([wide[:, place : place + 48] for place in (np.arange(120) * 4) % 96])
    moving, cutting = features(frames, 65), features(cut())
    assert moving["jump"] > 10
    assert moving["moved_jump"] < 0.2 * cutting["moved_jump"]


def test_the_middle_of_a_dissolve_is_a_mixture_and_that_of_a_motion_is_none() -> None:
    frames = still(1)
    for number in range(AT - 8, AT + 8):
        share = (number - AT + 8.5) / 16
        frames[number] = np.rint(picture(1) * (1 - share) + picture(2) * share)
    frames[AT + 8 :] = picture(2)
    told = features(frames)
    assert told["not_mixed_8"] < 0.05
    assert told["across_8"] > 20
    assert told["jump_over_near"] < 1.2
    other = still(1)
    other[AT] = picture(3)
    assert features(other)["not_mixed_8"] > 5


def test_a_change_of_light_leaves_the_structure_as_it_was() -> None:
    frames = still(1)
    frames[AT:] = np.rint(frames[AT:] * 0.5)
    told = features(frames)
    assert told["jump"] > 30
    assert told["unlike_across"] < 0.02
    assert told["brightness_change"] > 30


def barred(seed: int, *, rows: int = 0, columns: int = 0) -> NDArray[np.uint8]:
    shown = picture(seed).copy()
    if rows:
        shown[:rows] = shown[-rows:] = 0
    if columns:
        shown[:, :columns] = shown[:, -columns:] = 0
    return shown


@pytest.mark.parametrize("bars", [{"rows": 2}, {"rows": 5}, {"columns": 6}, {"rows": 3, "columns": 4}])
@pytest.mark.parametrize("come", [True, False])
def test_bars_that_come_or_go_jump_at_the_edges_alone(bars: dict[str, int], come: bool) -> None:
    frames = still(1)
    frames[slice(AT, None) if come else slice(0, AT)] = barred(1, **bars)
    told = features(frames)
    assert told["jump"] > 5
    assert told["bars_change"] > 0.1
    assert told["inside_jump"] == told["least_inside"] == told["inside_jump_6"] == 0
    assert told["unlike_inside"] < 1e-3


def test_another_picture_with_bars_jumps_inside_of_them_too() -> None:
    frames = still(1)
    frames[AT:] = barred(2, rows=4)
    told = features(frames)
    assert told["bars_change"] > 0.2
    assert told["least_inside"] > 20
    assert told["unlike_inside"] > 0.3


def test_a_dark_picture_has_no_bars() -> None:
    frames = still(1)
    frames[AT:] = 0
    assert features(frames)["bars_change"] == 0


def test_a_board_that_appears_changes_a_small_box_and_a_cut_the_whole_picture() -> None:
    frames = still(1)
    frames[AT:, 19:24, 3:40] = 250
    told = features(frames)
    assert told["changed_box"] < 0.25
    assert 0 < told["changed_share"] <= told["changed_box"]
    assert features(cut())["changed_box"] > 0.9
    assert features(still(1))["changed_box"] == 0
