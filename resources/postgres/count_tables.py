"""The counts of live clips and of source videos, which triggers keep, and the source videos whose cover by clips is checked at commit."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, SmallInteger, Table, Text

from resources.postgres.tables import metadata

clip_counts_by_video = Table(
    "clip_counts_by_video",
    metadata,
    Column("source_video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, primary_key=True),
    Column("clips", BigInteger, nullable=False),
    Index("clip_counts_by_video_state_idx", "state", "source_video_id"),
    comment="live clips of each source video by state; add clip_count_changes",
)

clip_counts_by_confidence = Table(
    "clip_counts_by_confidence",
    metadata,
    Column(
        "confidence_percent",
        SmallInteger,
        primary_key=True,
        autoincrement=False,
        comment="floor of 100 times the confidence; -1: no confidence",
    ),
    Column("state", Text, primary_key=True),
    Column("clips", BigInteger, nullable=False),
    comment="live clips of all source videos by state and confidence; add clip_count_changes",
)

clip_count_changes = Table(
    "clip_count_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_video_id", BigInteger, nullable=False),
    Column("confidence_percent", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("clips", BigInteger, nullable=False, comment="how many more, or fewer"),
    comment="what has changed since it was last folded into the counts",
)

source_video_counts = Table(
    "source_video_counts",
    metadata,
    Column("state", Text, primary_key=True),
    Column("is_duplicate", Boolean, primary_key=True, autoincrement=False, comment="it holds the bytes of another one"),
    Column("gold_master", Text, primary_key=True, comment="waiting or failed: it has an original and no gold master; else none"),
    Column("source_videos", BigInteger, nullable=False),
    Column("original_bytes", BigInteger, nullable=False, comment="of their originals, as far as they are known"),
    comment="source videos by state; add source_video_count_changes",
)

source_video_count_changes = Table(
    "source_video_count_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("state", Text, nullable=False),
    Column("is_duplicate", Boolean, nullable=False),
    Column("gold_master", Text, nullable=False),
    Column("source_videos", BigInteger, nullable=False, comment="how many more, or fewer"),
    Column("original_bytes", BigInteger, nullable=False),
    comment="what has changed since it was last folded into the counts",
)

clip_coverage_checks = Table(
    "clip_coverage_checks",
    metadata,
    Column("source_video_id", BigInteger, nullable=False),
    prefixes=["UNLOGGED"],
    comment="source videos whose cover by clips is checked when the transaction that wrote the row commits; empty at all other times",
)
