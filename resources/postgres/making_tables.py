"""With what the files of a source video were made: what a later version, or another setting, would make differently is found by it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Table, Text, text

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
    Index("source_video_making_proxy_idx", "source_video_id", postgresql_where=text("proxy_is_being_replaced")),
    comment="with what the files of a source video were made",
)
