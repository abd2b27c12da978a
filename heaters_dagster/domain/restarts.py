"""How long to wait before a program that ended by itself is started again, and when to give up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartRule:
    """Only ends within the last `window_seconds` count: after so long without one, the count starts at zero again.

    The first restart is at once, the second after `pause_seconds`, and each further one after twice the pause of the one before, at most
    `longest_pause_seconds`. After `max_restarts` of them the program is given up.
    """

    max_restarts: int = 6
    window_seconds: float = 600.0
    pause_seconds: float = 2.0
    longest_pause_seconds: float = 60.0

    def pause(self, ended_at: Sequence[float], now: float) -> float | None:
        """Seconds until the restart; None: give up. ended_at: times of all ends so far in seconds, the one just seen among them."""
        count = sum(now - moment < self.window_seconds for moment in ended_at)
        if count > self.max_restarts:
            return None
        return 0.0 if count <= 1 else min(self.longest_pause_seconds, self.pause_seconds * 2 ** (count - 2))
