"""How early an order of the review queue brings what reviewers correct."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Shares of the queue at which it is said how many corrections are found by then.
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
#: The share that counts: who reviews no more than this, how much of what is wrong do they see?
EARLY = 0.2


@dataclass(frozen=True, slots=True)
class Early:
    """Corrections found when `share` of the clips are reviewed, as a part (0..1) of all: in order of time, and least confident first."""

    share: float
    in_order: float
    least_confident_first: float


@dataclass(slots=True)
class QueuedClips:
    """Clips as a detector cuts them, video after video, and what reviewers correct at them.

    A correction of a cut is found at the first of the two clips beside it, a missed cut in the clip that it divides. Twelve bytes per clip.
    """

    _confidences: array[float] = field(default_factory=lambda: array("f"))
    _left: array[int] = field(default_factory=lambda: array("q"))
    _right: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self._confidences)

    @property
    def corrections(self) -> int:
        return len(self._left)

    def add(self, confidences: Iterable[float | None], corrections: Iterable[tuple[int, int]]) -> None:
        """The clips of one source video. confidences: None for a clip without a detected boundary. corrections: each by the places, in
        `confidences`, of the two clips at which it is found, or twice the same."""
        first = len(self)
        # Clips without a confidence come last, as in the queue.
        self._confidences.extend(np.inf if one is None else one for one in confidences)
        for left, right in corrections:
            self._left.append(first + left)
            self._right.append(first + right)

    def found(self, shares: Sequence[float] = SHARES) -> list[Early]:
        """Nothing without clips or corrections."""
        if not len(self) or not self.corrections:
            return []
        by_confidence = np.argsort(np.frombuffer(self._confidences, np.float32), kind="stable")
        ranks = np.empty(len(self), np.int64)
        ranks[by_confidence] = np.arange(len(self))
        in_order, least = self._seen_at(np.arange(len(self))), self._seen_at(ranks)
        reviewed = [round(share * len(self)) for share in shares]
        return [
            Early(share, float(np.mean(in_order < count)), float(np.mean(least < count)))
            for share, count in zip(shares, reviewed, strict=True)
        ]

    def early(self) -> Early | None:
        return next(iter(self.found([EARLY])), None)

    def _seen_at(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        left, right = (np.frombuffer(places, np.int64) for places in (self._left, self._right))
        return np.minimum(ranks[left], ranks[right])
