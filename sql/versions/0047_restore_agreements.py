"""Nobody asks a gold master back from cold storage before a person has agreed to what that costs."""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table restore_agreements (
            source_video_id bigint not null,
            storage_class text,
            byte_size bigint,
            wanted_at timestamp with time zone,
            agreed_usd double precision,
            agreed_by text,
            agreed_at timestamp with time zone,
            looked_at timestamp with time zone not null default now(),
            constraint restore_agreements_pkey primary key (source_video_id),
            constraint restore_agreements_source_video_id_fkey foreign key (source_video_id) references source_videos (id)
                on delete cascade,
            constraint restore_agreements_question_check check ((wanted_at is null) = (storage_class is null or byte_size is null)),
            constraint restore_agreements_agreed_check check ((agreed_at is null) = (agreed_usd is null or agreed_by is null)),
            constraint restore_agreements_said_check check (wanted_at is not null or agreed_at is not null)
        );
        comment on table restore_agreements is 'what a person has agreed to spend on getting a gold master back, or that exports wait for a word';
        comment on column restore_agreements.wanted_at is 'when an export needed it and nobody had agreed';
        comment on column restore_agreements.agreed_usd is 'what it may cost at most';
        comment on column restore_agreements.agreed_by is 'a reviewer, or the command line';
        comment on column restore_agreements.looked_at is 'when a machine last looked whether it can be read all the same';
    """)


def downgrade() -> None:
    op.execute("drop table restore_agreements")
