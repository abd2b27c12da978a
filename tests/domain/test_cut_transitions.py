"""Kinds and frames of transitions: how they are kept in a column, and what the network's second head alone tells of them."""

from __future__ import annotations

import numpy as np
import pytest

from heaters_dagster.domain.cut_features import REACH, picture_features
from heaters_dagster.domain.cut_fusion import Features, Trees
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cut_transitions import (
    KINDS,
    TransitionModels,
    as_column,
    from_column,
    told_by_the_network,
    transition_places,
    transitions_at,
)


def part(*runs: tuple[int, int], frames: int = 120) -> np.ndarray:
    column = np.zeros(frames, np.float32)
    for first, last in runs:
        column[first : last + 1] = 0.9
    return column


def features(*runs: tuple[int, int], frames: int = 120) -> Features:
    shown = np.repeat(np.random.default_rng(3).integers(0, 256, (1, 27, 48, 3)).astype(np.uint8), frames + 2 * REACH, axis=0)
    names, rows = picture_features(shown)
    return Features(names, rows, part(*runs, frames=frames), part(*runs, frames=frames))


def saying(names: tuple[str, ...], value: float) -> Trees:
    """One tree that is a leaf."""
    return Trees(
        names,
        *(
            np.array([[number]], dtype)
            for number, dtype in ((-1, np.int16), (0, np.float32), (0, np.int16), (0, np.int16), (value, np.float32))
        ),
        0.0,
    )


def models(names: tuple[str, ...], kind: CutKind, *, before: float = 0, after: float = 0) -> TransitionModels:
    return TransitionModels({one: saying(names, float(one == kind)) for one in KINDS}, saying(names, before), saying(names, after))


def told(of: Features, frames: list[int], kind: CutKind, sure: list[float] | None = None, **ends: float) -> tuple[Transition, ...]:
    at = np.array(frames)
    names = transition_places(of, at).names
    return transitions_at(of, at, np.array(sure or [0.9] * len(frames), np.float32), models(names, kind, **ends))


def test_a_gradual_transition_has_the_frames_of_the_networks_run_as_the_models_correct_it() -> None:
    of = features((40, 59))
    assert told(of, [50], CutKind.DISSOLVE) == (Transition(CutKind.DISSOLVE, 40, 59),)
    assert told(of, [50], CutKind.FADE, before=2.2, after=-1.4) == (Transition(CutKind.FADE, 38, 58),)


def test_a_hard_cut_has_no_frames_of_its_own() -> None:
    assert told(features((49, 49)), [50], CutKind.HARD) == (Transition(CutKind.HARD),)


def test_a_range_always_has_its_boundary_and_ends_half_way_to_a_neighbour_that_is_as_sure() -> None:
    of = features((40, 79))
    assert told(of, [50, 70], CutKind.WIPE) == (Transition(CutKind.WIPE, 40, 59), Transition(CutKind.WIPE, 60, 79))
    surer, other = told(of, [50, 70], CutKind.WIPE, [0.9, 0.1])
    assert surer == Transition(CutKind.WIPE, 40, 79)
    assert other.frames is not None
    assert other.frames[0] == 60
    (alone,) = told(features(), [50], CutKind.DISSOLVE)
    assert alone == Transition(CutKind.DISSOLVE, 50, 50)


@pytest.mark.parametrize("black", [3, 8])
def test_a_fade_out_to_black_that_ends_at_once_ends_before_the_first_whole_frame(black: int) -> None:
    """What is trimmed by this range must not take a frame that shows the new shot alone."""
    shots = np.random.default_rng(5).integers(0, 256, (2, 27, 48, 3)).astype(np.float32)
    frames = np.repeat(shots[:1], REACH + 120 + REACH, axis=0)
    begin, cut = REACH + 40, REACH + 52 + black
    frames[begin : begin + 12] *= (1 - np.arange(1, 13, dtype=np.float32) / 13)[:, None, None, None]
    frames[begin + 12 : cut] = 0
    frames[cut:] = shots[1]
    names, rows = picture_features(np.rint(frames).astype(np.uint8))
    run = part((40, 52 + black))
    of = Features(names, rows, run, run)
    (found,) = told(of, [52 + black], CutKind.FADE)
    assert found == Transition(CutKind.FADE, 40, 51 + black)
    column = as_column(np.array([52 + black]), np.array([0.9], np.float32), [found], 120)
    assert from_column(column.astype(np.float16).astype(np.float32), [52 + black]) == (found,)


@pytest.mark.parametrize(
    "transitions",
    [
        {30: Transition(CutKind.HARD), 60: Transition(CutKind.DISSOLVE, 50, 75), 90: Transition(CutKind.JUMP)},
        {40: Transition(CutKind.FADE, 30, 49), 60: Transition(CutKind.FADE, 50, 70)},
        {1: Transition(CutKind.WIPE, 0, 5), 118: Transition(CutKind.WIPE, 100, 119)},
        {50: Transition(CutKind.DISSOLVE, 50, 50), 51: Transition(CutKind.HARD)},
        {50: Transition(CutKind.FADE, 40, 49), 51: Transition(CutKind.HARD)},
        {40: Transition(CutKind.FADE, 30, 39), 60: Transition(CutKind.FADE, 50, 59), 80: Transition(CutKind.FADE, 70, 90)},
        {},
    ],
)
def test_what_is_kept_in_the_column_is_read_back(transitions: dict[int, Transition]) -> None:
    frames = list(transitions)
    column = as_column(np.array(frames, int), np.full(len(frames), 0.9, np.float32), list(transitions.values()), 120)
    assert from_column(column.astype(np.float16).astype(np.float32), frames) == tuple(transitions.values())


def test_a_doubtful_boundary_in_a_dissolve_does_not_divide_it() -> None:
    dissolve, doubtful = Transition(CutKind.DISSOLVE, 40, 60), Transition(CutKind.HARD)
    column = as_column(np.array([45, 50]), np.array([0.1, 0.9], np.float32), [doubtful, dissolve], 120)
    assert from_column(column, [50]) == (dissolve,)


def test_a_boundary_of_which_nothing_was_kept_has_no_transition() -> None:
    assert from_column(np.zeros(120, np.float32), [50]) == (None,)


def test_the_second_head_alone_tells_what_takes_time_and_what_does_not() -> None:
    frames = [20, 50, 90]
    assert told_by_the_network(part((19, 19), (40, 59)), frames) == (
        Transition(CutKind.HARD),
        Transition(CutKind.DISSOLVE, 40, 59),
        Transition(CutKind.HARD),
    )
    assert told_by_the_network(part((40, 79)), [50, 70]) == (Transition(CutKind.DISSOLVE, 40, 59), Transition(CutKind.DISSOLVE, 60, 79))
    assert told_by_the_network(part((0, 119)), [60]) == (Transition(CutKind.DISSOLVE, 0, 119),)
