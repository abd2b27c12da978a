"""Which runs wait because the disk has too little room for them. Pure; what a stage needs is estimated in `room_needed.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heaters_dagster.domain.due import RunWanted, VideoFacts
from heaters_dagster.domain.room_needed import ESTIMATES, MediaSize
from heaters_dagster.domain.stages import GOLD_MASTER, PROXY, SOURCE_VIDEO

#: Of every disk this much stays free unless HEATERS_KEEP_FREE_MB says otherwise: with less, nothing is stored.
LEAST_FREE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class RoomWait:
    """A stage of a source video that waits for room. bytes_free: what it could have had then, without what others were promised."""

    asset: str
    bytes_needed: int
    bytes_free: int

    @property
    def words(self) -> str:
        free = f"{in_bytes(self.bytes_free)} are" if self.bytes_free > 0 else "nothing is"
        return f"waits for room on the disk: needs {in_bytes(self.bytes_needed)}, {free} free"


@dataclass(frozen=True, slots=True)
class DividedRoom:
    """begin: runs for which there is room, in the order given. waiting: the others, each with what it waits for."""

    begin: tuple[RunWanted, ...]
    waiting: Mapping[RunWanted, RoomWait] = field(default_factory=dict)


def divided(
    wanted: Iterable[RunWanted],
    media: Mapping[str, MediaSize],
    *,
    free_bytes: int,
    known: Mapping[tuple[str, str], int],
) -> DividedRoom:
    """Give the free room to the wanted runs, the first one first; a run that needs none never waits.

    media: partition key -> size. free_bytes: what may still be promised. known: (partition key, asset) -> what a stage has said that it
    needs, when it found no room; it knows better than the estimate.
    """
    begin: list[RunWanted] = []
    waiting: dict[RunWanted, RoomWait] = {}
    for run in wanted:
        asset, needed = _need(run, media.get(run.partition_key, MediaSize()), known)
        if needed and needed > free_bytes:
            waiting[run] = RoomWait(asset, needed, free_bytes)
        else:
            begin.append(run)
            free_bytes -= needed
    return DividedRoom(tuple(begin), waiting)


def still_to_be_promised(video: VideoFacts, asset: str) -> int:
    """What a queued or running run that makes `asset` will ask for, and has not yet. A stage that works has asked already."""
    to_come = {
        SOURCE_VIDEO.asset: not video.has_original,
        PROXY.asset: video.has_original and video.state in PROXY.steps.due,
        GOLD_MASTER.asset: not video.has_gold_master,
    }
    return ESTIMATES[asset](video.media) if to_come.get(asset) and asset not in video.busy else 0


def _need(run: RunWanted, media: MediaSize, known: Mapping[tuple[str, str], int]) -> tuple[str, int]:
    """(asset, bytes) of the first stage of the run; of a later one when that has said that it found no room."""
    first = run.assets[0]
    estimate = ESTIMATES.get(first)
    needs = {first: estimate(media) if estimate is not None else 0}
    needs |= {
        asset: max(needs.get(asset, 0), known[run.partition_key, asset]) for asset in run.assets if (run.partition_key, asset) in known
    }
    asset = max(needs, key=lambda name: needs[name])
    return asset, needs[asset]


def in_bytes(count: int) -> str:
    """`12 GB`, `3.4 MB`, `30 kB`: at most three digits, for people."""
    amount, unit = next(((count / size, unit) for unit, size in (("GB", 10**9), ("MB", 10**6)) if count >= size), (count / 1000, "kB"))
    return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:,.0f} {unit}"
