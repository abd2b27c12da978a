"""One file per asset: gather, decide, apply."""

import heaters_dagster as heaters_dagster  # first of all: it says how many threads numpy has
