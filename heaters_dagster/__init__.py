"""Heaters: long videos into reviewed, frame-exact, searchable clips (the Dagster code location)."""
