"""The breaker of the object store: a bucket that fails although it can be used is left alone for a while, by all machines."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: after a crash of the server a stage finds it out again.
    op.execute("""
        create unlogged table store_pauses (
            bucket text not null,
            reason text not null,
            faults integer not null,
            failed_at timestamp with time zone not null,
            until timestamp with time zone not null,
            constraint store_pauses_pkey primary key (bucket)
        );
        comment on table store_pauses is 'an object store that is left alone for a while, because it fails although it can be used';
        comment on column store_pauses.reason is 'what the store answered, in words for a person';
        comment on column store_pauses.faults is 'pauses that followed one another';
        comment on column store_pauses.until is 'nothing is begun before';
    """)


def downgrade() -> None:
    op.execute("drop table store_pauses")
