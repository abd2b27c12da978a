"""The tables of source videos that belong together: what they look like, and which may be, or are, the same video."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from resources.postgres.tables import metadata

source_video_looks = Table(
    "source_video_looks",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("looks_filepath", Text, nullable=False, comment="object key of the looks of all frames"),
    Column("duration_seconds", Float, nullable=False),
    Column("frame_seconds", Float, nullable=False, comment="how long a frame is shown, on average"),
    Column("sample", LargeBinary, nullable=False, comment="the looks of 16 frames, 16 bytes each"),
    Index("source_video_looks_duration_idx", "duration_seconds"),
    comment="what source videos look like; see domain/looks.py",
)

related_source_videos = Table(
    "related_source_videos",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "other_id",
        BigInteger,
        ForeignKey("source_videos.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="the one that was there before",
    ),
    Column("kind", Text, primary_key=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'"), comment="for the words: how many frames look alike, which site"),
    Column("dismissed_at", DateTime(timezone=True), comment="when a person said that the hint is of no use"),
    Column("dismissed_by_user_id", BigInteger, ForeignKey("reviewers.id")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("source_video_id <> other_id", name="other"),
    CheckConstraint("kind in ('looks_alike', 'same_on_site', 'again', 'replaces')", name="kind"),
    Index("related_source_videos_other_idx", "other_id"),
    comment="source videos that are, or may be, the same video",
)

source_video_replacements = Table(
    "source_video_replacements",
    metadata,
    Column("new_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("old_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("max_height", Integer, comment="tallest picture to download; null: that of the settings"),
    Column("asked_by_user_id", BigInteger, ForeignKey("reviewers.id"), nullable=False),
    Column("carried", JSONB, comment="id of each clip of the old one -> its version when its decision was taken over"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("new_id <> old_id", name="other"),
    CheckConstraint("state in ('waiting', 'carried', 'done', 'kept', 'given_up')", name="state"),
    Index("source_video_replacements_open_idx", "old_id", unique=True, postgresql_where=text("state in ('waiting', 'carried')")),
    comment="a source video that takes the place of another one; waiting: for its proxy and a person's word; carried: it has the clips and "
    "decisions, and the old one goes when its files are made; kept: the old one was changed since, so it stays",
)
