"""I/O adapters as plain classes; only dagster_resources.py imports Dagster."""
