"""The fusion's own rules: where it looks, how its trees decide, and that one transition is one boundary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.cut_features import REACH, picture_features
from heaters_dagster.domain.cut_fusion import (
    BASE,
    FLASH,
    PAGE,
    WIPE,
    Doubted,
    Features,
    Places,
    Trees,
    calibrated,
    fused,
    hard_places,
    show_again,
    stretches,
    with_hard_chances,
)


def features(chance: dict[int, float], *, cuts: tuple[int, ...] = (), frames: int = 100) -> Features:
    """Plain pictures that change at `cuts`; the network's first head says `chance`, its second the same."""
    numbers = np.searchsorted(cuts, np.arange(frames), side="right")
    shown = np.random.default_rng(4).integers(0, 256, (len(cuts) + 1, 27, 48, 3)).astype(np.uint8)[numbers]
    names, rows = picture_features(np.concatenate([np.repeat(shown[:1], REACH, axis=0), shown, np.repeat(shown[-1:], REACH, axis=0)]))
    column = np.zeros(frames, np.float32)
    for frame, value in chance.items():
        column[frame] = value
    return Features(names, rows, column, column)


def by(names: tuple[str, ...], name: str, threshold: float, low: float, high: float) -> Trees:
    """One tree of one question."""
    return Trees(
        names,
        np.array([[names.index(name), -1, -1]], np.int16),
        np.array([[threshold, 0, 0]], np.float32),
        np.array([[1, 0, 0]], np.int16),
        np.array([[2, 0, 0]], np.int16),
        np.array([[0, low, high]], np.float32),
        0.0,
    )


def models(of: Features, *, stretch_high: float = 3.0) -> tuple[Trees, Trees]:
    """A hard cut where the network is above 0.3; a stretch with a chance above 0.5."""
    hard = by(hard_places(of).names, "chance", 0.3, -6.0, 2.0)
    runs = with_hard_chances(stretches(of), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return hard, by(runs.names, "greatest_chance", 0.5, -6.0, stretch_high)


def found(column: NDArray[np.float32]) -> list[int]:
    return [int(frame) for frame in np.flatnonzero(column > 0.5)]


def test_a_hard_place_is_where_the_network_suspects_or_the_picture_alone_jumps() -> None:
    assert hard_places(features({}, cuts=(50,))).frames.tolist() == [50]
    assert hard_places(features({49: 0.5}, cuts=(50,))).frames.tolist() == [50]
    assert hard_places(features({49: 0.5})).frames.tolist() == []


def test_a_stretch_is_a_run_of_the_network_and_small_gaps_are_part_of_it() -> None:
    runs = stretches(features(dict.fromkeys([*range(20, 26), *range(28, 34), 60], 0.6)))
    assert list(zip(runs.first.tolist(), runs.last.tolist(), strict=True)) == [(20, 33), (60, 60)]
    assert runs.rows[0, runs.names.index("length")] == 14


def test_a_tree_goes_left_when_a_feature_is_not_above_its_threshold() -> None:
    places = Places(("a", "b"), *(np.arange(3),) * 3, np.array([[0, 1], [0, 2], [9, 2.5]], np.float32))
    chances = by(("a", "b"), "b", 2.0, -1.0, 1.0).chances(places)
    assert chances == pytest.approx([0.2689, 0.2689, 0.7311], abs=1e-4)
    assert replace(by(("a", "b"), "b", 2.0, -1.0, 1.0), baseline=5.0).chances(places)[0] == pytest.approx(0.982, abs=1e-3)


def test_a_model_of_other_features_is_refused() -> None:
    with pytest.raises(ValueError, match="make it anew"):
        by(("a", "b"), "b", 2.0, -1.0, 1.0).chances(hard_places(features({}, cuts=(50,))))


def test_a_model_is_the_same_after_it_was_kept_as_arrays() -> None:
    trees = by(("a", "b"), "b", 2.0, -1.0, 1.0)
    again = Trees.from_arrays(trees.to_arrays())
    places = Places(("a", "b"), *(np.arange(2),) * 3, np.array([[0, 1], [9, 2.5]], np.float32))
    assert again.names == trees.names
    np.testing.assert_array_equal(again.chances(places), trees.chances(places))


def test_the_stretch_knows_the_greatest_chance_of_the_hard_places_in_it() -> None:
    runs = stretches(features(dict.fromkeys(range(20, 30), 0.6)))
    seen = with_hard_chances(runs, np.array([5, 19, 31, 40]), np.array([0.9, 0.2, 0.4, 0.8], np.float32))
    assert seen.names[:2] == ("hard_chance", "sum_of_hard_chances")
    assert seen.rows[0, :2] == pytest.approx([0.4, 0.6])


def test_a_hard_cut_is_one_boundary_at_its_frame_as_sure_as_the_model_of_its_stretch() -> None:
    one = features({49: 0.9, 48: 0.4}, cuts=(50,))
    column = fused(one, *models(one))
    assert found(column) == [50]
    assert column[50] == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_a_dissolve_is_one_boundary_in_its_middle() -> None:
    one = features(dict.fromkeys(range(40, 60), 0.8))
    assert found(fused(one, *models(one))) == [50]


def test_what_the_model_of_stretches_does_not_believe_is_no_boundary() -> None:
    one = features({49: 0.9}, cuts=(50,))
    assert found(fused(one, *models(one, stretch_high=-3.0))) == []


def test_shots_of_two_frames_are_shots_but_not_at_an_end_of_the_video() -> None:
    one = features({1: 0.9, 29: 0.9, 31: 0.9, 33: 0.9, 97: 0.9}, cuts=(2, 30, 32, 34, 98))
    hard, stretch = models(one)
    assert found(fused(one, hard, replace(stretch, value=np.full_like(stretch.value, 2.0)))) == [30, 32, 34]


OVERLAID = ("bars_change", "changed_box", "apart_before", "apart_after", "a", "inside_over_usual", "unlike_inside")


def overlaid(*, bars: float, box: float = 1.0, moves: float = 0.0, base: float = 1.0, inside: float = 5.0, unlike: float = 0.8) -> Places:
    return Places(OVERLAID, *(np.zeros(1, np.int64),) * 3, np.array([[bars, box, moves, 0.0, base, inside, unlike]], np.float32))


@pytest.mark.parametrize(("inside", "unlike", "cut"), [(0.5, 0.02, False), (5.0, 0.02, True), (0.5, 0.6, True)])
def test_bars_that_come_or_go_while_the_picture_goes_on_are_no_cut_however_sure_the_models_are(
    inside: float, unlike: float, cut: bool
) -> None:
    sure = by(OVERLAID, "a", 0.5, -2.0, 5.0)
    chance = float(Doubted(sure, sure).chances(overlaid(bars=0.2, inside=inside, unlike=unlike))[0])
    assert (chance > 0.9) == cut
    assert (chance < 0.05) != cut


@pytest.mark.parametrize(
    ("bars", "box", "moves", "doubted"), [(0.0, 1.0, 3.0, False), (0.2, 1.0, 0.0, True), (0.0, 0.2, 3.0, True), (0.0, 0.2, 0.0, False)]
)
def test_a_cut_is_doubted_only_where_a_part_of_the_picture_changes_and_never_believed_more(
    bars: float, box: float, moves: float, doubted: bool
) -> None:
    base = by(OVERLAID, "a", 0.5, -2.0, 2.0)
    doubts = by((BASE, "a"), "a", 0.5, 3.0, -3.0)
    model = Doubted(base, doubts)
    sure, unsure = (float(model.chances(overlaid(bars=bars, box=box, moves=moves, base=value))[0]) for value in (1.0, 0.0))
    assert sure == pytest.approx(1 / (1 + np.exp(3.0 if doubted else -2.0)), abs=1e-5)
    assert unsure == pytest.approx(1 / (1 + np.exp(2.0)), abs=1e-5)


def test_a_long_stretch_is_not_doubted_because_of_a_box() -> None:
    of = features(dict.fromkeys(range(40, 60), 0.8))
    hard, stretch = models(of)
    runs = with_hard_chances(stretches(of), np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert Doubted(stretch, by(runs.names, "length", -1.0, -9.0, -9.0)).chances(runs) == pytest.approx(stretch.chances(runs))
    assert hard.chances(hard_places(of)).shape == (0,)


def test_calibration_is_a_line_between_logits_and_leaves_nothing_as_it_is() -> None:
    column = np.array([0.0, 0.5, 0.9], np.float32)
    assert calibrated(column, 1.0, 0.0) == pytest.approx(column, abs=1e-6)
    assert calibrated(column, 2.0, -1.0) == pytest.approx([0.0, 1 / (1 + np.e), 81 / (81 + np.e)], abs=1e-4)


@pytest.mark.parametrize(("chance", "flash", "expected"), [({}, None, [50]), ({48: 0.9}, None, [49]), ({}, 44, [])])
def test_a_wipe_that_the_pictures_show_is_one_cut_unless_another_is_found_or_light_flashes(
    chance: dict[int, float], flash: int | None, expected: list[int]
) -> None:
    seen = features(chance, cuts=(49,) if chance else ())
    own = np.zeros((len(seen.pictures), 2), np.float32)
    own[50, 1] = 20
    if flash is not None:
        own[flash, 0] = 1
    seen = replace(seen, names=(*seen.names, FLASH, WIPE), pictures=np.concatenate([seen.pictures, own], axis=1))
    assert found(fused(seen, *models(seen))) == expected


def test_rows_of_a_film_with_repeats_come_to_their_frames_and_a_wipe_has_all_of_them() -> None:
    names = ("jump", "structure_jump", "jump_over_greatest", "structure_jump_over_greatest", WIPE, PAGE, "contrast")
    shown = np.ones((400, len(names)), np.float16)
    shown[:160, -1] = np.arange(160)
    shown[:160, names.index(WIPE)] = 10 * (np.arange(160) == 20)
    repeats = np.resize([False, True, False, True, True], 400)
    show_again(names, shown, repeats)
    assert shown[:, -1].tolist() == np.repeat(np.arange(160), np.resize([2, 3], 160)).tolist()
    assert (shown[:, 0] == ~repeats).all()
    (middle,) = np.flatnonzero(shown[:, names.index(WIPE)])
    length = int(shown[middle, names.index(WIPE)])
    # The pictures 15 to 24.
    assert (middle - length // 2, length) == (37, 25)
