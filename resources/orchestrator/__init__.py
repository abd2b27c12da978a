"""Dagster: resources, storage, logs, and its private parts behind one wall."""
