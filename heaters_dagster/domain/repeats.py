"""Pictures that are shown several times in an even beat, as 24 or 30 of a second in a video of 50 or 60: nothing moves from one to its
repeats, so each new one looks like a jump beside them.

Frames are compared as if each picture were shown once. A slide that stands, a shot in which nothing moves and a picture that is held for a
moment have no such beat, and stay as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Levels of 256, mean over the picture, and share of the step before or after: what changes less is the same picture, encoded again.
_SAME, _SAME_SHARE = 0.3, 0.1
#: Steps in which a beat is felt, to either side, and after how many it is as before: each picture two or three times, or in turn.
_AROUND, _PERIODS = 12, (2, 3, 5)
#: Of these steps, how many may be otherwise: a cut need not keep the beat.
_OUT_OF_BEAT = 3
#: Of these steps, the share that shows something new.
_LEAST_NEW, _MOST_NEW = 0.28, 0.56

Frames = NDArray[np.uint8]
Flags = NDArray[np.bool_]


class Repeats:
    """One pass over one video. A frame is given when it is known whether it repeats the one before, so some are held back."""

    def __init__(self) -> None:
        self._held: Frames | None = None
        #: Of the frames from `_AROUND` + 1 before the first held one on: how much each differs from the one before it.
        self._steps = np.zeros(_AROUND + 1, np.float32)

    def feed(self, frames: Frames) -> tuple[Frames, Flags]:
        """frames: (n, 27, 48, 3) RGB, n >= 0. Returns those that are known by now, (m, 27, 48, 3), and which of them are repeats."""
        if not len(frames):
            return frames, np.zeros(0, bool)
        before = frames[:1] if self._held is None else self._held
        joined = np.concatenate([before, frames])
        new = _steps(joined[len(before) - 1 :])
        self._steps = np.concatenate([self._steps, new])
        # The first frame of all stands there twice.
        self._held = joined[1:] if self._held is None else joined
        return self._given(len(self._held) - _AROUND - 1)

    def finish(self) -> tuple[Frames, Flags]:
        """The frames that are still held."""
        if self._held is None:
            return np.zeros((0, 27, 48, 3), np.uint8), np.zeros(0, bool)
        self._steps = np.concatenate([self._steps, np.zeros(_AROUND + 1, np.float32)])
        given = self._given(len(self._held))
        self._held = None
        return given

    def _given(self, count: int) -> tuple[Frames, Flags]:
        assert self._held is not None
        if count <= 0:
            return self._held[:0], np.zeros(0, bool)
        repeats = _in_beat(self._steps[: count + 2 * (_AROUND + 1)])
        given, self._held, self._steps = self._held[:count], self._held[count:], self._steps[count:]
        return given, repeats


def _steps(frames: Frames) -> NDArray[np.float32]:
    """(n - 1,): how much each frame but the first differs from the one before it. Every third row tells."""
    rows = frames[:, 1::3]
    off = np.maximum(rows[1:], rows[:-1]) - np.minimum(rows[1:], rows[:-1])
    return np.asarray(off.reshape(len(off), -1).mean(1, dtype=np.float32), np.float32)


def _in_beat(steps: NDArray[np.float32]) -> Flags:
    """(n,): which frames repeat the one before in an even beat. steps: (n + 2 * (_AROUND + 1),)."""
    most = np.maximum(steps[:-2], steps[2:])
    new = steps[1:-1] > np.maximum(_SAME, _SAME_SHARE * most)
    count = len(new) - 2 * _AROUND
    repeats = np.zeros(count, bool)
    if new.all() or not new.any():
        return repeats
    share = _sums(new, 2 * _AROUND + 1) / (2 * _AROUND + 1)
    apart = _sums(new[1:] & new[:-1], 2 * _AROUND) <= _OUT_OF_BEAT
    for period in _PERIODS:
        out = _sums(new[period:] != new[:-period], 2 * _AROUND + 1 - period)
        repeats |= out <= _OUT_OF_BEAT
    return repeats & apart & (share >= _LEAST_NEW) & (share <= _MOST_NEW) & ~new[_AROUND : _AROUND + count]


def _sums(flags: Flags, length: int) -> NDArray[np.int_]:
    """(n - length + 1,): how many of so many in a row are true."""
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(total[length:] - total[:-length])
