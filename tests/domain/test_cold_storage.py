"""What it takes to get an object back, by list prices."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.cold_storage import HOURS, RestoreOffer, RestoreTerms
from heaters_dagster.setting_groups import BucketSettings
from resources.files.price_table import restore_terms, shipped_prices


def terms_of(tier: str, days: int) -> RestoreTerms:
    return restore_terms(BucketSettings(restore_tier=tier, restore_days=days))


@pytest.mark.parametrize(
    ("storage_class", "tier", "hours", "price"),
    [
        ("GLACIER", "Standard", 5, 100 * (0.01 + 0.023 * 7 / 30) + 0.00005),
        ("GLACIER", "Bulk", 12, 100 * 0.023 * 7 / 30),
        ("GLACIER", "Expedited", 5 / 60, 100 * (0.03 + 0.023 * 7 / 30) + 0.01),
        ("DEEP_ARCHIVE", "Bulk", 48, 100 * (0.0025 + 0.023 * 7 / 30) + 0.000025),
        ("DEEP_ARCHIVE", "Expedited", 12, 100 * (0.02 + 0.023 * 7 / 30) + 0.0001),
        ("INTELLIGENT_TIERING", "Bulk", 12, 100 * (0.02 + 0.023 * 7 / 30) + 0.0001),
    ],
)
def test_a_hundred_gibibytes_take_so_long_and_cost_so_much(storage_class: str, tier: str, hours: float, price: float) -> None:
    terms = terms_of(tier, 7)
    assert terms.hours(storage_class) == hours
    assert terms.estimated_price(storage_class, 100 << 30) == pytest.approx(price)


def test_the_price_table_has_a_price_for_each_way_back() -> None:
    prices = shipped_prices().restores
    assert prices is not None
    assert prices.tiers.keys() == HOURS.keys()


def test_the_offer_names_time_tier_size_and_price() -> None:
    assert RestoreOffer(3, "DEEP_ARCHIVE", 52_300_000_000, terms_of("Expedited", 1)).words == (
        "the gold master is in cold storage (DEEP_ARCHIVE). It comes back within 12 hours of the request (tier Standard), "
        "and its 52.3 GB cost about 1.01 USD, with a copy that can be read for 1 day"
    )
    assert "within 5 minutes of the request (tier Expedited)" in RestoreOffer(3, "GLACIER", 1, terms_of("Expedited", 7)).words
