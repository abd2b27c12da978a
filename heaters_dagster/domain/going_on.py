"""Shots that go on: what comes over a picture and goes again, or only lights it otherwise, is no cut, however long it takes.

A cut has other pictures before it than after it. Fire, smoke and a light that goes out jump as much, and for longer than a flash, but the
same shot comes back; and where only the light changes, each part of the picture is as bright as what was there says. So the frames before
a boundary that was found are compared with those after it, a second and more to either side, before it is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.picture_parts import GREY, PARTS, sums_of_parts

#: Of the frames of a video one in so many is looked at.
SPACING = 2
#: Pictures looked at before and after a boundary; and from the last before something comes over a shot to the first after it, at most.
_BEFORE, _AFTER, _LONGEST = 16, 32, 36
#: Levels by which a part of the picture changes over all that is looked at; how many such parts there are at least.
_CHANGES, _LEAST_PARTS = 8, 36
#: Of 144 parts of a picture, at either end of their brightness: what stands out tells nothing of the rest.
_FEW = 6
#: Levels of 256: the contrast of a picture that shows something, and by how much at least what comes over it differs from it.
_SHOWS, _DEPARTS = 5.0, 12.0
#: The shot after it is the one before: the correlation of the two pictures, and how far apart they are, of what came between, at most. A
#: camera that moves changes them, the darker one may be half as clear.
_SAME = ((0.85, 0.3), (0.9, 0.4))
_CONTRASTS = 2.0
#: Of what comes over it, at least, beside the boundary; and what counts as its middle.
_AT_BOUNDARY, _MIDDLE = 0.1, 0.5
#: A picture shows nothing below this contrast, or this share of the shot's.
_NOTHING, _NOTHING_SHARE = 1.5, 0.15
#: Correlation with the same shot in another light; and how many pictures of the middle are that, or show nothing, at least.
_LIT, _MOSTLY = 0.75, 0.8
#: What no other light explains of the change in the middle, at most.
_OTHER_LIGHT = 0.5
#: Of the whole change, the greatest step: more comes at once, less is mixed in slowly. On the way back it is at most so much where nothing
#: was to be seen, and where another picture was: from that one it may have been cut back.
_AT_ONCE, _MIXED = 0.35, 0.36
_BACK_FROM_NOTHING, _BACK = 0.7, 0.4
#: Where a shot comes back at once from a plain picture: how alike, at least, and after how many pictures at most. Two shots may have black
#: between them and look a little alike.
_SURELY, _SOON = 0.9, 13
#: In a fade no step of the contrast is greater, and so many pictures show the shot alone, weaker. A fade is a cut, also to the same shot.
_FADES, _WEAKER, _ALONE, _BESIDE = 0.7, 2, 0.6, 8
#: Pictures before and after a boundary of which a pair is compared for another light.
_LIGHT_BEFORE, _LIGHT_AFTER = (1, 2, 3, 4, 6, 9, 13), (0, 1, 2, 4, 6, 9, 12)
#: Levels that light changes at least; how alike the pictures are, those between them and those beside them; for so many beside them nothing
#: else happens; what the light does not explain, of the change.
_LEAST_LIGHT, _LIGHT_ALIKE, _LIGHT_BETWEEN = 8.0, 0.9, 0.85
_SETTLED, _SETTLES, _STAYS = 2, 0.3, 6
_UNEXPLAINED = 0.3
#: Light that changes from one picture to the next: how many times as much as beside, and how alike they are, at least.
_STEP_OVER, _STEP_ALIKE = 3.0, 0.92
#: So near before or after there is no plain picture.
_NO_FADE = 24

Looks = NDArray[np.uint8]
Floats = NDArray[np.float32]


def looks_of(frames: NDArray[np.uint8]) -> Looks:
    """(n, 27, 48, 3) RGB -> (n, 144): how bright the 9 x 16 parts of each are."""
    parts = sums_of_parts(frames).astype(np.float32) @ GREY
    return np.asarray(np.rint(parts.reshape(-1, PARTS) / 9), np.uint8)


def goes_on(looks: Looks, frame: int) -> bool:
    """Whether the shot before `frame`, where a boundary was found, is the one after it. looks: of each SPACING-th frame, from the first."""
    place = -(-frame // SPACING)
    start = max(0, place - _BEFORE - _STAYS)
    window = looks[start : place + _AFTER]
    # Bars and logos are in every shot.
    window = window[:, np.ptp(window, axis=0) > _CHANGES]
    if window.shape[1] < _LEAST_PARTS or not start < place < start + len(window) - 1:
        return False
    around = _Around(window, place - start)
    return around.comes_back() or around.is_lit_otherwise()


class _Around:
    """The pictures around a boundary. at: the number of the first one after it."""

    def __init__(self, looks: Looks, at: int) -> None:
        self.looks = looks.astype(np.float32)
        self.at = at
        squares = (self.looks**2).mean(1)
        products = self.looks @ self.looks.T / self.looks.shape[1]
        #: (n, n): how far any two pictures are apart, root mean square.
        self.apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))
        ordered = np.partition(self.looks, (_FEW, self.looks.shape[1] - 1 - _FEW), axis=1)
        clear = np.clip(self.looks, ordered[:, _FEW, None], ordered[:, -1 - _FEW, None])
        clear -= clear.mean(1, keepdims=True)
        self.contrast = np.sqrt((clear**2).mean(1))
        #: (n, n): correlations.
        self.alike = clear @ clear.T / clear.shape[1] / np.maximum(self.contrast[:, None] * self.contrast[None], 1e-6)

    def comes_back(self) -> bool:
        """Whether something comes over the shot and the shot comes back, out of a plain picture or slowly; or it is there all the time, in
        another light.
        """
        if (pair := self._before_and_after()) is None:
            return False
        before, after, most = pair
        inner = np.arange(before + 1, after)
        departs = np.minimum(self.apart[inner, before], self.apart[inner, after])
        middle, peak = inner[departs >= _MIDDLE * most], int(inner[departs.argmax()])
        shot = min(self.contrast[before], self.contrast[after])
        plain = self.contrast <= max(_NOTHING, _NOTHING_SHARE * shot)
        lit = np.maximum(self.alike[middle, before], self.alike[middle, after]) >= _LIT
        shows_nothing = bool(plain[middle].any())
        if plain[inner].any() and self._is_a_fade(before, after, inner[plain[inner]]):
            return False
        over, back = _greatest_step(self.apart[before : peak + 1, before]), _greatest_step(self.apart[peak : after + 1, after])
        if (plain[middle] | lit).mean() >= _MOSTLY:
            surely = back <= _BACK_FROM_NOTHING or (self.alike[before, after] >= _SURELY and after - before <= _SOON)
            return (
                surely
                if shows_nothing
                else over >= _AT_ONCE and min(self._unexplained(before, peak), self._unexplained(after, peak)) <= _OTHER_LIGHT
            )
        if shows_nothing:
            return back <= _BACK_FROM_NOTHING
        # A picture that is mixed in slowly and out again is another shot, shown for a moment.
        return back <= _BACK and max(over, back) > _MIXED

    def _before_and_after(self) -> tuple[int, int, float] | None:
        """The picture before and the one after the boundary that are the same shot, and how far what lies between is from both. None where
        there are none, or nothing lies between.
        """
        at, count = self.at, len(self.looks)
        first = max(0, at - _BEFORE)
        befores, afters = np.arange(first, at)[:, None], np.arange(at, count)[None]
        apart, alike = self.apart[first:at, at:], self.alike[first:at, at:]
        contrasts = self.contrast[first:at, None], self.contrast[None, at:]
        lower, higher = np.minimum(*contrasts), np.maximum(*contrasts)
        least, nearest = min(least for least, _ in _SAME), max(share for _, share in _SAME)
        may_be = (lower >= _SHOWS) & (higher < _CONTRASTS * lower) & (afters - befores <= _LONGEST)
        may_be &= (alike >= least) & (apart <= nearest * self.apart.max())
        if not may_be.any():
            return None
        numbers = np.arange(count)[:, None, None]
        departs = np.minimum(self.apart[:, first:at, None], self.apart[:, None, at:]) * ((numbers > befores) & (numbers < afters))
        most = departs.max(0)
        here = departs[max(0, at - 2) : at + 2].max(0)
        same = np.any([(alike >= one) & (apart <= share * most) for one, share in _SAME], axis=0)
        same &= may_be & (most >= _DEPARTS) & (here >= _AT_BOUNDARY * most)
        if not same.any():
            return None
        # The most alike, and of such the nearest.
        cost = np.where(same, apart / np.maximum(most, 1e-6) - alike / 2 + 0.012 * (afters - befores), np.inf)
        before, after = np.unravel_index(int(cost.argmin()), cost.shape)
        return first + int(before), at + int(after), float(most[before, after])

    def _is_a_fade(self, before: int, after: int, plain: NDArray[np.int_]) -> bool:
        """Whether the shot fades into the plain pictures and out of them: step by step, and alone. plain: their numbers."""
        first, last = before, after
        while first > max(0, before - _BESIDE) and self.alike[first - 1, before] >= _LIT:
            first -= 1
        while last < min(len(self.looks) - 1, after + _BESIDE) and self.alike[last + 1, after] >= _LIT:
            last += 1
        out, into = slice(first, int(plain[0]) + 1), slice(int(plain[-1]), last + 1)
        if max(_greatest_step(self.contrast[out]), _greatest_step(self.contrast[into])) > _FADES:
            return False
        numbers = np.r_[out, into]
        whole = np.r_[np.full(out.stop - out.start, self.contrast[out].max()), np.full(into.stop - into.start, self.contrast[into].max())]
        weaker = numbers[(self.contrast[numbers] < 0.85 * whole) & (self.contrast[numbers] > 0.2 * whole)]
        return len(weaker) >= _WEAKER and float(np.maximum(self.alike[weaker, before], self.alike[weaker, after]).min()) > _ALONE

    def is_lit_otherwise(self) -> bool:
        """Whether only the light changes at the boundary, at once or slowly: each part of the picture becomes as bright as all that was as
        bright before.
        """
        count = len(self.looks)
        if 2 <= self.at < count - 1 and self._light_steps(self.at - 1, self.at):
            return True
        befores = [self.at - offset for offset in _LIGHT_BEFORE if offset <= self.at]
        afters = [self.at + offset for offset in _LIGHT_AFTER if self.at + offset < count]
        apart, alike = self.apart[np.ix_(befores, afters)], self.alike[np.ix_(befores, afters)]
        may_be = (apart >= _LEAST_LIGHT) & (alike >= _LIGHT_ALIKE)
        if not may_be.any():
            return False
        moved_before = np.array([self.apart[one, max(0, one - _SETTLED)] for one in befores])
        moved_after = np.array([self.apart[one, min(count - 1, one + _SETTLED)] for one in afters])
        may_be &= np.maximum(moved_before[:, None], moved_after) <= _SETTLES * apart
        may_be &= np.array([self._is_one_shot(one - _STAYS, one, one) for one in befores])[:, None]
        may_be &= np.array([self._is_one_shot(one, one + _STAYS, one) for one in afters])
        return any(self._light_explains(befores[one], afters[other]) for one, other in np.argwhere(may_be).tolist())

    def _light_steps(self, before: int, after: int) -> bool:
        """Whether light changes from one picture to the next and neither before nor after: then motion there tells nothing against it."""
        beside = max(self.apart[before - 1, before], self.apart[after, after + 1])
        if self.apart[before, after] < max(_LEAST_LIGHT, _STEP_OVER * beside) or self.alike[before, after] < _STEP_ALIKE:
            return False
        return self._light_explains(before, after)

    def _is_one_shot(self, first: int, last: int, like: int) -> bool:
        """Whether the pictures first..last are all like one of them."""
        return bool(self.alike[max(0, first) : last + 1, like].min() >= _LIGHT_BETWEEN)

    def _light_explains(self, before: int, after: int) -> bool:
        if np.maximum(self.alike[before : after + 1, before], self.alike[before : after + 1, after]).min() < _LIGHT_BETWEEN:
            return False
        # From a plain picture on, or to one, it is a fade.
        around = self.contrast[max(0, before - _NO_FADE) : after + _NO_FADE]
        if around.min() <= max(_NOTHING, _NOTHING_SHARE * min(self.contrast[before], self.contrast[after])):
            return False
        return self._unexplained(before, after) <= _UNEXPLAINED

    def _unexplained(self, one: int, other: int) -> float:
        """Of what changes between two pictures, what no other light explains, which makes equal levels equal ones."""
        level = self.looks[one] / 64
        curve = np.stack([np.ones_like(level), level, level**2], axis=1)
        factors, *_ = np.linalg.lstsq(curve, self.looks[other], rcond=None)
        rest = float(np.sqrt(((self.looks[other] - curve @ factors) ** 2).mean()))
        return rest / max(1e-6, float(self.apart[one, other]))


def _greatest_step(levels: Floats) -> float:
    """Of all that changes, the most from one to the next."""
    return float(np.abs(np.diff(levels)).max(initial=0) / max(1e-6, float(np.ptp(levels))))
