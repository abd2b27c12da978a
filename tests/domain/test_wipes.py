"""A straight edge that brings a new picture is told from all else that moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.wipes import wipes

Frames = NDArray[np.uint8]
FRAMES, FIRST = 100, 40


def shot(seed: int, *, speed: float = 0.03) -> Frames:
    """A picture of large parts that moves sideways by so many pixels a frame."""
    parts = np.random.default_rng(seed).integers(20, 230, (3, 60, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(parts, 9, axis=0), 16, axis=1)
    return np.stack([wide[:, int(speed * number) :][:, :48] for number in range(FRAMES)])


def share(length: int) -> NDArray[np.float64]:
    """Of the new picture in each frame."""
    return np.clip((np.arange(FRAMES) - FIRST + 1) / (length + 1), 0, 1)


def wiped(length: int, way: str) -> Frames:
    size = 27 if way in ("up", "down") else 48
    field = (np.arange(size) + 0.5) / size
    new = share(length)[:, None] > (field[::-1] if way in ("left", "up") else field)
    mask = new[:, :, None, None] if size == 27 else new[:, None, :, None]
    return np.where(mask, shot(2), shot(1))


@pytest.mark.parametrize("way", ["right", "left", "down", "up"])
@pytest.mark.parametrize("length", [12, 18, 30, 44])
def test_a_wipe_has_its_frames_whatever_its_way_and_speed(way: str, length: int) -> None:
    (found,) = wipes(wiped(length, way))
    assert found == pytest.approx((FIRST, FIRST + length - 1), abs=3)


def hidden(shown: Frames) -> Frames:
    """Something as high as the picture goes by."""
    frames = shown.copy()
    for number in range(FRAMES):
        left = 3 * (number - FIRST)
        frames[number, :, max(0, left) : max(0, left + 20)] = 250
    return frames


@pytest.mark.parametrize(
    "frames",
    [
        np.where(share(0)[:, None, None, None] > 0, shot(2), shot(1)),
        np.rint(shot(1) * (1 - share(24)[:, None, None, None]) + shot(2) * share(24)[:, None, None, None]).astype(np.uint8),
        shot(1, speed=2),
        shot(1, speed=8),
        hidden(shot(1)),
        np.zeros((FRAMES, 27, 48, 3), np.uint8),
        shot(1)[:8],
    ],
    ids=["hard cut", "dissolve", "slow pan", "fast pan", "what passes", "black", "a few frames"],
)
def test_nothing_else_is_a_wipe(frames: Frames) -> None:
    assert wipes(frames) == []
