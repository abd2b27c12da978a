"""Wipes of a straight edge: the new picture comes over the old one from one side, while both stand or move little.

Each strip of the picture across the way of the edge changes once, one after another in even steps, and is the old picture before and the
new one after it. Nothing else does that: in a pan all strips change all the time, and what passes does not stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.picture_parts import GREY

Floats = NDArray[np.float32]

#: Frames from the first strip to the last.
SHORTEST, LONGEST = 9, 48
#: Frames of a strip beside its change that are compared with those beside the whole wipe.
BESIDE = 4
#: Levels of 256, mean over a strip, and against what is usual so many frames around.
_LEAST_JUMP, _OVER_USUAL, _AROUND = 8.0, 2.5, 12
#: Of the strips, which change in their turn, and which are the old picture before it and the new one after it.
_IN_TURN, _STAY = 0.85, 0.85
#: How far the two pictures differ in a strip, at least; and of that, how much either may move meanwhile.
_LEAST_CHANGE, _MOVES = 14.0, 0.5
#: Levels, standard deviation over the parts: both pictures show something.
_LEAST_CONTRAST = 8.0
#: How many lengths are tried.
_LENGTHS = 30


def wipes(frames: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """First and last frame of each. frames: (n, 27, 48, 3)."""
    cells = frames.reshape(-1, 9, 3, 16, 3, 3).mean((2, 4), dtype=np.float32)
    found: list[tuple[int, int, float]] = []
    for strips in (cells.transpose(0, 2, 1, 3), cells):
        found += _along(strips.reshape(len(cells), strips.shape[1], -1))
    chosen: list[tuple[int, int]] = []
    for first, last, _ in sorted(found, key=lambda one: -one[2]):
        if all(last < other[0] - BESIDE or first > other[1] + BESIDE for other in chosen):
            chosen.append((first, last))
    return sorted(chosen)


def _along(strips: Floats) -> list[tuple[int, int, float]]:
    """strips: (n, k, values). first, last, and how sure."""
    count, number = strips.shape[:2]
    if count < 3 * BESIDE + SHORTEST:
        return []
    jumps = np.zeros((count, number), np.float32)
    # Over two frames, since an edge that is soft takes some to pass.
    jumps[2:] = np.abs(strips[2:] - strips[:-2]).mean(2)
    usual = np.stack([np.roll(jumps, offset, axis=0) for offset in range(-_AROUND, _AROUND + 1, 2)])
    high = (jumps > _LEAST_JUMP) & (jumps > _OVER_USUAL * np.median(usual, axis=0))
    if high.any(0).mean() < _IN_TURN:
        return []
    near = np.ascontiguousarray((high | np.roll(high, 1, 0) | np.roll(high, -1, 0)).T.astype(np.uint8))
    places, begin = np.arange(number), BESIDE + 1
    found = []
    for span in np.unique(np.rint(np.geomspace(SHORTEST, LONGEST, _LENGTHS)).astype(int)).tolist():
        starts = count - span - BESIDE - begin
        if starts <= 0:
            break
        for late in (turns := np.rint(places * span / (number - 1)).astype(int), turns[::-1]):
            votes = np.zeros(starts, np.uint8)
            for changes, turn in zip(near, late.tolist(), strict=True):
                votes += changes[begin + turn : begin + turn + starts]
            for place in np.flatnonzero(votes >= _IN_TURN * number).tolist():
                start = begin + place
                if (sure := _stays(strips, start, late)) is not None:
                    found.append((start - 1, start + span - 1, sure + int(votes[place])))
    return found


def _stays(strips: Floats, start: int, late: NDArray[np.int_]) -> float | None:
    """How much the new picture differs from the old, where each strip is the one until its turn and the other from then on."""
    end, places = start + int(late.max()), np.arange(len(late))
    old, new = strips[start - BESIDE], strips[end + BESIDE - 1]
    # Before a plain wall a pan looks like this, and so does smoke.
    if min(float((shown.reshape(-1, 3) @ GREY).std()) for shown in (old, new)) < _LEAST_CONTRAST:
        return None
    before, after = strips[start + late - BESIDE, places], strips[np.minimum(start + late + BESIDE - 1, len(strips) - 1), places]
    change = np.minimum(np.abs(new - old).mean(1), np.abs(after - before).mean(1))
    moved = np.maximum(np.abs(before - old).mean(1), np.abs(after - new).mean(1))
    good = (change > _LEAST_CHANGE) & (moved < _MOVES * change)
    return float(change.mean()) / 10 if good.mean() >= _STAY else None
