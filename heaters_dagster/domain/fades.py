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
#: The shot beside a fade is looked at over at least so many frames, to know how much contrast it has.
_LEAST_SHOT = 8
#: Of that contrast, as standard deviation: a line with a bend that is off by more does not describe the ramp.
_STRAIGHT = 0.08
#: What is left in the middle of a fade, of the contrast beside it, at most.
_FADED = 0.25
#: A picture with so little of the contrast of the shots on both sides is plain, but for a clock or a logo that stays.
_NEARLY_PLAIN = 0.15
#: So little contrast is noise.
_NOTHING = 1.5


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


def whole_range(contrast: NDArray[np.float32], first: int, last: int, room: tuple[int, int]) -> tuple[int, int]:
    """The first and the last frame of a fade of which a detector saw the frames first..last: a slow fade begins with so small a change
    that detectors see it late, and a cut to black with a fade out of it begins at the cut. room: the frames to look at.

    The contrast rises from the plain part outwards in a straight line and then stays. Where no such line fits, the end stays as it is.
    """
    start, stop = max(0, room[0]), min(len(contrast), room[1] + 1)
    inside = contrast[max(start, first) : min(stop, last + 2)]
    if not len(inside):
        return first, last
    flattest = max(start, first) + int(inside.argmin())
    plain = contrast[start:stop] <= max(_NOTHING, 1.15 * float(inside.min()))
    run = next((begin, end) for begin, end in true_runs(plain) if begin <= flattest - start < end)
    plain_first, plain_end = start + run[0], start + run[1]
    out, into = _bend(contrast[start : plain_first + 1][::-1]), _bend(contrast[plain_end - 1 : stop])
    # A plain part that reaches to the next cut begins or ends there. A frame is compared with the one before it, so the first frame after
    # the plain ones counts as plain too.
    if out is None and into is not None and plain_first == start:
        out = 1
    if into is None and out is not None and plain_end == stop:
        into = 2
    return (first if out is None else plain_first - out + 1), (last if into is None else plain_end - 3 + into)


def shows_nothing(contrast: NDArray[np.float32], first: int, last: int) -> bool:
    """Whether the frames first..last have one that is nearly plain beside the shots before and after them: no mixture of two shots is."""
    sides = contrast[max(0, first - _LEAST_SHOT) : first], contrast[last + 2 : last + 2 + _LEAST_SHOT]
    inside = contrast[first : last + 1]
    if not (len(inside) and all(map(len, sides))):
        return False
    return float(inside.min()) <= _NEARLY_PLAIN * min(float(np.median(side)) for side in sides)


def _bend(levels: NDArray[np.float32]) -> int | None:
    """After how many frames, 1 at least, the contrast is whole: where a line from the first level bends into a level one.

    levels: from the last plain frame outwards. None where no such lines fit.
    """
    best, least = None, _STRAIGHT
    for length in range(1, min(len(levels) - 1, _LONGEST_RAMP) + 1):
        end = min(len(levels), length + max(_LEAST_SHOT, length // 2))
        shot = float(np.median(levels[length:end]))
        if shot <= _PLAIN or levels[0] > _FADED * shot:
            continue
        line = levels[0] + (shot - levels[0]) * np.minimum(np.arange(end) / length, 1)
        off = float(np.sqrt(np.mean((levels[:end] - line) ** 2))) / shot
        if off < least:
            best, least = length, off
    return best


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
