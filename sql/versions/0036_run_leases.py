"""Leases of runs: who works on a run, and until when that holds without another word."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Logged: after a crash of Postgres the processes that work go on renewing the rows that they know.
    op.execute("""
        create table run_leases (
            run_id text not null,
            state text not null,
            host text not null,
            worker text not null,
            process text not null,
            since timestamp with time zone not null default clock_timestamp(),
            renewed_at timestamp with time zone not null default clock_timestamp(),
            expires_at timestamp with time zone not null,
            constraint run_leases_pkey primary key (run_id),
            constraint run_leases_state_check check (state in ('queued', 'launched', 'working', 'lost'))
        ) with (fillfactor = 70);
        comment on table run_leases is 'who is responsible for a run of Dagster, by the clock of this server only';
        comment on column run_leases.host is 'the machine that is responsible; empty while nobody is known to be';
        comment on column run_leases.worker is 'a random name of the process that is responsible';
        comment on column run_leases.process is 'that process, for its own machine';
        comment on column run_leases.since is 'when the run came into this state';
        comment on column run_leases.expires_at is 'after this a run that is worked on may be ended';
    """)


def downgrade() -> None:
    op.execute("drop table run_leases")
