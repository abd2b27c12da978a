"""Reads price tables, for reports and for estimates."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from heaters_dagster.domain.cold_storage import RestoreTerms
from heaters_dagster.domain.costs import Prices
from heaters_dagster.domain.errors import BadRequestError, SourceNotFoundError
from heaters_dagster.setting_groups import BucketSettings

PRICES = Path(__file__).parents[2] / "heaters_dagster" / "prices" / "s3_us_east_1.json"
_MOST_BYTES = 1 << 20


def read_prices(path: Path | None = None) -> Prices:
    """path: a price table like the one that is shipped, `PRICES`; None: that one. Raises SourceNotFoundError, BadRequestError."""
    path = path or PRICES
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        return Prices.from_json(json.loads(data))
    except FileNotFoundError:
        raise SourceNotFoundError(f"there is no price table {path}") from None
    except ValueError as error:
        raise BadRequestError(f"{path}: {error}") from None


@cache
def shipped_prices() -> Prices:
    return read_prices()


def restore_terms(settings: BucketSettings) -> RestoreTerms:
    """The terms on which gold masters are asked back from cold storage, with the prices of the table that is shipped."""
    prices = shipped_prices().restores
    assert prices is not None
    return RestoreTerms(prices, settings.restore_tier, settings.restore_days)
