"""Audit, sweeps, backfills and deletion."""
