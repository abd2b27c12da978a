"""Where each decoded piece of a sound goes: at its own time, whatever is missing, overlaps or has a wrong time.

A sound is a row of samples, and its container says when each piece is heard. Where the two disagree for long, the container is right
(packets are missing, streams were joined); where they disagree for a moment, it is wrong (times rounded to a millisecond, a jittering
clock). So a correction is made only when all the next pieces agree on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Generic, TypeVar

from heaters_dagster.domain.clock import ClockJump

#: A lasting difference of this or more is corrected at once: by silence, or by leaving out the overlap. 5 ms of wrong lips is noticed.
STEP_SECONDS = 0.004
#: A smaller one is corrected by stretching, down to `_STRETCHED_SECONDS`: a clock that runs 0.01 % fast must not cause clicks.
_DRIFT_SECONDS = 0.0015
_STRETCHED_SECONDS = 0.0003
_LARGEST_STRETCH = 0.005
_DRIFT_WINDOW_SECONDS = 1.0

#: A larger difference than this means that the clock is wrong or jumped, not that packets are missing.
WILD_SECONDS = 1.0
#: Sound that goes on for so long after the last picture is taken for sound with a wrong clock.
_AFTER_THE_PICTURE_SECONDS = 10.0

#: Up to this, a difference may be jitter.
_TREMBLING_SECONDS = 0.015

_PIECES_AHEAD = 24
_SECONDS_AHEAD = 2.0
_AGREEING_PIECES = 3
_STEADY_PIECES = 8

Samples = TypeVar("Samples")


@dataclass(frozen=True, slots=True)
class Placed(Generic[Samples]):
    """One piece and what to do with it, in this order: leave out its first `dropped` samples, make the rest `stretched` samples longer
    (shorter, when below 0), put `silence` samples before it."""

    samples: Samples
    silence: int = 0
    dropped: int = 0
    stretched: int = 0


@dataclass(slots=True)
class _Piece(Generic[Samples]):
    seconds: float | None
    count: int
    samples: Samples


class SoundPlacement(Generic[Samples]):
    """Takes each piece in order, and returns what goes into the output, a little later.

    rate: samples a second. jumps: of the picture's clock, in order; the sound's follows it. end_seconds: when the picture ends, on the
    clock without its jumps; None when that is not known.
    """

    def __init__(self, rate: int, *, jumps: Sequence[ClockJump] = (), end_seconds: float | None = None) -> None:
        self._rate = self.rate = rate
        self._jumps = deque(jumps)
        self._end_seconds = end_seconds
        self._ahead: deque[_Piece[Samples]] = deque()
        self._ahead_samples = 0
        self._shift = 0.0
        self._written = 0
        self._drift = 0.0
        self._stretching = False
        self.start_seconds: float | None = None
        #: Samples of silence added and of sound left out after the beginning; places where the sound's own clock was wrong.
        self.silence = 0
        self.dropped = 0
        self.clock_errors = 0

    @property
    def end_seconds(self) -> float:
        """When the last sample so far has been heard."""
        return (self.start_seconds or 0.0) + self._written / self._rate

    def add(self, seconds: float | None, count: int, samples: Samples) -> Iterator[Placed[Samples]]:
        """seconds: when the first of `count` samples is heard; None when the container does not say."""
        if count <= 0:
            return
        self._ahead.append(_Piece(seconds, count, samples))
        self._ahead_samples += count
        full = len(self._ahead) > _PIECES_AHEAD or self._ahead_samples > _SECONDS_AHEAD * self._rate
        while len(self._ahead) > _AGREEING_PIECES and full:
            yield from self._placed()
            full = len(self._ahead) > _PIECES_AHEAD or self._ahead_samples > _SECONDS_AHEAD * self._rate

    def finish(self) -> Iterator[Placed[Samples]]:
        """What is still to come."""
        while self._ahead:
            yield from self._placed()

    def _placed(self) -> Iterator[Placed[Samples]]:
        if self.start_seconds is None:
            self.start_seconds = self._origin()
        step = self._step()
        piece = self._ahead.popleft()
        self._ahead_samples -= piece.count
        silence = dropped = 0
        if step >= STEP_SECONDS:
            silence = round(step * self._rate)
        elif step <= -STEP_SECONDS:
            dropped = min(piece.count, round(-step * self._rate))
        if silence or dropped:
            self._drift, self._stretching = 0.0, False
        self.silence += silence
        self.dropped += dropped
        stretched = self._stretch(piece, silence, dropped)
        self._written += silence + piece.count - dropped + stretched
        if dropped < piece.count:
            yield Placed(piece.samples, silence, dropped, stretched)

    def _origin(self) -> float:
        """When the first sample is heard. A first piece with a wrong time goes before the second; where times jitter, the middle counts."""
        first = self._ahead[0]
        known = first.seconds or 0.0
        after, count = [], first.count
        for piece in list(self._ahead)[1:]:
            if piece.seconds is not None:
                after.append(piece.seconds - known - count / self._rate)
            count += piece.count
        error = _agreed(after)
        if first.seconds is None or (len(after) >= _AGREEING_PIECES and abs(error) > WILD_SECONDS):
            return known + error
        return known + median([0.0, *after]) if _trembles(after) else known

    def _differences(self) -> Iterator[float]:
        """By how much the container has each of the next pieces later than the output would, up to the first that disagrees."""
        assert self.start_seconds is not None
        base, count = self.start_seconds + self._written / self._rate, 0
        later = earlier = False
        for piece in self._ahead:
            if piece.seconds is not None:
                found = piece.seconds - self._shift - base - count / self._rate
                yield found
                later, earlier = later or found >= 0, earlier or found <= 0
                if later and earlier:
                    return
            count += piece.count

    def _step(self) -> float:
        """Seconds by which the next piece has to be later (earlier, when below 0) than right after the last one."""
        if self._ahead[0].seconds is None:
            return 0.0
        differences = list(self._differences())
        step = _agreed(differences)
        few = len(differences) < (_STEADY_PIECES if abs(step) <= _TREMBLING_SECONDS else _AGREEING_PIECES)
        if few and not _TREMBLING_SECONDS < abs(step) <= WILD_SECONDS:
            return 0.0  # the end of the sound: too few pieces are left to agree
        if abs(step) <= WILD_SECONDS:
            return step
        if (jump := self._followed_jump(step)) is not None:
            self._shift += jump.shift_seconds
            step -= jump.shift_seconds
        time = self.start_seconds or 0.0
        time += self._written / self._rate + step
        beyond = self._end_seconds is not None and time > self._end_seconds + _AFTER_THE_PICTURE_SECONDS
        if step < -WILD_SECONDS or (step > WILD_SECONDS and beyond):
            self._shift += step
            self.clock_errors += 1
            return 0.0
        return step

    def _followed_jump(self, step: float) -> ClockJump | None:
        """The jump of the picture's clock that explains a step; earlier ones count as done."""
        for number, jump in enumerate(self._jumps):
            if abs(step - jump.shift_seconds) < max(WILD_SECONDS, abs(step) / 2):
                for _ in range(number + 1):
                    self._jumps.popleft()
                return jump
        return None

    def _stretch(self, piece: _Piece[Samples], silence: int, dropped: int) -> int:
        left = piece.count - dropped
        if piece.seconds is None or silence or dropped or left < 2:
            return 0
        assert self.start_seconds is not None
        difference = piece.seconds - self._shift - self.start_seconds - self._written / self._rate
        if abs(difference) < 5 * STEP_SECONDS:
            self._drift += (difference - self._drift) * min(1.0, left / self._rate / _DRIFT_WINDOW_SECONDS)
        if abs(self._drift) > (_STRETCHED_SECONDS if self._stretching else _DRIFT_SECONDS):
            self._stretching = True
            most = max(1, int(left * _LARGEST_STRETCH))
            samples = max(-most, min(most, round(self._drift * self._rate)))
            self._drift -= samples / self._rate
            return samples
        self._stretching = False
        return 0


def _trembles(differences: Sequence[float]) -> bool:
    """Whether times go back and forth by more than a container's rounding: gaps and overlaps never do that."""
    steps = [later - earlier for earlier, later in pairwise(differences)]
    turns = sum(one * other < 0 for one, other in pairwise(steps))
    return turns > len(differences) / 3 and median(map(abs, steps)) > _DRIFT_SECONDS


def _agreed(differences: Iterable[float]) -> float:
    """The difference that all agree on, the smallest of them; 0 when some are above 0 and some below."""
    found = list(differences)
    if not found:
        return 0.0
    low, high = min(found), max(found)
    return low if low > 0 else high if high < 0 else 0.0
