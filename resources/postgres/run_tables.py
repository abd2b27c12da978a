"""The table of the leases of runs."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text, func

from heaters_dagster.domain.run_leases import LeaseState
from resources.postgres.tables import metadata

run_leases = Table(
    "run_leases",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("host", Text, nullable=False, comment="the machine that is responsible; empty while nobody is known to be"),
    Column("worker", Text, nullable=False, comment="a random name of the process that is responsible"),
    Column("process", Text, nullable=False, comment="that process, for its own machine"),
    Column(
        "since",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
        comment="when the run came into this state",
    ),
    Column("renewed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("expires_at", DateTime(timezone=True), nullable=False, comment="after this a run that is worked on may be ended"),
    CheckConstraint(f"state in ({', '.join(repr(state.value) for state in LeaseState)})", name="state"),
    comment="who is responsible for a run of Dagster, by the clock of this server only",
)
