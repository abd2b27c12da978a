"""The tables of what belongs to source videos: facts, and what ingest keeps. As in tables.py, whose metadata they share."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, DateTime, ForeignKey, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from resources.postgres.tables import metadata

source_video_facts = Table(
    "source_video_facts",
    metadata,
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("site", Text, comment="short name of the site"),
    Column("site_id", Text, comment="what the site calls the video"),
    Column("uploader", Text),
    Column("uploaded_on", Date),
    Column("page_address", Text),
    Column("licence", Text, comment="in the words of the site"),
    Column("description", Text),
    Column("tags", JSONB, nullable=False, server_default=text("'[]'"), comment="list of texts"),
    Column("chapters", JSONB, nullable=False, server_default=text("'[]'"), comment="list of {title, start_seconds, end_seconds}"),
    Column("rights", Text, comment="what may be done with it, in the words of the submitter"),
    Column("external_id", Text, comment="its name in the archive of the submitter"),
    Column("thumbnail_filepath", Text, comment="object key"),
    Column("camera", Text),
    Column("recorded_at", DateTime(timezone=True)),
    Column("place", Text),
    Column("container_tags", JSONB, comment="of the file: name -> value"),
    Column("quality", JSONB, comment="what a site offered, what was taken, and why"),
    Column(
        "origins",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="name of a fact -> who said it: person, submission, site or file",
    ),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("jsonb_typeof(tags) = 'array'", name="tags"),
    CheckConstraint("jsonb_typeof(chapters) = 'array'", name="chapters"),
    CheckConstraint("jsonb_typeof(origins) = 'object'", name="origins"),
    Index("source_video_facts_site_idx", "site", "site_id", postgresql_where=text("site_id is not null")),
    Index("source_video_facts_external_id_idx", "external_id", postgresql_where=text("external_id is not null")),
)

download_sites = Table(
    "download_sites",
    metadata,
    Column("site", Text, primary_key=True, comment="of source_videos.site"),
    Column("not_before", DateTime(timezone=True), nullable=False, comment="no download from it begins earlier"),
    Column("reason", Text, comment="why the site is left alone, in words; null: only the pause between two downloads"),
    Column("refusals", Integer, nullable=False, server_default="0", comment="in a row: it said that there were too many requests"),
    CheckConstraint("refusals >= 0", name="refusals"),
    comment="sites from which videos are downloaded, and from when they may be asked again",
)
