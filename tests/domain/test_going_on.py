"""What comes over a shot and goes again, or only lights it otherwise, is told from a cut, however long it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.going_on import SPACING, goes_on, looks_of

Frames = NDArray[np.uint8]
FRAMES, AT = 140, 60


def shot(seed: int, *, speed: float = 0.02) -> Frames:
    """A picture of large parts that moves sideways by so many pixels a frame."""
    parts = np.random.default_rng(seed).integers(20, 230, (6, 60, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(parts, 5, axis=0)[:27], 8, axis=1)
    return np.stack([wide[:, int(speed * number) :][:, :48] for number in range(FRAMES)])


SHOT, OTHER, PAN = shot(1), shot(2), shot(1, speed=0.04)


def mixed(under: Frames, over: NDArray[np.floating] | Frames, share: NDArray[np.float64]) -> Frames:
    """share: of what lies over it, of each frame, or of each pixel of it."""
    shares = share.reshape(FRAMES, *(share.shape[1:] or (1, 1)), 1)
    return np.clip(np.rint(under * (1 - shares) + over * shares), 0, 255).astype(np.uint8)


def between(first: int, last: int) -> NDArray[np.float64]:
    numbers = np.arange(FRAMES)
    return ((numbers >= first) & (numbers <= last)).astype(float)


def rising(first: int, length: int) -> NDArray[np.float64]:
    """0 before, then so many steps up to 1."""
    return np.clip((np.arange(FRAMES) - first + 1) / (length + 1), 0, 1)


def exploding(under: Frames, after: Frames) -> Frames:
    """A ball of fire fills the picture in 6 frames, and its smoke thins for 20. Under its cover `after` takes the place of `under`."""
    rows, columns = np.mgrid[0:27, 0:48]
    away = np.hypot(rows - 12, columns - 30)
    clouds = np.random.default_rng(3).normal(0, 12, (9, 16)).repeat(3, axis=0).repeat(3, axis=1)
    numbers = np.arange(FRAMES)
    size = 8.0 * (numbers - AT + 1)
    ball = np.clip((size[:, None, None] - away) / 5, 0, 1) * (1 - rising(AT + 12, 20))[:, None, None]
    heat = 1 - rising(AT + 4, 6)
    fire, smoke = np.array([250.0, 190, 90]), np.array([80.0, 76, 70])
    colour = smoke + (fire - smoke) * heat[:, None, None, None] + clouds[None, :, :, None]
    return mixed(np.where(numbers[:, None, None, None] < AT + 9, under, after), colour, ball)


def fading(out: Frames, into: Frames, *, ramp: int = 12, black: int = 6) -> Frames:
    dark = rising(AT - ramp, ramp) * (1 - rising(AT + black, ramp))
    shown = np.where(np.arange(FRAMES)[:, None, None, None] < AT + black // 2, out, into)
    return mixed(shown, np.zeros_like(shown), dark)


ONE_SHOT: dict[str, tuple[Frames, tuple[int, ...]]] = {
    "the light goes out for 16 frames": (mixed(SHOT, np.zeros_like(SHOT), between(AT, AT + 15)), (AT, AT + 16)),
    "the light is low for 24 frames": (mixed(SHOT, np.zeros_like(SHOT), 0.75 * between(AT, AT + 23)), (AT, AT + 24)),
    "an explosion": (exploding(SHOT, SHOT), (AT, AT + 4, AT + 14, AT + 20)),
    "more light from a moment on": (mixed(SHOT, np.full_like(SHOT, 255), 0.4 * rising(AT, 0)), (AT,)),
    "less light, slowly": (mixed(SHOT, np.zeros_like(SHOT), 0.6 * rising(AT, 12)), (AT + 4, AT + 6, AT + 10)),
    "smoke comes at once and thins": (mixed(SHOT, np.full_like(SHOT, 70), rising(AT, 0) * (1 - rising(AT + 14, 20))), (AT, AT + 20)),
}


@pytest.mark.parametrize("what", ONE_SHOT)
def test_a_shot_goes_on_whatever_comes_over_it(what: str) -> None:
    frames, found = ONE_SHOT[what]
    looks = looks_of(frames[::SPACING])
    assert [goes_on(looks, frame) for frame in found] == [True] * len(found)


def inserted(ramp: int) -> Frames:
    """Another shot, shown for a second in the midst of one."""
    return mixed(SHOT, OTHER, rising(AT, ramp) * (1 - rising(AT + 24, ramp)))


CUTS: dict[str, Callable[[], tuple[Frames, tuple[int, ...]]]] = {
    "a hard cut": lambda: (mixed(SHOT, OTHER, rising(AT, 0)), (AT,)),
    "a dissolve": lambda: (mixed(SHOT, OTHER, rising(AT, 20)), (AT + 10,)),
    "another shot for a second": lambda: (inserted(0), (AT, AT + 24)),
    "another shot for a second, mixed in and out": lambda: (inserted(10), (AT + 5, AT + 29)),
    "black between two shots": lambda: (
        mixed(mixed(SHOT, OTHER, rising(AT + 8, 0)), np.zeros_like(SHOT), between(AT, AT + 15)),
        (AT, AT + 16),
    ),
    "black for 31 frames": lambda: (mixed(SHOT, np.zeros_like(SHOT), between(AT, AT + 30)), (AT, AT + 31)),
    "an explosion from which another shot comes": lambda: (exploding(SHOT, OTHER), (AT, AT + 4, AT + 14, AT + 20)),
    "smoke that thins before another shot": lambda: (
        mixed(mixed(SHOT, OTHER, rising(AT + 8, 0)), np.full_like(SHOT, 70), rising(AT, 0) * (1 - rising(AT + 14, 20))),
        (AT, AT + 20),
    ),
    "a part of a shot is shown again, while the camera goes on": lambda: (np.concatenate([PAN[:AT], PAN[AT - 45 : FRAMES - 45]]), (AT,)),
    "a darker shot": lambda: (mixed(SHOT, mixed(OTHER, np.zeros_like(OTHER), np.full(FRAMES, 0.6)), rising(AT, 0)), (AT,)),
    "a fade to black, and another shot": lambda: (fading(SHOT, OTHER), (AT + 3,)),
    "a fade to black, and the same shot": lambda: (fading(SHOT, SHOT), (AT + 3,)),
    "black, and another shot fades in": lambda: (
        mixed(mixed(SHOT, OTHER, rising(AT, 0)), np.zeros_like(SHOT), rising(AT, 0) * (1 - rising(AT + 10, 40))),
        (AT, AT + 30, AT + 40),
    ),
}


@pytest.mark.parametrize("what", CUTS)
def test_a_cut_stays_one(what: str) -> None:
    frames, found = CUTS[what]()
    looks = looks_of(frames[::SPACING])
    assert [goes_on(looks, frame) for frame in found] == [False] * len(found)


@pytest.mark.parametrize("what", CUTS)
def test_bars_that_all_shots_have_make_no_two_of_them_alike(what: str) -> None:
    frames, found = CUTS[what]()
    frames[:, :, :12] = frames[:, :, 36:] = 0
    looks = looks_of(frames[::SPACING])
    assert [goes_on(looks, frame) for frame in found] == [False] * len(found)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_at_the_ends_of_a_video_nothing_is_said_to_go_on(count: int) -> None:
    looks = looks_of(SHOT[:count:SPACING])
    assert not any(goes_on(looks, frame) for frame in range(count))


def test_looks_are_the_mean_brightness_of_the_parts() -> None:
    frames = np.zeros((1, 27, 48, 3), np.uint8)
    frames[0, :3, :3] = (255, 255, 255)
    frames[0, 24:, 45:, 0] = 100
    (looks,) = looks_of(frames)
    assert (looks[0], looks[143], looks[1:143].max()) == (255, 30, 0)
