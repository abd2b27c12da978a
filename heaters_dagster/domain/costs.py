"""What storage and processing cost by a price table, and what the eager design would have stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heaters_dagster.domain.audit import source_video_of_key
from heaters_dagster.domain.cold_storage import RestorePrices
from heaters_dagster.domain.errors import BadRequestError

GIB = 1 << 30

#: First part of a key -> what people call these objects. Others are called by that part.
_KINDS = {
    "originals": "originals",
    "gold_masters": "gold masters",
    "review_proxies": "proxies",
    "final_clips": "exports",
    "keyframes": "stills",
    "metadata": "frame indexes and scores",
    "subtitles": "subtitles",
    "thumbnails": "thumbnails",
}
KINDS = tuple(_KINDS.values())
ORIGINALS, GOLD_MASTERS, PROXIES, EXPORTS, STILLS, INDEXES = KINDS[:6]


def kind_of_key(key: str) -> str:
    first = key.partition("/")[0]
    return _KINDS.get(first, first)


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table. as_of: the day of the prices. gib_month: storage class -> price of a GiB for a month.

    overhead: class -> class -> bytes that are charged for each object besides its own. least_bytes: class -> what a smaller object is
    charged as. machine_hour: of a machine that processes. The three about the eager design are assumptions. restores: from cold storage;
    None in a table without them.
    """

    name: str
    as_of: str
    source: str
    currency: str
    gib_month: Mapping[str, float]
    overhead: Mapping[str, Mapping[str, int]]
    least_bytes: Mapping[str, int]
    machine_name: str
    machine_hour: float
    eager_note: str
    clip_bytes_per_original_byte: float
    sprite_bytes_per_frame: float
    eager_class: str
    restores: RestorePrices | None = None

    @classmethod
    def from_json(cls, data: Any) -> Prices:
        """Raises BadRequestError, which names what is wrong."""
        try:
            eager, machine = data["eager"], data["machine_hour"]
            prices = cls(
                name=str(data["name"]),
                as_of=str(data["as_of"]),
                source=str(data["source"]),
                currency=str(data["currency"]),
                gib_month={str(name): float(price) for name, price in data["gib_month"].items()},
                overhead={name: {of: int(size) for of, size in more.items()} for name, more in data.get("overhead", {}).items()},
                least_bytes={name: int(size) for name, size in data.get("least_bytes", {}).items()},
                machine_name=str(machine["name"]),
                machine_hour=float(machine["price"]),
                eager_note=str(eager["note"]),
                clip_bytes_per_original_byte=float(eager["clip_bytes_per_original_byte"]),
                sprite_bytes_per_frame=float(eager["sprite_bytes_per_frame"]),
                eager_class=str(eager["storage_class"]),
                restores=_restores(data),
            )
        except KeyError as error:
            raise BadRequestError(f"the price table lacks {error.args[0]!r}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise BadRequestError(f"the price table cannot be read: {error}") from None
        if prices.eager_class not in prices.gib_month:
            raise BadRequestError(f"the price table has no price for {prices.eager_class}, which it names for the eager design")
        return prices

    def month(self, stored: Stored, storage_class: str) -> float | None:
        """Price of these objects for a month; None when the table has no price for their class."""
        if storage_class not in self.gib_month:
            return None
        price = stored.byte_size + stored.small_bytes_missing.get(storage_class, 0)
        total = price / GIB * self.gib_month[storage_class]
        for of, size in self.overhead.get(storage_class, {}).items():
            total += stored.objects * size / GIB * self.gib_month.get(of, 0.0)
        return total


def _restores(data: Any) -> RestorePrices | None:
    if "restores" not in data:
        return None
    tiers = {
        (storage_class, tier): (float(price["gib"]), float(price["request"]))
        for storage_class, of_class in data["restores"].items()
        for tier, price in of_class.items()
    }
    return RestorePrices(str(data["currency"]), tiers, float(data["gib_month"]["STANDARD"]))


@dataclass(slots=True)
class Stored:
    """Objects of one kind, class, or month. small_bytes_missing: class -> bytes that small objects are charged beyond their own."""

    objects: int = 0
    byte_size: int = 0
    small_bytes_missing: dict[str, int] = field(default_factory=dict)

    def add(self, byte_size: int, storage_class: str, prices: Prices) -> None:
        self.objects += 1
        self.byte_size += byte_size
        least = prices.least_bytes.get(storage_class, 0)
        if byte_size < least:
            self.small_bytes_missing[storage_class] = self.small_bytes_missing.get(storage_class, 0) + least - byte_size


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """What is known of a source video for the report. month: `2026-11`, when it was submitted."""

    source_video_id: int
    title: str
    month: str
    duration_seconds: float
    frame_count: int
    original_bytes: int


class Storage:
    """Sums over all objects: by kind and class, by source video, by month of submission. Memory grows with the source videos only."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.by_kind: dict[tuple[str, str], Stored] = defaultdict(Stored)
        self._by_video: dict[int, dict[tuple[str, str], Stored]] = defaultdict(lambda: defaultdict(Stored))

    def add(self, key: str, byte_size: int, storage_class: str) -> None:
        kind = kind_of_key(key)
        self.by_kind[kind, storage_class].add(byte_size, storage_class, self.prices)
        self._by_video[source_video_of_key(key) or 0][kind, storage_class].add(byte_size, storage_class, self.prices)

    @property
    def byte_size(self) -> int:
        return sum(stored.byte_size for stored in self.by_kind.values())

    @property
    def month_price(self) -> float:
        return sum(self.prices.month(stored, name) or 0.0 for (_, name), stored in self.by_kind.items())

    @property
    def unpriced(self) -> list[str]:
        """Classes without a price in the table."""
        return sorted({name for _, name in self.by_kind} - self.prices.gib_month.keys())

    def of_kind(self, kind: str) -> int:
        """Bytes."""
        return sum(stored.byte_size for (one, _), stored in self.by_kind.items() if one == kind)

    def of_videos(self, ids: Iterable[int]) -> tuple[int, float]:
        """(bytes, price of a month) of these source videos together."""
        byte_size, price = 0, 0.0
        for source_video_id in ids:
            for (_, name), stored in self._by_video.get(source_video_id, {}).items():
                byte_size += stored.byte_size
                price += self.prices.month(stored, name) or 0.0
        return byte_size, price

    def kinds_of_video(self, source_video_id: int) -> dict[str, int]:
        """Kind -> bytes."""
        found: dict[str, int] = defaultdict(int)
        for (kind, _), stored in self._by_video.get(source_video_id, {}).items():
            found[kind] += stored.byte_size
        return dict(found)


@dataclass(frozen=True, slots=True)
class Eager:
    """What the eager design would have stored for the same source videos, in bytes; month_price: all of it."""

    originals: int
    clips: int
    sprites: int
    stills: int
    month_price: float

    @property
    def byte_size(self) -> int:
        return self.originals + self.clips + self.sprites + self.stills


def eager_design(videos: Iterable[StoredVideo], stills: int, prices: Prices) -> Eager:
    """A file for every clip, also for those that are skipped or archived later, and a sprite sheet with a tile for each frame.

    Only source videos with frames count: before that neither design has stored more than the original.
    """
    known = list(videos)
    cut = [video for video in known if video.frame_count]
    originals = sum(video.original_bytes for video in known)
    clips = round(sum(video.original_bytes for video in cut) * prices.clip_bytes_per_original_byte)
    sprites = round(sum(video.frame_count for video in cut) * prices.sprite_bytes_per_frame)
    total = originals + clips + sprites + stills
    return Eager(originals, clips, sprites, stills, total / GIB * prices.gib_month[prices.eager_class])


@dataclass(frozen=True, slots=True)
class JobTime:
    """runs: that succeeded. seconds: that they took. video_seconds: of the source videos that they were for, each counted once."""

    job: str
    runs: int
    seconds: float
    video_seconds: float

    @property
    def seconds_per_hour(self) -> float | None:
        """Seconds of a machine for an hour of video; None when the length of the videos is not known."""
        return self.seconds / self.video_seconds * 3600 if self.video_seconds else None


def honest_words(storage: Storage, eager: Eager) -> list[str]:
    """Where the virtual design costs more than the eager one, and where less, one sentence each, with its figures."""
    said: list[str] = []
    here, there = storage.byte_size, eager.byte_size
    if not eager.originals or not there:
        return said
    more = here > there
    ratio = here / there if more else there / here if here else 0.0
    against = f"{size_words(here)} against {size_words(there)}"
    if more:
        said.append(f"The virtual design stores {ratio:.1f} times the bytes of the eager design: {against}.")
    else:
        said.append(f"The eager design would have stored {ratio:.1f} times the bytes: {against}.")
    for kind in (GOLD_MASTERS, PROXIES):
        if size := storage.of_kind(kind):
            times = size / eager.originals
            said.append(f"It costs more bytes for {kind}: {size_words(size)}, {times:.1f} times the originals; the eager design has none.")
    exports = storage.of_kind(EXPORTS)
    if exports > eager.clips:
        said.append(
            f"Exports are copies of the all-intra proxy: {size_words(exports)}, more than {size_words(eager.clips)} for all clips encoded."
        )
    elif eager.clips:
        said.append(
            f"It saves bytes for clips: only approved ones have a file, {size_words(exports)} instead of {size_words(eager.clips)}."
        )
    said.append(f"It saves sprite sheets ({size_words(eager.sprites)}), and every new cut that would have encoded clips again.")
    price = storage.month_price
    cheaper = "more" if price > eager.month_price else "less"
    said.append(f"In money it is {cheaper}: {price:,.2f} against {eager.month_price:,.2f} {storage.prices.currency} a month.")
    return said


def size_words(byte_size: float) -> str:
    """`12.3 GB`: decimal, as disks are sold; prices count in GiB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if byte_size >= size:
            return f"{byte_size / size:,.1f} {unit}"
    return f"{byte_size / 1e3:,.1f} kB"
