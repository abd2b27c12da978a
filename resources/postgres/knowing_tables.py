"""What Heaters keeps of itself, so that people learn how it is."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Float, Table, Text, func

from resources.postgres.tables import metadata

measured_seconds = Table(
    "measured_seconds",
    metadata,
    Column("what", Text, primary_key=True, comment="the asset of a stage, or approval_to_file"),
    Column("outcome", Text, primary_key=True),
    Column(
        "up_to",
        Float,
        primary_key=True,
        comment="times of this many seconds and less, more than those of the row before; Infinity: all longer ones",
    ),
    Column("times", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False, comment="sum of those times"),
    CheckConstraint("outcome in ('done', 'failed')", name="outcome"),
    comment="how often something took how long, added up since this was first kept",
)

stored_bytes = Table(
    "stored_bytes",
    metadata,
    Column("kind", Text, primary_key=True, comment="what the keys begin with: originals, gold_masters, review_proxies ..."),
    Column("storage_class", Text, primary_key=True),
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("counted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="what lies in the object store, as it was last listed",
)
