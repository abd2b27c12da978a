"""What Heaters keeps of itself, so that people learn how it is."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Float, Identity, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

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

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("cause", Text, nullable=False, comment="kind of the cause"),
    Column("what", Text, nullable=False, comment="tells several of one cause apart"),
    Column("words", Text, nullable=False, comment="what was wrong when it began, for people"),
    Column("begun_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("over_at", DateTime(timezone=True), comment="null: it goes on"),
    Column("told_to", ARRAY(Text), nullable=False, server_default="{}", comment="channels that have a message about its begin"),
    Index("alerts_open_idx", "cause", "what", unique=True, postgresql_where=text("over_at is null")),
    Index("alerts_over_idx", "over_at", postgresql_where=text("over_at is not null")),
    comment="something that was or is wrong; one row from its begin to its end",
)

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("changes", JSONB, nullable=False, comment="the alerts that it is about: cause, what, state, words, since"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("sent_at", DateTime(timezone=True)),
    Column("given_up_at", DateTime(timezone=True)),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("error", Text, comment="why the last try failed, without the address"),
    CheckConstraint("channel in ('webhook', 'slack', 'mail')", name="channel"),
    CheckConstraint("sent_at is null or given_up_at is null", name="end"),
    Index("alert_messages_waiting_idx", "id", postgresql_where=text("sent_at is null and given_up_at is null")),
    comment="a message about alerts by one channel; sent at least once",
)
