"""Which programs work with the schema as it is; see `migrations.py`."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from resources.postgres.tables import metadata

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column(
        "oldest_program", Text, primary_key=True, comment="newest revision that the oldest program knows which still works with this schema"
    ),
    comment="one row, written by the program that migrates",
)
