"""Flashes: a few frames in which the same shot is lit otherwise, or hidden by a plain picture. One of them, or a strobe of many.

They are taken out before frames are compared, so what is before a flash is compared with what is after it: a flash is no cut, and a cut
beside a flash is seen.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.picture_parts import GREY, PARTS, sums_of_parts

#: A longer one is a shot of its own.
MOST_FRAMES = 12
#: Levels of 256, mean over the picture and its colours: what departs less from the frame before is motion, or hardly seen.
_DEPARTS = 10.0
#: By so much a mean over many frames at once may differ from that of one.
_ROUNDING = 0.01
#: Light changes all parts of a picture one way; so many of them at least, and the others by at most so many levels the other way.
_ONE_WAY, _OTHER_WAY = 0.9, 6.0
#: And than this many times what changed in the frame before.
_OVER_MOTION = 2.5
#: Of 144 parts of a picture, at either end of their brightness: what stands out tells nothing of the rest.
_FEW = 6
#: Of the contrast of the frame before, at most: such a picture is plain.
_PLAIN = 0.35
#: How alike a picture that is not plain is to the same one in another light, at least.
_LEAST_ALIKE = 0.5
#: A picture with less contrast shows nothing that could go on.
_LEAST_CONTRAST = 6.0
#: The frame after a flash differs from the one before by at most such a share of what the flash differs, and they are at least so alike. A
#: camera that moves changes the picture meanwhile.
_GOES_ON = ((0.5, 0.7), (0.25, 0.3))
#: Of the contrast before a flash, at least, after it.
_KEEPS_CONTRAST = 0.5
#: Flashes with at most so many frames between them are one strobe.
_BETWEEN = 8
#: Where nothing moves for so many frames, a plain page of at least so many that shows something is one of slides, and no flash.
_STANDS, _LEAST_PAGE = 4, 3
#: Levels: a part that changes less does not move. Of the parts, so many may: somebody talks in a corner. Contrast of what shows something.
_STILL, _MOVING, _SHOWS = 1.0, 0.4, 1.0
#: Frames beside a flash to which a network's score of it reaches: before, after.
_REACHES = (2, 1)
#: So much of a jump between calm frames is a cut in the midst of flashes.
_CUT_STRUCTURE, _CUT_JUMP = 0.25, 8.0

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class Calmed:
    """One pass over one video, without its flashes: their frames become mixtures of the frames beside them.

    A frame is given when it is known whether it belongs to a flash, so up to MOST_FRAMES of them are held back.
    """

    def __init__(self) -> None:
        self._last: tuple[Frames, Floats] | None = None
        self._motion, self._cells_before = 0.0, list[Floats]()
        self._held: list[tuple[Frames, Floats]] = []

    def feed(self, frames: Frames) -> tuple[Frames, Flags]:
        """frames: (n, 27, 48, 3) RGB, n >= 0. Returns those that are known by now, (m, 27, 48, 3), and which of them are of flashes."""
        given: list[Frames] = []
        flashes: list[bool] = []
        cells_of = _cells(frames)
        if self._are_calm(cells_of):
            self._moved_on(frames[-1], [*self._cells_before, *cells_of])
            return frames, np.zeros(len(frames), bool)
        waiting = list(zip(frames, cells_of, strict=True))[::-1]
        while waiting:
            frame, cells = waiting.pop()
            if self._held and self._goes_on_with(cells):
                given += self._mixtures(frame)
                flashes += [True] * len(self._held)
                self._held = []
            elif self._last is not None and (self._held or _is_lit_otherwise(cells, self._last[1], self._motion)):
                self._held.append((frame.copy(), cells))
                if len(self._held) <= MOST_FRAMES and _is_lit_otherwise(cells, self._last[1], self._motion):
                    continue
                # It is no flash: its first frame belongs to a new shot, or to motion, and the others are looked at once more.
                (frame, cells), *others = self._held
                waiting += others[::-1]
                self._held = []
            given.append(self._moved_on(frame, [*self._cells_before, cells]))
            flashes.append(False)
        return (np.stack(given) if given else frames[:0]), np.array(flashes, bool)

    def finish(self) -> tuple[Frames, Flags]:
        """The frames that are still held."""
        given, self._held = [frame for frame, _ in self._held], []
        return (np.stack(given) if given else np.zeros((0, 27, 48, 3), np.uint8)), np.zeros(len(given), bool)

    def _are_calm(self, cells: Floats) -> bool:
        """Whether no flash can begin in the next frames, (n, 144, 3), as in nearly all: they need not be looked at one by one."""
        if self._held or self._last is None or not len(cells):
            return False
        steps = np.diff(cells, axis=0, prepend=self._last[1][None])
        return bool(np.abs(steps).mean((1, 2)).max() < _DEPARTS - _ROUNDING)

    def _moved_on(self, frame: Frames, cells: list[Floats]) -> Frames:
        """Keep a copy of the frame, which is no flash, as the last one. cells: of the frames up to it, with some before where there are."""
        *before, own = cells[-3:]
        # Of two frames back the smaller one: what changes and comes back at once is no motion.
        self._motion = min((float(np.abs(own - one).mean()) for one in before), default=0.0)
        self._cells_before = cells[-_STANDS:]
        self._last = frame.copy(), own
        return self._last[0]

    def _goes_on_with(self, cells: Floats) -> bool:
        assert self._last is not None
        held = [held for _, held in self._held]
        return _goes_on(self._last[1], held, cells) and not _is_a_page(self._cells_before, held)

    def _mixtures(self, after: Frames) -> list[Frames]:
        """In the place of the held frames: with steps between them as small as those of a shot that moves."""
        assert self._last is not None
        steps = len(self._held) + 1
        shares = np.arange(1, steps, dtype=np.float32)[:, None, None, None] / steps
        return list(np.rint(self._last[0] * (1 - shares) + after * shares).astype(np.uint8))


def speak_of_flashes(flashes: Flags, jump: Floats, structure_jump: Floats) -> Flags:
    """(n,): the frames in which a network's scores say nothing of shots: those of a strobe and beside it, but not where the calm frames
    jump. jump, structure_jump: (n,) of the calm frames, as `picture_features` has them.
    """
    strobe = flashes.copy()
    places = np.flatnonzero(flashes)
    for one, next_one in pairwise(places):
        strobe[one:next_one] |= next_one - one <= _BETWEEN + 1
    return _widened(strobe) & ~_widened((jump > _CUT_JUMP) & (structure_jump > _CUT_STRUCTURE))


def _widened(flags: Flags) -> Flags:
    before, after = _REACHES
    padded = np.pad(flags, (after, before))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after).any(1))


def _cells(frames: Frames) -> Floats:
    """(n, 27, 48, 3) -> (n, 144, 3): the mean colours of 9 x 16 parts."""
    cells: Floats = sums_of_parts(frames).astype(np.float32) / np.float32(9)
    return cells.reshape(-1, PARTS, 3)


def _is_lit_otherwise(cells: Floats, before: Floats, motion: float) -> bool:
    """Whether a frame is the one before in another light, or plain: it may belong to a flash. motion: what changed from frame to frame."""
    change = cells - before
    if np.abs(change).mean() < max(_DEPARTS, _OVER_MOTION * motion):
        return False
    contrast = _clear(before).std()
    if contrast < _LEAST_CONTRAST:
        return False
    if _clear(cells).std() < _PLAIN * contrast:
        return True
    one_way = change * np.sign(change.mean(0)) > -_OTHER_WAY
    return bool(one_way.mean(0).min() >= _ONE_WAY) and _alike(_clear(cells), _clear(before)) >= _LEAST_ALIKE


def _goes_on(before: Floats, flash: list[Floats], after: Floats) -> bool:
    """Whether the shot before a flash goes on after it."""
    one, other = _clear(before), _clear(after)
    if other.std() < _KEEPS_CONTRAST * one.std():
        return False
    apart = float(np.abs(after - before).mean())
    departs = min(float(np.abs(lit - side).mean()) for lit in flash for side in (before, after))
    return any(apart <= share * departs and _alike(one, other) >= least for share, least in _GOES_ON)


def _is_a_page(before: list[Floats], held: list[Floats]) -> bool:
    """Whether pictures stand still and the held ones among them are a plain page, with a word or a line on it."""
    if len(before) < _STANDS or len(held) < _LEAST_PAGE or not (_stand_still(before) and _stand_still(held)):
        return False
    page, last = _clear(held[-1]), _clear(before[-1])
    return bool((held[-1] @ GREY).std() >= _SHOWS) and bool(page.std() < _PLAIN * last.std()) and _alike(page, last) < _LEAST_ALIKE


def _stand_still(pictures: list[Floats]) -> bool:
    return bool((np.abs(np.diff(pictures, axis=0)).max((0, 2)) > _STILL).mean() <= _MOVING)


def _clear(cells: Floats) -> Floats:
    """(144, 3) -> (144,): how bright the parts are, but for the few that stand out, as a logo does."""
    grey = cells @ GREY
    ordered = np.sort(grey)
    return np.asarray(np.clip(grey, ordered[_FEW], ordered[-1 - _FEW]), np.float32)


def _alike(one: Floats, other: Floats) -> float:
    """The correlation of two results of `_clear`."""
    first, second = one - one.mean(), other - other.mean()
    return float((first * second).mean()) / max(float(first.std() * second.std()), 1e-6)
