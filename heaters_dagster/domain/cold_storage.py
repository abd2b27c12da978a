"""Getting an object back from cold storage: how long it takes, what it costs, and how a stage that waits for it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from heaters_dagster.domain.words import counted

TIERS = ("Bulk", "Standard", "Expedited")

#: What getting gold masters back may cost without a question to a person who asks for files from them.
SMALL_SUM_USD = 1.00

_GIB = 1 << 30

#: (storage class, tier) -> hours until it is there at the latest: the longest times that S3's user guide names.
HOURS = {
    ("GLACIER", "Expedited"): 5 / 60,
    ("GLACIER", "Standard"): 5.0,
    ("GLACIER", "Bulk"): 12.0,
    ("DEEP_ARCHIVE", "Standard"): 12.0,
    ("DEEP_ARCHIVE", "Bulk"): 48.0,
}
#: For classes that are not in the table, such as archived objects of INTELLIGENT_TIERING.
_OTHERWISE = ("DEEP_ARCHIVE", "Standard")


@dataclass(frozen=True, slots=True)
class RestorePrices:
    """tiers: (storage class, tier) -> price of a GiB that comes back, and of a request. copy_gib_month: of the copy that can be read."""

    currency: str
    tiers: Mapping[tuple[str, str], tuple[float, float]]
    copy_gib_month: float


@dataclass(frozen=True, slots=True)
class RestoreTerms:
    """tier: how fast. days: how long the copy stays that can be read."""

    prices: RestorePrices
    tier: str
    days: int

    def tier_for(self, storage_class: str) -> str:
        """The nearest tier that the class has: DEEP_ARCHIVE has no fast one."""
        return self.tier if (storage_class, self.tier) in HOURS else "Standard"

    def hours(self, storage_class: str) -> float:
        return HOURS[self._row(storage_class)]

    def estimated_price(self, storage_class: str, byte_size: int) -> float:
        """Without transfer: of the request, the retrieval, and the copy for its days."""
        of_gib, of_request = self.prices.tiers[self._row(storage_class)]
        return byte_size / _GIB * (of_gib + self.prices.copy_gib_month * self.days / 30) + of_request

    def _row(self, storage_class: str) -> tuple[str, str]:
        row = storage_class, self.tier_for(storage_class)
        return row if row in HOURS else _OTHERWISE


@dataclass(frozen=True, slots=True)
class RestoreOffer:
    """What it takes to get the gold master of a source video back that nobody has asked for. price: an estimate."""

    source_video_id: int
    storage_class: str
    byte_size: int
    terms: RestoreTerms

    @property
    def price(self) -> float:
        return self.terms.estimated_price(self.storage_class, self.byte_size)

    @property
    def words(self) -> str:
        terms, hours = self.terms, self.terms.hours(self.storage_class)
        time = counted(round(hours * 60), "minute") if hours < 1 else counted(round(hours), "hour")
        days = counted(terms.days, "day")
        return (
            f"the gold master is in cold storage ({self.storage_class}). It comes back within {time} of the request "
            f"(tier {terms.tier_for(self.storage_class)}), and its {self.byte_size / 1e9:.1f} GB cost about "
            f"{price_words(self.price, terms.prices.currency)}, with a copy that can be read for {days}"
        )

    @property
    def waits(self) -> str:
        """For people who see that files wait because nobody has agreed to that yet."""
        return (
            f"{self.words}. Nobody has agreed to that yet, so it is not asked for: heaters retry {self.source_video_id} asks, and so does "
            "the page Source videos under Exports"
        )


@dataclass(frozen=True, slots=True)
class Restore:
    """A gold master that was asked for. expected_at: when it is there at the latest, by what S3 promises."""

    asked_at: datetime
    expected_at: datetime
    byte_size: int
    estimated_usd: float

    @classmethod
    def asked(cls, storage_class: str, byte_size: int, terms: RestoreTerms, now: datetime) -> Restore:
        expected = now + timedelta(hours=terms.hours(storage_class))
        return cls(now, expected, byte_size, terms.estimated_price(storage_class, byte_size))

    @property
    def words(self) -> str:
        return (
            f"the gold master is in cold storage: asked for {_at(self.asked_at)}, expected by {_at(self.expected_at)} "
            f"({self.byte_size / 1e9:.1f} GB, about {price_words(self.estimated_usd, 'USD')})"
        )


def price_words(price: float, currency: str) -> str:
    """`1.20 USD`; what costs less than a cent costs one."""
    return f"{max(price, 0.01):,.2f} {currency}"


def _at(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
