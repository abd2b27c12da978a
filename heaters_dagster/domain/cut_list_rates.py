"""The frame rate of a cut list, and where the timecode of a source video begins at this rate.

An editing program knows constant rates alone. A source video whose cuts all lie at `round(seconds x rate) == frame` is constant for a list;
when that rate is none that editing programs know, its frames must follow one another at this rate, too: cuts may fit an average by chance.
For any other one the list counts at the lowest common rate at which each frame has a place of its own, so that no frame is lost and
a file of that rate, with frames repeated where the time asks for it, fits the list exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.timecode import DROP_FRAME_RATES, SourceTime, frames_per_day, nominal_rate, timeline_rate

#: Rates that all editing programs of our formats know, ascending.
EDITING_RATES = tuple(
    sorted([*(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)), *(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120))])
)

#: Stamps are whole units of a time base: up to half a millisecond off, which is 0.06 of a frame at 120 a second.
_ON_GRID = 0.07

#: A camera's clock trembles by some milliseconds. Where one frame of a few is missing, the next comes a third of a frame late or more.
_STEADY = 0.25

#: Far more than what a float of a day's seconds leaves out, far less than a unit of any time base.
_TRIFLE = Fraction(1, 10**6)


def constant_rate(average: Fraction, edges: Sequence[tuple[int, float]], *, stated: Fraction | None = None) -> Fraction | None:
    """The rate at which every (frame, seconds) of `edges` lies at its own number; None when there is none: the rate is variable.

    The first one is frame 0, from which the others count: a picture may begin later than its sound. average: of the whole source video.
    stated: what the file says of its rate.
    """
    rates = [timeline_rate(rate) for rate in (stated, average) if rate] + [average]

    def fits(rate: Fraction) -> bool:
        begin = place_at(edges[0][1], rate)
        return all(place_at(seconds, rate) - begin == frame for frame, seconds in edges)

    return next((rate for rate in dict.fromkeys(rates) if fits(rate)), None)


def place_at(seconds: float, rate: Fraction) -> int:
    """The frame of a list at `rate` that begins nearest to a time of the frame index; of two that are as near, the later one.

    A picture that begins late may lie half a frame off this grid all along: its frames must all go to the same side, as in `frame_places`,
    and a time is a float, so that a half may be a trifle less.
    """
    return math.floor(Fraction(seconds) * rate + Fraction(1, 2) + _TRIFLE)


def is_steady(pts: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> bool:
    """Whether each frame comes one frame of `rate` after the one before it. pts: (n,) in units of `time_base`."""
    return bool(np.all(np.abs(np.diff(pts) * float(time_base * rate) - 1) <= _STEADY))


def frame_places(pts: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> NDArray[np.int64]:
    """Where each frame begins, in frames of `rate`: `round(seconds x rate)`, as the cuts of a list. pts: (n,) in units of `time_base`."""
    step = time_base * rate
    doubled = 2 * pts.astype(object) * step.numerator + step.denominator
    return np.array(doubled // (2 * step.denominator), dtype=np.int64)


def rate_without_loss(pts: NDArray[np.int64], time_base: Fraction) -> tuple[Fraction, int]:
    """(rate, frames without a place of their own: 0 unless even the highest rate is too low).

    The lowest of EDITING_RATES that loses no frame, and of these rather one on whose grid all frames lie: that is what a camera that
    dropped frames had been set to.
    """
    lossless = [rate for rate in EDITING_RATES if _lost(pts, time_base, rate) == 0]
    if not lossless:
        return EDITING_RATES[-1], _lost(pts, time_base, EDITING_RATES[-1])
    return next((rate for rate in lossless if _off_grid(pts, time_base, rate) <= _ON_GRID), lossless[0]), 0


def _lost(pts: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> int:
    return int(np.count_nonzero(np.diff(frame_places(pts, time_base, rate)) <= 0))


def _off_grid(pts: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> float:
    """The largest distance of a frame from its place, in frames."""
    return float(np.max(np.abs(pts * float(time_base * rate) - frame_places(pts, time_base, rate))))


def first_count(time: SourceTime | None, rate: Fraction) -> int:
    """The count of frame 0 at the nominal number of `rate`: timecode may count 25 where the video has 50 frames a second."""
    return 0 if time is None else round(Fraction(time.first_frame * nominal_rate(rate), nominal_rate(time.rate)))


def count_of_beginning(time: SourceTime | None, rate: Fraction, frame_0: int) -> int:
    """The count at the beginning of a file whose timecode is that of frame 0, and whose frame 0 is shown `frame_0` frames after it.

    A picture may begin later than its sound; the timecode is that of the picture.
    """
    if time is None:
        return 0
    return (first_count(time, rate) - frame_0) % frames_per_day(rate, drop_frame=drops_frames(time, rate))


def drops_frames(time: SourceTime | None, rate: Fraction) -> bool:
    """Whether a list at `rate` counts in drop-frame timecode: the source video does, and there is such a timecode at this rate."""
    return time is not None and time.drop_frame and rate in DROP_FRAME_RATES
