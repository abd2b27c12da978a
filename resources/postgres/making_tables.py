"""With what the files of a source video were made: what a later version, or another setting, would make differently is found by it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from resources.postgres.tables import metadata

source_video_making = Table(
    "source_video_making",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("proxy_made_with", Text, comment="version and settings of the stage that made it; null: made before this was kept"),
    Column("proxy_version", Text, comment="of its frame index: another proxy has another one"),
    Column(
        "proxy_is_being_replaced",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="a new proxy is being put in place of the old one; if no process does it, it was killed, and the proxy must be made again",
    ),
    Column("gold_master_made_with", Text, comment="as proxy_made_with"),
    Column(
        "proxy_in_one_piece",
        Text,
        comment="why the proxy cannot be made in pieces, as was found out; null: nobody knows of a reason",
    ),
    Index("source_video_making_proxy_idx", "source_video_id", postgresql_where=text("proxy_is_being_replaced")),
    comment="with what the files of a source video were made",
)

proxy_pieces = Table(
    "proxy_pieces",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False, comment="from 0, in the order in which the pieces are shown"),
    Column(
        "made_with",
        Text,
        nullable=False,
        comment="version and settings of the stage that plans and makes it: pieces of another one do not fit",
    ),
    Column("plan", JSONB, nullable=False, comment="which frames of the original it has, and the sizes of their small pictures"),
    Column("tries", Integer, nullable=False, server_default=text("0"), comment="how often a machine has begun to make it"),
    Column("made_at", DateTime(timezone=True), comment="when its files were stored; null: it is still to be made"),
    Column("host", Text, comment="the machine that made it"),
    UniqueConstraint("source_video_id", "number"),
    CheckConstraint("number >= 0 and tries >= 0", name="number"),
    comment="a piece of the proxy of a very long video, until the pieces are joined",
)
