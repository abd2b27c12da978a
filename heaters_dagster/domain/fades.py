"""Fades through a plain picture: out of one shot into black, white or another colour, and out of that into the next one, or back.

A detector may see the two halves apart. All that is found in such a fade is one cut, in the plain part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.true_runs import true_runs

#: Levels of 256, standard deviation over the picture: below it there is nothing to see.
_PLAIN = 4.0
#: A longer plain stretch is a shot of its own.
_LONGEST_PLAIN = 100
#: A fade that takes fewer frames is a cut to the plain picture, or a flash.
_LEAST_RAMP, _LONGEST_RAMP = 4, 150
#: Within a ramp the contrast rises by at least so much over so many frames; motion makes it waver.
_STEP, _RISE, _LEVELS = 3, 1.03, 0.15
#: What is found so near beside a ramp belongs to it.
_BESIDE = 2


@dataclass(frozen=True, slots=True)
class Fade:
    """first, last: the frames that are no whole picture. plain_first, plain_last: those of them that show nothing."""

    first: int
    last: int
    plain_first: int
    plain_last: int

    @property
    def middle(self) -> int:
        """Of the plain frames: where the cut is."""
        return (self.plain_first + self.plain_last + 1) // 2

    def has(self, frame: int) -> bool:
        """Whether what is found at `frame` belongs to it."""
        return self.first - _BESIDE <= frame <= self.last + _BESIDE


def fades(contrast: NDArray[np.float32]) -> tuple[Fade, ...]:
    """Those in a video, in order. contrast: (n,), of each frame and the one before it the smaller, as `Features` have it."""
    found = []
    for start, end in true_runs(contrast < _PLAIN):
        # The frame after the plain ones is compared with the last of them.
        last = max(start, end - 2)
        if start == 0 or end == len(contrast) or last - start >= _LONGEST_PLAIN:
            continue
        out, into = _ramp(contrast[start::-1]), _ramp(contrast[end - 1 :])
        if min(out, into) >= _LEAST_RAMP:
            found.append(Fade(start - out, min(len(contrast) - 1, last + into), start, last))
    return tuple(found)


def one_for_each_fade(column: NDArray[np.float32], contrast: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) of chances: of those found in a fade only the greatest, and that in the plain part."""
    moved = column.copy()
    for fade in fades(contrast):
        inside = slice(max(0, fade.first - _BESIDE), fade.last + _BESIDE + 1)
        surest = moved[inside].max()
        if surest > 0:
            moved[inside] = 0
            moved[fade.middle] = surest
    return moved


def fade_at(frame: int, among: Sequence[Fade]) -> Fade | None:
    return next((fade for fade in among if fade.has(frame)), None)


def _ramp(contrast: NDArray[np.float32]) -> int:
    """How many frames the contrast goes on rising. contrast: from the last plain frame outwards."""
    length, reach = 0, min(len(contrast) - _STEP, _LONGEST_RAMP)
    while length < reach and contrast[length + _STEP] > contrast[length] * _RISE + _LEVELS:
        length += 1
    # A single step to the full contrast keeps the comparison true for as many frames as it looks ahead.
    return length if contrast[length] > _PLAIN and _takes_time(contrast[: length + _STEP]) else 0


def _takes_time(ramp: NDArray[np.float32]) -> bool:
    """Whether it rises in several steps: no single one of them makes up most of it."""
    steps = np.diff(ramp)
    return bool(steps.max(initial=0) < 0.6 * (ramp.max() - ramp[0]))
