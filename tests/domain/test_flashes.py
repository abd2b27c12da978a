"""Flashes are taken out of a shot that goes on, and out of nothing else."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.flashes import MOST_FRAMES, Calmed, speak_of_flashes

Frames = NDArray[np.uint8]
FRAMES = 60
WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (230, 20, 30)


def shot(seed: int, frames: int = FRAMES, *, speed: float = 0.5) -> Frames:
    """A picture of large parts that moves sideways by so many pixels a frame."""
    parts = np.random.default_rng(seed).integers(20, 200, (3, 24, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(parts, 9, axis=0), 16, axis=1)
    return np.stack([wide[:, int(speed * number) :][:, :48] for number in range(frames)])


def lit(frames: Frames, at: NDArray[np.bool_], light: tuple[int, int, int] | float) -> Frames:
    """With a plain picture at these frames, or so many times as bright."""
    shown = frames.astype(np.float32)
    shown[at] = shown[at] * light + 20 if isinstance(light, float) else light
    return np.clip(shown, 0, 255).astype(np.uint8)


def strobe(on: int, off: int, *, first: int = 9, last: int = 50) -> NDArray[np.bool_]:
    number = np.arange(FRAMES)
    return (number >= first) & (number <= last) & ((number - first) % (on + off) < on)


def calmed(frames: Frames, *, at_once: int = 1000) -> tuple[Frames, NDArray[np.bool_]]:
    stream = Calmed()
    parts = [stream.feed(frames[at : at + at_once]) for at in range(0, len(frames), at_once)] + [stream.finish()]
    return np.concatenate([shown for shown, _ in parts]), np.concatenate([flashes for _, flashes in parts])


def greatest_jump(frames: Frames) -> float:
    return float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3)).max())


@pytest.mark.parametrize("light", [WHITE, BLACK, RED, 1.8, 0.1], ids=["white", "black", "red", "brighter", "darker"])
@pytest.mark.parametrize(("on", "off"), product((1, 2, 3, 6), (1, 3, 6)))
def test_a_strobe_of_any_rate_leaves_a_shot_that_moves_as_before(on: int, off: int, light: tuple[int, int, int] | float) -> None:
    frames, flashes = shot(1), strobe(on, off)
    shown, told = calmed(lit(frames, flashes, light))
    assert np.array_equal(told, flashes)
    assert np.array_equal(shown[~told], frames[~told])
    assert greatest_jump(shown) < 1.5 * greatest_jump(frames)


@pytest.mark.parametrize("steps", [1, 7])
def test_what_is_told_does_not_depend_on_how_the_frames_come(steps: int) -> None:
    frames = lit(shot(1), strobe(3, 3), WHITE)
    for one, other in zip(calmed(frames), calmed(frames, at_once=steps), strict=True):
        assert np.array_equal(one, other)


def test_a_cut_at_the_end_of_a_strobe_stays() -> None:
    first, second = shot(1), shot(2)
    shown, told = calmed(np.concatenate([lit(first, strobe(1, 1, last=FRAMES - 2), WHITE), second]))
    assert told.sum() == strobe(1, 1, last=FRAMES - 2).sum()
    jumps = np.abs(np.diff(shown.astype(np.float32), axis=0)).mean((1, 2, 3))
    assert jumps.argmax() == FRAMES - 1
    assert np.sort(jumps)[-2] < jumps.max() / 2


@pytest.mark.parametrize("white", [1, 4])
def test_white_frames_between_two_shots_stay(white: int) -> None:
    second = lit(shot(2), np.arange(FRAMES) < white, WHITE)
    frames = np.concatenate([shot(1), second])
    shown, told = calmed(frames)
    assert not told.any()
    assert np.array_equal(shown, frames)


def test_a_picture_that_is_hidden_for_longer_stays() -> None:
    frames = lit(shot(1), strobe(MOST_FRAMES + 1, 40), BLACK)
    assert not calmed(frames)[1].any()


@pytest.mark.parametrize("light", [WHITE, BLACK], ids=["white", "black"])
def test_a_fade_out_and_in_is_no_flash(light: tuple[int, int, int]) -> None:
    share = np.clip(np.abs(np.arange(FRAMES) - 30) / 16, 0, 1)[:, None, None, None]
    frames = (shot(1) * share + np.array(light) * (1 - share)).astype(np.uint8)
    assert not calmed(frames)[1].any()


def test_motion_is_no_flash() -> None:
    assert not calmed(shot(1, 50, speed=6))[1].any()


def test_the_network_is_not_asked_within_a_strobe_but_at_a_cut_in_it() -> None:
    flashes = np.isin(np.arange(40), [10, 11, 16, 17, 22, 23, 36])
    jump, structure = np.full(40, 2, np.float32), np.full(40, 0.05, np.float32)
    told = speak_of_flashes(flashes, jump, structure)
    assert np.flatnonzero(told).tolist() == [*range(8, 25), *range(34, 38)]
    jump[19], structure[19] = 50, 0.9
    assert np.flatnonzero(speak_of_flashes(flashes, jump, structure) != told).tolist() == [17, 18, 19, 20]


@pytest.mark.parametrize(("stood", "page", "is_flash"), [(12, 6, False), (12, 2, True), (2, 6, True)])
def test_a_plain_page_between_pages_that_stand_is_no_flash(stood: int, page: int, is_flash: bool) -> None:
    """A heading alone on a coloured page, between two pages of one design, at one frame a second."""
    full = shot(1, 1)[0]
    heading = np.full_like(full, 235)
    heading[12:15, 12:30] = 90
    frames = np.concatenate([np.repeat(one[None], times, axis=0) for one, times in ((full, stood), (heading, page), (full, 20))])
    shown, flashes = calmed(frames)
    assert flashes.any() == is_flash
    if not is_flash:
        np.testing.assert_array_equal(shown, frames)


def test_light_on_a_picture_that_stands_is_a_flash() -> None:
    frames = np.repeat(shot(1, 1), FRAMES, axis=0)
    flashes = strobe(3, 6)
    np.testing.assert_array_equal(calmed(lit(frames, flashes, WHITE))[1], flashes)
