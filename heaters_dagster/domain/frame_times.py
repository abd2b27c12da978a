"""Whether the original and the proxy have the same frames at the same times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import FORWARD_SECONDS, ClockJump, mended
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.words import counted

TOLERANCE_SECONDS = 1e-4


@dataclass(frozen=True, slots=True)
class TimesCompared:
    """original_count, proxy_count: frames. largest_error_seconds: over frames that both have. first_wrong_frame: None when all agree."""

    original_count: int
    proxy_count: int
    largest_error_seconds: float
    first_wrong_frame: int | None

    @property
    def same(self) -> bool:
        return self.original_count == self.proxy_count and self.first_wrong_frame is None

    def __str__(self) -> str:
        if self.original_count != self.proxy_count:
            return f"the original has {counted(self.original_count, 'frame')}, the proxy {self.proxy_count}"
        if self.first_wrong_frame is not None:
            return (
                f"from frame {self.first_wrong_frame} on, the proxy's times differ from the original's by up to "
                f"{self.largest_error_seconds:.6f} s"
            )
        return f"{counted(self.proxy_count, 'frame')} in both; times differ by at most {self.largest_error_seconds * 1000:.3f} ms"


def times_compared(
    original_seconds: NDArray[np.float64],
    index: FrameIndex,
    jumps: Sequence[ClockJump] = (),
    *,
    forward_seconds: float = FORWARD_SECONDS,
    stands_still: bool = False,
) -> TimesCompared:
    """Compare the times of the original's frames with a whole frame index; both count from their first frame.

    original_seconds: (n,) in order of showing. Three differences are expected and are no errors: wrong times are corrected, jumps of the
    clock are removed, and a frame at the time of the one before it comes at least one unit of the proxy's time base later.
    """
    time_base = float(index.header.time_base)
    count = min(len(original_seconds), len(index))
    if count == 0:
        return TimesCompared(len(original_seconds), len(index), 0.0, None)
    seconds = mended(original_seconds, jumps, forward_seconds=forward_seconds, stands_still=stands_still).seconds[:count]
    units = (seconds - seconds[0]) / time_base
    steps = np.arange(count)
    expected = np.maximum.accumulate(units - steps) + steps
    errors = np.abs(expected - (index.pts[:count] - index.pts[0])) * time_base
    wrong = np.flatnonzero(errors > TOLERANCE_SECONDS)
    return TimesCompared(len(original_seconds), len(index), float(errors.max()), int(wrong[0]) if len(wrong) else None)
