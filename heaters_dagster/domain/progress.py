"""How far a piece of work is: a value that a bar on the command line and an event in Dagster can both show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from heaters_dagster.domain.stages import VIDEO_STAGES, with_states
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.words import percent

Unit: TypeAlias = Literal["frames", "bytes", "seconds", "clips"]

#: People are told that a stage stands still when it has not got further for this long. Shorter silences are ordinary: a file is hashed,
#: the end of a file is written.
STILL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One reading.

    stage: what is being done, in a word ("proxy"). done, total: in `unit`; total is None when nobody knows it.
    elapsed_seconds: wall time since the work began. `done` may pass `total`: container durations are estimates.
    part: what of it is worked on now, in words ("piece 3 of 10"). is_waiting: it waits for its turn, so that it cannot get further.
    still_seconds: for how long the figures have not changed, where they are read back; 0 while it waits.
    """

    stage: str
    done: float
    total: float | None
    unit: Unit
    elapsed_seconds: float
    part: str = ""
    is_waiting: bool = False
    still_seconds: float = field(default=0.0, compare=False)

    @classmethod
    def begun(cls, asset: str) -> Progress:
        """Of a stage that has not told yet how far it is."""
        return cls(asset, 0, None, "frames", 0.0)

    def waiting_for_turn(self, machine: str) -> Progress:
        """The same while the work waits until others on its machine are done."""
        return replace(self, part=f"waits for its turn on {machine}", is_waiting=True)

    @property
    def fraction(self) -> float | None:
        """0..1, or None when the total is unknown."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None

    @property
    def speed(self) -> float | None:
        """Units a second so far (for `seconds`: times real time), or None before any time has passed."""
        return self.done / self.elapsed_seconds if self.elapsed_seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Wall time to go at the speed so far, or None when total or speed is unknown."""
        if not self.total or not self.speed:
            return None
        return max(0.0, self.total - self.done) / self.speed

    @property
    def stands_still(self) -> bool:
        """Whether people are told so."""
        return self.still_seconds >= STILL_SECONDS

    def __str__(self) -> str:
        """`proxy 42 %, 3.1x real time, 12 s left`, with what is known."""
        if self.is_waiting:
            return f"{self.stage} {self.part}"
        stage = f"{self.stage} ({self.part})" if self.part else self.stage
        parts = [stage if self.fraction is None else f"{stage} {percent(self.fraction)}"]
        if self.fraction is None:
            parts.append(f"{self.done:.0f} {self.unit}")
        if self.speed:
            parts.append(_speed(self.speed, self.unit))
        if self.seconds_left is not None:
            parts.append(f"{self.seconds_left:.0f} s left")
        return ", ".join(parts)


def _speed(speed: float, unit: Unit) -> str:
    if unit == "seconds":
        return f"{speed:.1f}x real time"
    return f"{speed / 1e6:.1f} MB/s" if unit == "bytes" else f"{speed:.0f} {unit}/s"


_WORDS = {
    "source_video": "fetching it",
    "download": "fetching it",
    "upload": "storing it",
    "proxy": "making the proxy",
    "proxy_pieces": "making the pieces of the proxy",
    "joined_proxy": "joining the pieces of the proxy",
    "virtual_clips": "looking for cuts",
    "scene_scores": "looking for cuts",
    "gold_master": "making the gold master",
    "exports": "exporting clips",
    "keyframes": "making keyframes",
    "embeddings": "computing embeddings",
}


def in_words(progress: Progress) -> str:
    """For people who wait: `making the proxy: 42 %, about 3 min left`, with what is known."""
    words = ", ".join(filter(None, (_WORDS.get(progress.stage, progress.stage.replace("_", " ")), progress.part)))
    if progress.is_waiting:
        return words
    left = f", no progress for {duration(progress.still_seconds)}" if progress.stands_still else ""
    if progress.fraction is None:
        return f"{words}: {progress.done / 1e6:.0f} MB so far{left}" if progress.unit == "bytes" else f"{words}{left}"
    if not progress.stands_still and progress.seconds_left is not None:
        left = f", about {duration(progress.seconds_left)} left"
    return f"{words}: {int(100 * progress.fraction)} %{left}"


def progress_in(state: SourceVideoState, told: Mapping[str, Progress]) -> Progress | None:
    """How far the stage is that has a source video in `state` on its way to review; told: asset -> how far its stage is, of those that
    work now. A stage that has begun may still wait for its turn, with the row in the state before it."""
    own = (stage.asset for stage in with_states(VIDEO_STAGES) if state in {stage.steps.ready, stage.steps.working})
    return next((told[asset] for asset in own if asset in told), None)


def duration(seconds: float) -> str:
    """`20 s`, `3 min`, `2 h 5 min`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


Report: TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A Report that shows nothing."""
