"""The tables of what belongs to source videos: facts, and what ingest keeps. As in tables.py, whose metadata they share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from heaters_dagster.domain.site_access import SitePart
from resources.postgres.tables import metadata

_FOUND_BY = (
    "site, site_id, uploader, page_address, licence, description, tags, chapters, rights, external_id, camera, place, container_tags"
)
_GIN: dict[str, Any] = {"postgresql_using": "gin", "postgresql_with": {"fastupdate": "off"}}

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
    Column("start_timecode", Text, comment="of frame 0, as HH:MM:SS:FF; with ; before the frames it is drop-frame timecode"),
    Column("timecode_rate", Text, comment="frames per second at which it counts, as 25 or 30000/1001; null: those of the picture"),
    Column("reel", Text, comment="of the tape, card or reel"),
    Column(
        "origins",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="name of a fact -> who said it: person, submission, site or file",
    ),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("words", TSVECTOR, Computed(f"heaters_fact_words({_FOUND_BY})", persisted=True)),
    CheckConstraint("jsonb_typeof(tags) = 'array'", name="tags"),
    CheckConstraint("jsonb_typeof(chapters) = 'array'", name="chapters"),
    CheckConstraint(r"start_timecode ~ '^\d\d:\d\d:\d\d[:;]\d{2,3}$'", name="start_timecode"),
    CheckConstraint(r"timecode_rate ~ '^[1-9]\d*(/[1-9]\d*)?$'", name="timecode_rate"),
    CheckConstraint("jsonb_typeof(origins) = 'object'", name="origins"),
    Index("source_video_facts_site_idx", "site", "site_id", postgresql_where=text("site_id is not null")),
    Index("source_video_facts_external_id_idx", "external_id", postgresql_where=text("external_id is not null")),
    Index("source_video_facts_words_idx", "words", **_GIN),
)

transcripts = Table(
    "transcripts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("origin", Text, nullable=False, comment="where it comes from: a person, the site, the video's file, or a file beside it"),
    Column("language", Text, comment="as said there; null: not said"),
    Column("name", Text, comment="what it is called there"),
    Column("subtitle_filepath", Text, nullable=False, comment="object key of its file"),
    Column("line_count", Integer, nullable=False),
    Column(
        "is_live",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="false once a person took it away; an undo brings it back",
    ),
    Column("searchable", Text, nullable=False, comment="its different words"),
    Column("words", TSVECTOR, Computed("heaters_words(searchable)", persisted=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("subtitle_filepath"),
    CheckConstraint("kind in ('subtitle', 'automatic')", name="kind"),
    CheckConstraint("origin in ('person', 'site', 'file', 'beside')", name="origin"),
    Index("transcripts_source_video_idx", "source_video_id", "id"),
    Index("transcripts_words_idx", "words", **_GIN),
    comment="what is said or shown in a source video, by kind and language",
)

given_thumbnails = Table(
    "given_thumbnails",
    metadata,
    Column("thumbnail_filepath", Text, primary_key=True, comment="object key"),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="CASCADE"), nullable=False),
    Index("given_thumbnails_source_video_idx", "source_video_id"),
    comment="pictures that changes of thumbnails in the history name; an undo may bring them back",
)

transcript_lines = Table(
    "transcript_lines",
    metadata,
    Column("transcript_id", BigInteger, ForeignKey("transcripts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("start_seconds", Float, nullable=False),
    Column("end_seconds", Float, nullable=False),
    Column("text", Text, nullable=False),
    CheckConstraint("start_seconds >= 0 and start_seconds < end_seconds and end_seconds < 'infinity'", name="times"),
    comment="its lines, with times counted from the beginning of the source video",
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

site_access = Table(
    "site_access",
    metadata,
    Column("site", Text, primary_key=True, comment="host name; what is stored counts for its subdomains too"),
    Column("part", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False, comment="encrypted under a key that is derived from the secret key"),
    Column("told", Text, nullable=False, comment="what may be shown of it"),
    Column("ends_at", DateTime(timezone=True), comment="when the last cookie ends"),
    Column("changed_by", Text, nullable=False, comment="name of a reviewer, or of a user of the command line"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("file_mark", LargeBinary, comment="of the cookies file that a setting names and that was taken last, under the secret key"),
    CheckConstraint(f"part in ({', '.join(repr(part.value) for part in SitePart)})", name="part"),
    CheckConstraint("site = lower(site) and site <> ''", name="site"),
    comment="what lets into web sites: sign-ins, headers, proxies; the secrets are encrypted",
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("address", Text, nullable=False, unique=True, comment="web address of the list"),
    Column("title", Text, nullable=False, comment="of the list, as the site calls it"),
    Column("limits", JSONB, nullable=False, server_default=text("'{}'"), comment="which of its videos are taken"),
    Column("every_seconds", Integer, nullable=False, comment="from one look to the next"),
    Column("chapters_as_cuts", Boolean, nullable=False, server_default=text("false")),
    Column("rights", Text, comment="what may be done with its videos, in the words of the subscriber"),
    Column("subscribed_by", Text, comment="who subscribed"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("looked_at", DateTime(timezone=True), comment="when the last look ended; null: there was none"),
    Column("next_look_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("told", Text, comment="what the last look found, in words"),
    Column("error", Text, comment="why the last look failed, or what it could not read; null: nothing was wrong"),
    Column("failed_looks", Integer, nullable=False, server_default="0", comment="failed looks since the last one that succeeded"),
    Column("taken_count", Integer, nullable=False, server_default="0", comment="source videos that were submitted because of it"),
    CheckConstraint("every_seconds between 300 and 31622400", name="every"),
    CheckConstraint("jsonb_typeof(limits) = 'object'", name="limits"),
    CheckConstraint("octet_length(address) <= 2000", name="address"),
    Index("subscriptions_next_look_at_idx", "next_look_at"),
    comment="lists of the web that are looked at again by schedule",
)

subscription_members = Table(
    "subscription_members",
    metadata,
    Column("subscription_id", BigInteger, ForeignKey("subscriptions.id", ondelete="CASCADE"), primary_key=True),
    Column("member_sha256", Text, primary_key=True, comment="hex, of what the member is known by"),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="members that a subscription has dealt with: one that was deleted since, or that failed, is not taken again",
)

room_waits = Table(
    "room_waits",
    metadata,
    Column("source_video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("asset", Text, primary_key=True),
    Column("bytes_needed", BigInteger, nullable=False),
    Column("bytes_free", BigInteger, nullable=False, comment="without what running work was promised"),
    Column("host", Text, nullable=False, comment="the machine whose disk it is"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "seen_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when that machine last found too little room",
    ),
    comment="a stage that is not begun because the disk has too little room for it",
    prefixes=["UNLOGGED"],
)

watched_places = Table(
    "watched_places",
    metadata,
    Column("place", Text, primary_key=True, comment="folder, or s3:// address that ends with a slash"),
    Column("looked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("problem", Text, comment="why it could not be looked at, in words for a person; null: it could"),
)

watched_files = Table(
    "watched_files",
    metadata,
    Column("place", Text, primary_key=True),
    Column("path", Text, primary_key=True, comment="full path or s3:// address"),
    Column("state", Text, nullable=False),
    Column("byte_size", BigInteger, nullable=False),
    Column("version", Text, nullable=False, comment="changes when the bytes do: time of the last change, or tag of an object"),
    Column("inode", BigInteger),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id", ondelete="SET NULL")),
    Column("reason", Text, comment="why it is refused, in words for a person"),
    Column("moved_to", Text, comment="where it is being moved to; null: it stays, or has been moved"),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="when it was first seen like this"),
    CheckConstraint("state in ('arriving', 'temporary', 'taken', 'refused')", name="state"),
    CheckConstraint("state <> 'refused' or reason is not null", name="reason"),
    Index("watched_files_source_video_id_idx", "source_video_id", postgresql_where=text("source_video_id is not null")),
)
