"""What it takes to get an object back, by list prices."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.cold_storage import RestoreTerms


@pytest.mark.parametrize(
    ("storage_class", "tier", "hours", "usd"),
    [
        ("GLACIER", "Standard", 5, 100 * (0.01 + 0.023 * 7 / 30) + 0.00005),
        ("GLACIER", "Bulk", 12, 100 * 0.023 * 7 / 30),
        ("GLACIER", "Expedited", 5 / 60, 100 * (0.03 + 0.023 * 7 / 30) + 0.01),
        ("DEEP_ARCHIVE", "Bulk", 48, 100 * (0.0025 + 0.023 * 7 / 30) + 0.000025),
        ("DEEP_ARCHIVE", "Expedited", 12, 100 * (0.02 + 0.023 * 7 / 30) + 0.0001),
    ],
)
def test_a_hundred_gigabytes_take_so_long_and_cost_so_much(storage_class: str, tier: str, hours: float, usd: float) -> None:
    terms = RestoreTerms(tier, 7)
    assert terms.hours(storage_class) == hours
    assert terms.estimated_usd(storage_class, 100 * 10**9) == pytest.approx(usd)
