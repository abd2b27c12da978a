"""Getting an object back from cold storage: how long it takes, what it costs, and how a stage that waits for it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TIERS = ("Bulk", "Standard", "Expedited")

#: (storage class, tier) -> (hours until it is there at the latest, USD for each GB, USD for each request).
#: List prices of us-east-1 as tables of May and June 2026 repeat them, and the longest times that S3's user guide names.
_OF_TIER = {
    ("GLACIER", "Expedited"): (5 / 60, 0.03, 0.01),
    ("GLACIER", "Standard"): (5.0, 0.01, 0.00005),
    ("GLACIER", "Bulk"): (12.0, 0.0, 0.0),
    ("DEEP_ARCHIVE", "Standard"): (12.0, 0.02, 0.0001),
    ("DEEP_ARCHIVE", "Bulk"): (48.0, 0.0025, 0.000025),
}
#: USD for a GB of the copy that can be read, in a month of 30 days.
_COPY_USD = 0.023


@dataclass(frozen=True, slots=True)
class RestoreTerms:
    """tier: how fast. days: how long the copy stays that can be read."""

    tier: str = "Standard"
    days: int = 7

    def tier_for(self, storage_class: str) -> str:
        """The nearest tier that the class has: DEEP_ARCHIVE has no fast one."""
        return self.tier if (storage_class, self.tier) in _OF_TIER else "Standard"

    def hours(self, storage_class: str) -> float:
        return _OF_TIER.get((storage_class, self.tier_for(storage_class)), _OF_TIER["DEEP_ARCHIVE", "Standard"])[0]

    def estimated_usd(self, storage_class: str, byte_size: int) -> float:
        """By list prices, without transfer: of the request, the retrieval, and the copy for its days."""
        _, of_gb, of_request = _OF_TIER.get((storage_class, self.tier_for(storage_class)), _OF_TIER["DEEP_ARCHIVE", "Standard"])
        return byte_size / 1e9 * (of_gb + _COPY_USD * self.days / 30) + of_request


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
        return cls(now, expected, byte_size, terms.estimated_usd(storage_class, byte_size))

    @property
    def words(self) -> str:
        return (
            f"the gold master is in cold storage: asked for {_at(self.asked_at)}, expected by {_at(self.expected_at)} "
            f"({self.byte_size / 1e9:.1f} GB, about {max(self.estimated_usd, 0.01):.2f} USD)"
        )


def _at(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
