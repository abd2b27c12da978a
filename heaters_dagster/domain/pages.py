"""Pages that are turned: slides, or a recording of a screen, where one still picture takes the place of another at once.

Two pages of the same design hardly differ on the whole, and the network, which knows films, says next to nothing of them. But nothing in
a film stands still, changes all over, and stands still again. A line, a picture or a window that appears on a page changes a part of it,
or only adds to it; where a page is turned, what was there goes too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.picture_parts import GREY

#: Frames that a page stands before and after it is turned, at least.
STANDS = 5
#: Levels of 256, the colour that changes most: what changes less stands still, and what changes more has changed.
_STILL, _CHANGED = 8, 12
#: Of the picture: what stands still on both sides, but for somebody who talks in a corner or a pointer; and of that, what is turned.
_LEAST_STILL, _LEAST_CHANGED = 0.6, 0.03
#: Of the height and the width of the picture: how far what changes reaches. A line has changes in at least so many places.
_HEIGHT, _WIDTH, _IN_LINE = 0.5, 0.4, 2
#: Rows and columns of the picture that bars or a frame at its edges do not reach.
_MIDDLE = (slice(7, 20), slice(12, 36))
#: Levels: what changes, but for light that changes all over, mean over what stands still; and of all that changes.
_LEAST_CHANGE, _NOT_LIGHT = 1.0, 0.5
#: The smaller of what becomes darker and what becomes brighter, of the greater.
_BOTH_WAYS = 0.15
#: Levels, and a share of what stands still: pages of one design have much that is the same.
_SAME, _LEAST_SAME = 3, 0.2
#: Pixels that something moves at most; and of a change, what such a motion does not explain, at least.
_MOVES, _NEW = 2, 0.1
#: Frames around in which changes are looked for, and of this change, how much another one is of at least.
_AROUND, _AS_MUCH = 28, 0.5

Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]


def page_turns(frames: NDArray[np.uint8]) -> list[int]:
    """The first frame of each new page. frames: (n, 27, 48, 3) RGB."""
    apart = np.maximum(frames[1:], frames[:-1]) - np.minimum(frames[1:], frames[:-1])
    # Named by the frame after it, less one. One colour after another: numpy takes ten times as long over the last axis.
    steps = np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])
    moved, changed = steps > _STILL, steps > _CHANGED
    sides = STANDS - 1
    shares = moved.mean((1, 2))
    usual = np.ones(len(steps))
    if len(steps) > 2 * sides:
        around = np.lib.stride_tricks.sliding_window_view(shares, 2 * sides + 1)
        usual[sides:-sides] = np.maximum(around[:, :sides].max(1), around[:, sides + 1 :].max(1))
    found = []
    for step in np.flatnonzero((usual <= 1 - _LEAST_STILL) & (changed.mean((1, 2)) >= _LEAST_CHANGED * _LEAST_STILL)).tolist():
        beside = [*range(step - sides, step), *range(step + 1, step + 1 + sides)]
        still = ~moved[beside].any(0)
        if (changed[step] & still).mean() < _LEAST_CHANGED * _LEAST_STILL:
            continue
        still &= ~_apart(frames, step - sides, step) & ~_apart(frames, step + 1, step + 1 + sides)
        if still.mean() < _LEAST_STILL or not _is_turned(frames[step], frames[step + 1], still, changed[step]):
            continue
        if not any(_is_motion(frames[one], frames[one + 1]) for one in (step, *_next_changes(moved, step, still))):
            found.append(step + 1)
    return found


def _apart(frames: NDArray[np.uint8], one: int, other: int) -> Flags:
    """(27, 48): what is not the same in two frames. A picture that begins to dissolve moves by little steps."""
    return np.asarray((np.abs(frames[other].astype(np.int16) - frames[one]) > _SAME).any(-1))


def _next_changes(moved: Flags, step: int, still: Flags) -> list[int]:
    """The steps before and after one at which about as much changes again. A film of few pictures a second, each shown many times, stands
    still between them too.
    """
    first = max(0, step - _AROUND)
    shares = moved[first : step + _AROUND + 1, still].mean(1)
    place = step - first
    others = np.flatnonzero(shares >= _AS_MUCH * shares[place])
    return [first + int(one) for one in (*others[others < place][-1:], *others[others > place][:1])]


def _is_turned(old: NDArray[np.uint8], new: NDArray[np.uint8], still: Flags, changed: Flags) -> bool:
    """Whether one page takes the place of another. old, new: (27, 48, 3). still, changed: (27, 48)."""
    changed = changed & still
    if any(changed[part].sum() <= _LEAST_CHANGED * still[part].sum() for part in (slice(None), _MIDDLE)):
        return False
    reaches = [_reach(changed.sum(axis) >= _IN_LINE) for axis in (1, 0)]
    if reaches[0] < _HEIGHT or reaches[1] < _WIDTH:
        return False
    before, after = (page[still].astype(np.float32).ravel() for page in (old, new))
    change = after - before
    rest = _without_light(before, after)
    if float((np.abs(change).reshape(-1, 3).max(1) <= _SAME).mean()) < _LEAST_SAME:
        return False
    most = float(np.abs(rest).mean())
    if most < max(_LEAST_CHANGE, _NOT_LIGHT * float(np.abs(change).mean())):
        return False
    up, down = float(np.maximum(rest, 0).sum()), float(np.maximum(-rest, 0).sum())
    return min(up, down) >= _BOTH_WAYS * max(up, down)


def _is_motion(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> bool:
    """Whether what is new was beside its place before, and what was there is beside it now."""
    one, other = (page.astype(np.float32) @ GREY for page in (old, new))
    change = float(np.abs(other - one).mean())
    return _new_in(one, other) + _new_in(other, one) < 2 * _NEW * change


def _new_in(old: Floats, new: Floats) -> float:
    """How much darker or brighter the new picture is than all that was near the place, mean. old, new: (27, 48) grey."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(old, _MOVES, mode="edge"), (2 * _MOVES + 1, 2 * _MOVES + 1))
    return float(np.maximum(np.maximum(new - windows.max((2, 3)), windows.min((2, 3)) - new), 0).mean())


def _reach(lines: Flags) -> float:
    """From the first true line to the last, of all."""
    places = np.flatnonzero(lines)
    return float(places[-1] - places[0] + 1) / len(lines) if len(places) else 0.0


def _without_light(before: Floats, after: Floats) -> Floats:
    """What `after` has that is not `before` in another light: darker or brighter all over, or with more contrast."""
    centred = before - before.mean()
    gain = float((centred * after).mean()) / max(float((centred**2).mean()), 1e-6)
    return np.asarray(after - after.mean() - gain * centred, np.float32)
