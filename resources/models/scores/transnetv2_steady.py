"""What TransNetV2's layers hold of a picture that has always been there: a video begins as if its first frame were one.

One frame is enough for it: where nothing changes, a convolution over time multiplies with the sum of its weights. Numpy does it in the
time of a few frames, where the graph would need as many repeated frames as a score has in reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resources.models.scores.transnetv2_int8 import past_name, rounded_weights, seen_name, short_name
from resources.models.scores.transnetv2_weights import BLOCKS_OF_A_STACK, STACKS, Branch

Picture = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steady:
    """states: input of the graph -> (1, channels, 1, h, w), what it holds of each frame. means: of each stack, (channels,)."""

    states: Mapping[str, NDArray[np.float32]]
    means: Sequence[NDArray[np.float32]]


class SteadyStates:
    """Of a network whose values are rounded as `greatest` says, as in the graph. float64, so that no processor rounds otherwise."""

    def __init__(self, blocks: Sequence[Sequence[Branch]], greatest: Mapping[str, float]) -> None:
        self._blocks = blocks
        self._greatest = greatest

    def of(self, frame: NDArray[np.uint8]) -> Steady:
        """frame: (27, 48, 3) uint8 RGB."""
        states: dict[str, NDArray[np.float32]] = {}
        means = []
        x = frame.astype(np.float64)
        for stack in range(STACKS):
            first = BLOCKS_OF_A_STACK * stack
            inner = self._rounded(f"x{first + 1}", self._block(first, x, states))
            outer = self._rounded(f"sum{stack}", self._block(first + 1, inner, states))
            small = self._pooled(f"x{first + 1}", inner)
            states[short_name(stack)] = _state(small)
            x = self._pooled(f"sum{stack}", outer) + small
            means.append(x.mean((0, 1)).astype(np.float32))
        return Steady(states, means)

    def _block(self, number: int, x: Picture, states: dict[str, NDArray[np.float32]]) -> Picture:
        """(h, w, c) -> (h, w, 4f), rectified."""
        branches = self._blocks[number]
        height, width, _ = x.shape
        over_picture = np.concatenate([_as_rows(self._weights(branch.over_picture)) for branch in branches], 1)
        around = _neighbours(self._rounded(f"x{number}", x)).reshape(height * width, -1) @ over_picture
        given = []
        parts = np.split(around.reshape(height, width, -1), len(branches), axis=2)
        for place, (branch, part) in enumerate(zip(branches, parts, strict=True)):
            seen = self._rounded(seen_name(number, place), part, signed=True)
            states[past_name(number, place)] = _state(seen)
            given.append(np.maximum(seen @ self._weights(branch.over_time).sum((2, 3, 4)).T + branch.bias, 0))
        return np.concatenate(given, 2)

    def _weights(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        if not self._greatest:
            return weights.astype(np.float64)
        levels, factors = rounded_weights(weights)
        return levels.astype(np.float64) * factors

    def _rounded(self, place: str, x: Picture, *, signed: bool = False) -> Picture:
        if place not in self._greatest:
            return x
        step = self._greatest[place] / (127 if signed else 255)
        return np.clip(np.rint(x / step), -128 if signed else 0, 127 if signed else 255) * step

    def _pooled(self, place: str, x: Picture) -> Picture:
        """OpenVINO rounds the means again: of whole levels, so that a half is a half."""
        if place not in self._greatest:
            return _means(x)
        step = self._greatest[place] / 255
        return np.rint(_means(np.rint(x / step))) * step


def _as_rows(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, c, 1, 3, 3) -> (9c, m)."""
    return np.ascontiguousarray(weights.transpose(2, 3, 4, 1, 0)).reshape(-1, len(weights))


def _neighbours(x: Picture) -> Picture:
    """(h, w, c) -> (h, w, 9c): each pixel with those around it, zeros beyond the border."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return np.concatenate([padded[row : row + height, column : column + width] for row in range(3) for column in range(3)], 2)


def _means(x: Picture) -> Picture:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width, channels = x.shape
    return np.asarray(x[: height // 2 * 2, : width // 2 * 2].reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3)))


def _state(x: Picture) -> NDArray[np.float32]:
    return x.transpose(2, 0, 1)[None, :, None].astype(np.float32)
