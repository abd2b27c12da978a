"""Gold masters that were asked back from cold storage: exports from them wait until they are there."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table master_restores (
            source_video_id bigint not null,
            asked_at timestamp with time zone not null,
            expected_at timestamp with time zone not null,
            byte_size bigint not null,
            estimated_usd double precision not null,
            looked_at timestamp with time zone not null default now(),
            constraint master_restores_pkey primary key (source_video_id),
            constraint master_restores_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade
        );
        comment on table master_restores is 'a gold master that was asked back from cold storage and is not there yet';
        comment on column master_restores.expected_at is 'when it is there at the latest, by what S3 promises';
        comment on column master_restores.estimated_usd is 'by list prices';
        comment on column master_restores.looked_at is 'when a machine last asked for it';
    """)


def downgrade() -> None:
    op.execute("drop table master_restores")
