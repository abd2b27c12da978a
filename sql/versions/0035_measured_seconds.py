"""How long stages took, how long approved clips waited for their files, and how much is stored: added up, so that reading it is cheap."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table measured_seconds (
            what text not null,
            outcome text not null,
            up_to double precision not null,
            times bigint not null,
            seconds double precision not null,
            constraint measured_seconds_pkey primary key (what, outcome, up_to),
            constraint measured_seconds_outcome_check check (outcome in ('done', 'failed'))
        ) with (fillfactor = 50);
        comment on table measured_seconds is 'how often something took how long, added up since this was first kept';
        comment on column measured_seconds.what is 'the asset of a stage, or approval_to_file';
        comment on column measured_seconds.up_to is 'times of this many seconds and less, more than those of the row before; Infinity: all longer ones';
        comment on column measured_seconds.seconds is 'sum of those times';

        create table stored_bytes (
            kind text not null,
            storage_class text not null,
            objects bigint not null,
            bytes bigint not null,
            counted_at timestamptz not null default now(),
            constraint stored_bytes_pkey primary key (kind, storage_class)
        );
        comment on table stored_bytes is 'what lies in the object store, as it was last listed';
        comment on column stored_bytes.kind is 'what the keys begin with: originals, gold_masters, review_proxies ...';
    """)


def downgrade() -> None:
    op.execute("drop table measured_seconds; drop table stored_bytes")
