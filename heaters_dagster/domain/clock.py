"""Clocks that are wrong, for one frame or from one frame on: how the times of frames are corrected, and what people are told about it.

Frames whose times are right keep them exactly, the order of frames never changes, and no frame is lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from heaters_dagster.domain.words import counted

#: A clock that goes back by more than this, and stays there, was set again; a smaller step means that two streams overlap.
BACKWARD_SECONDS = 1.0
#: A clock that goes forward by more than this was set again, unless sound fills the time between: a picture may stand still for long.
FORWARD_SECONDS = 3600.0
#: In a transport stream the clock of each programme begins anywhere, so a larger step than this is another clock (as in FFmpeg).
FORWARD_SECONDS_OF_STREAMS = 10.0

#: Up to this many frames in a row may have a wrong time and are put between their neighbours; more mean that the clock jumped.
OUTLIERS_IN_A_ROW = 8

#: A few frames at either end of a steady picture that are further away from all others have wrong times, unless there is sound between.
FAR_END_SECONDS = 10.0
_STEADY_SHARE = 0.95

#: How far decoding and showing can be apart: ITU-T H.264, A.3.1, max_num_reorder_frames.
_MOST_FRAMES_HELD = 16
_FRAMES_AT_ONCE = 65_536
_USUAL_STEPS = 100
#: One right frame has more witnesses on one side of it than OUTLIERS_IN_A_ROW wrong ones that agree can have among themselves.
_WITNESSES = OUTLIERS_IN_A_ROW * (OUTLIERS_IN_A_ROW + 1)


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A clock that was set again between two frames.

    before_seconds, after_seconds: the times of the frame before and of the frame after. shift_seconds: to subtract from all later times, so
    that the frame after follows the frame before at the usual distance.
    """

    before_seconds: float
    after_seconds: float
    shift_seconds: float

    def __str__(self) -> str:
        way = "forward" if self.shift_seconds > 0 else "back"
        return f"{way} by {spoken(abs(self.shift_seconds))} after {self.before_seconds:.3f} s"


@dataclass(frozen=True, slots=True, eq=False)
class MendedTimes:
    """seconds: (n,) of all frames in order, never falling. wild: (n,) bool, the frames that had an impossible time.

    farthest_seconds: by how much the worst of them was moved. jumps: where the clock was set again; such a step is removed.
    """

    seconds: NDArray[np.float64]
    wild: NDArray[np.bool_]
    farthest_seconds: float
    jumps: tuple[ClockJump, ...]

    def notes(self) -> list[str]:
        """For people: one sentence for each kind of correction."""
        notes = []
        if count := int(np.count_nonzero(self.wild)):
            frames = counted(count, "frame has a wrong time", "frames have wrong times")
            notes.append(
                f"{frames}, by up to {spoken(self.farthest_seconds)}: each was moved between its neighbours, which keep their times"
            )
        if self.jumps:
            more = f"; and {len(self.jumps) - 3} more" if len(self.jumps) > 3 else ""
            shown = "; ".join(str(jump) for jump in self.jumps[:3])
            notes.append(f"its clock jumps ({shown}{more}): the frames after a jump follow without a gap, and the sound moves with them")
        return notes


def seconds_of(ticks: int, time_base: Fraction) -> float:
    """The same as float(ticks * time_base), rounded once, in a tenth of its time: it is computed for every packet."""
    return ticks * time_base.numerator / time_base.denominator


def spoken(seconds: float) -> str:
    """A length of time for people."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def usual_step(seconds: NDArray[np.float64]) -> float:
    """Seconds from one frame to the next in order of showing, for most of them; 1/25 when nothing is known.

    seconds: (n,) in order of showing or of decoding.
    """
    steps = np.diff(seconds)
    breaks = np.flatnonzero(np.abs(steps) > BACKWARD_SECONDS) + 1
    if 2 * len(breaks) < len(steps):
        steps = np.concatenate([np.diff(np.sort(part)) for part in np.split(seconds, breaks)])
    rising = steps[steps > 0]
    return float(np.median(rising)) if len(rising) else 0.04


def clock_jumps(
    seconds: NDArray[np.float64], *, forward_seconds: float = FORWARD_SECONDS, sound: NDArray[np.float64] | None = None
) -> tuple[ClockJump, ...]:
    """Where the clock of a row of frames was set again.

    seconds: (n,) in order of showing or of decoding. sound: times at which there is sound. With sound all through, the picture stood
    still; without, the clock jumped.
    """
    jumps = [jump for _, jump in _placed_jumps(seconds, forward_seconds)]
    return tuple(
        jump for jump in jumps if jump.shift_seconds < 0 or sound is None or not _filled(jump.before_seconds, jump.after_seconds, sound)
    )


def stands_still_at_an_end(seconds: NDArray[np.float64], sound: NDArray[np.float64]) -> bool:
    """Whether sound fills a long time between the first few frames and the others, or the last few: then their times are right.

    seconds: (n,) of a picture's frames in any order. sound: (m,) times at which there is sound.
    """
    shown = np.sort(seconds)
    gaps = np.flatnonzero(np.diff(shown) > FAR_END_SECONDS)
    at_an_end = gaps[(gaps < OUTLIERS_IN_A_ROW) | (gaps >= len(shown) - 1 - OUTLIERS_IN_A_ROW)]
    return any(_filled(float(shown[gap]), float(shown[gap + 1]), sound) for gap in at_an_end.tolist())


def mended(
    seconds: NDArray[np.float64],
    jumps: Sequence[ClockJump] = (),
    *,
    forward_seconds: float = FORWARD_SECONDS,
    stands_still: bool = False,
) -> MendedTimes:
    """The times of frames on one clock, with impossible times corrected.

    seconds: (n,) in order of showing. jumps: of this clock, as found in the file's packets. No others are searched for, because the sound
    would not follow them. stands_still: see `stands_still_at_an_end`.
    """
    found = np.array(seconds, dtype=np.float64)
    followed = []
    left = list(jumps)
    for place, own in _placed_jumps(found, forward_seconds) if left else []:
        same = next((number for number, jump in enumerate(left) if _alike(jump, own)), None)
        if same is not None:
            followed.append((place, left[same]))
            del left[: same + 1]
    for place, jump in followed:
        found[place:] -= jump.shift_seconds
    if in_order_of_decoding(found):
        found = np.sort(found)
    trusted = _trusted(found, forward_seconds, stands_still)
    wild = ~trusted
    straight = _between(found, trusted) if wild.any() else found
    farthest = float(np.abs(straight - found)[wild].max()) if wild.any() else 0.0
    return MendedTimes(straight, wild, farthest, tuple(jump for _, jump in followed))


def sound_in_step(seconds: NDArray[np.float64], jumps: Sequence[ClockJump]) -> NDArray[np.float64]:
    """When the packets of a sound are heard on the picture's clock, from which `jumps` are taken out.

    seconds: (n,) of its packets in order. A sound whose clock is set again where the picture's is not goes on without a gap; so does one
    of a few packets, which cannot tell a jump from a wrong time.
    """
    steps = np.diff(seconds)
    if len(seconds) <= 2 * OUTLIERS_IN_A_ROW and np.any((steps < -BACKWARD_SECONDS) | (steps > FORWARD_SECONDS)):
        first, count = float(seconds[0]), len(seconds)
        return np.linspace(first, first + (count - 1) * usual_step(seconds), count)
    left = list(jumps)
    followed = []
    for own in clock_jumps(seconds):
        same = next((number for number, jump in enumerate(left) if _alike(jump, own)), None)
        if same is not None:
            followed.append(replace(own, shift_seconds=left[same].shift_seconds))
            del left[: same + 1]
        else:
            followed.append(own)
    return mended(seconds, followed, stands_still=True).seconds


def in_order_of_decoding(seconds: NDArray[np.float64]) -> bool:
    """Whether the times are those of a steady picture, but given to its frames in the order of decoding: then each is a neighbour's.

    seconds: (n,) in order of showing. So MXF has them when its index says nothing of the order.
    """
    if len(seconds) < 3 or not np.any(np.diff(seconds) < 0):
        return False
    order = np.argsort(seconds, kind="stable")
    steps = np.diff(seconds[order])
    usual = float(np.median(steps))
    near = int(np.abs(order - np.arange(len(order))).max()) <= _MOST_FRAMES_HELD
    return near and usual > 0 and bool(np.all(np.abs(steps - usual) <= usual / 2))


def rising_ticks(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) int64: each later than the one before it, and moved as little as possible; the first stays."""
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps


def _placed_jumps(seconds: NDArray[np.float64], forward_seconds: float) -> list[tuple[int, ClockJump]]:
    """(number of the first frame after it, jump) in order."""
    steps = np.diff(seconds)
    if len(seconds) <= 2 * OUTLIERS_IN_A_ROW or not np.any((steps > forward_seconds) | (steps < -BACKWARD_SECONDS)):
        return []
    usual = usual_step(seconds)
    forward_seconds = max(forward_seconds, _USUAL_STEPS * usual)
    level = _level(seconds - np.arange(len(seconds)) * usual)
    moves = np.diff(level)
    jumps = []
    for last in np.flatnonzero((moves > forward_seconds) | (moves < -BACKWARD_SECONDS)).tolist():
        if not OUTLIERS_IN_A_ROW <= last + 1 <= len(seconds) - OUTLIERS_IN_A_ROW:
            continue  # so few frames are put between their neighbours
        before, after = (seconds[max(0, last - OUTLIERS_IN_A_ROW) : last + 1], seconds[last + 1 : last + 2 + OUTLIERS_IN_A_ROW])
        if (
            moves[last] < 0
            and float(np.diff(seconds[max(0, last - OUTLIERS_IN_A_ROW) : last + 2 + OUTLIERS_IN_A_ROW]).min()) > -BACKWARD_SECONDS
        ):
            continue  # frames come faster than usual; the clock does not go back
        near = abs(moves[last]) / 2
        end = float(before[np.abs(before - np.median(before)) < near].max(initial=-np.inf))
        start = float(after[np.abs(after - np.median(after)) < near].min(initial=np.inf))
        if np.isfinite(end) and np.isfinite(start):
            jumps.append((last + 1, ClockJump(end, start, start - end - usual)))
    return jumps


def _level(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the median around each frame: a few wrong ones do not move it. The first and the last few share the median of their end."""
    windows = sliding_window_view(seconds, 2 * OUTLIERS_IN_A_ROW + 1)
    whole = [np.median(windows[low : low + _FRAMES_AT_ONCE], axis=1) for low in range(0, len(windows), _FRAMES_AT_ONCE)]
    return np.pad(np.concatenate(whole), OUTLIERS_IN_A_ROW, mode="edge")


def _filled(low: float, high: float, sound: NDArray[np.float64]) -> bool:
    """Whether there is sound all through the time from `low` to `high`."""
    parts = np.linspace(low, high, 9)
    return bool(np.all(np.histogram(sound, parts)[0] > 0))


def _alike(one: ClockJump, other: ClockJump) -> bool:
    return abs(one.shift_seconds - other.shift_seconds) < max(BACKWARD_SECONDS, abs(one.shift_seconds) / 100)


def _trusted(seconds: NDArray[np.float64], forward_seconds: float, stands_still: bool) -> NDArray[np.bool_]:
    """(n,) bool: the best witnessed set of frames whose times never fall, without a few at either end that are far from all others."""
    trusted = np.ones(len(seconds), dtype=np.bool_)
    if np.any(np.diff(seconds) < 0):
        trusted = _heaviest_rising(seconds, _witnessed(seconds))
    kept = np.flatnonzero(trusted)
    if len(kept) > OUTLIERS_IN_A_ROW:
        few = min(OUTLIERS_IN_A_ROW, len(kept) // 3)
        steps = np.diff(seconds[kept])
        far = _far(steps, np.diff(kept), forward_seconds, stands_still)
        leaps = np.flatnonzero(steps > far)
        for leap in leaps.tolist():
            if leap + 1 <= few:
                trusted[kept[: leap + 1]] = False
            elif len(kept) - (leap + 1) <= few:
                trusted[kept[leap + 1 :]] = False
    return trusted


def _far(steps: NDArray[np.float64], frames: NDArray[np.int64], forward_seconds: float, stands_still: bool) -> float:
    """From how many seconds on a step is none of this clock, near either end. steps: (n,), each over that many frames."""
    of_one = steps / frames
    rising = of_one[of_one > 0]
    usual = float(np.median(rising)) if len(rising) else 0.0
    far = max(FAR_END_SECONDS, _USUAL_STEPS * usual)
    near = of_one[steps <= far]
    steady = len(near) > 0 and float(np.mean(np.abs(near - usual) <= usual / 2)) >= _STEADY_SHARE
    return far if steady and not stands_still else max(forward_seconds, far)


def _witnessed(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) above 0: how well the time of each frame agrees with those of its neighbours, both exactly and roughly."""
    usual = usual_step(seconds)
    weights = np.full(len(seconds), 1e-6)
    for apart in range(1, min(_WITNESSES, len(seconds) - 1) + 1):
        off = np.abs(seconds[apart:] - seconds[:-apart] - apart * usual) / usual
        agreement = 1 / (1 + off) + 1 / (1 + off / apart)
        weights[apart:] += agreement
        weights[:-apart] += agreement
    return weights


def _heaviest_rising(seconds: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) bool: a subsequence that never falls, of the largest weight (patience sorting)."""
    tails: list[float] = []
    heaviest: list[float] = []
    tail_frames: list[int] = []
    before = np.full(len(seconds), -1, dtype=np.int64)
    for frame, (time, weight) in enumerate(zip(seconds.tolist(), weights.tolist(), strict=True)):
        place = past = bisect_right(tails, time)
        if place:
            before[frame] = tail_frames[place - 1]
            weight += heaviest[place - 1]
        while past < len(tails) and heaviest[past] <= weight:
            past += 1
        tails[place:past], heaviest[place:past], tail_frames[place:past] = [time], [weight], [frame]
    rising = np.zeros(len(seconds), dtype=np.bool_)
    frame = tail_frames[-1]
    while frame >= 0:
        rising[frame] = True
        frame = int(before[frame])
    return rising


def _between(seconds: NDArray[np.float64], trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The times, where those that are not trusted now lie evenly between their neighbours, or at the usual distance at either end."""
    numbers, kept = np.arange(len(seconds)), np.flatnonzero(trusted)
    straight = np.where(trusted, seconds, np.interp(numbers, kept, seconds[kept]))
    step = usual_step(seconds[kept])
    straight[: kept[0]] = seconds[kept[0]] - (kept[0] - numbers[: kept[0]]) * step
    straight[kept[-1] + 1 :] = seconds[kept[-1]] + (numbers[kept[-1] + 1 :] - kept[-1]) * step
    return straight
