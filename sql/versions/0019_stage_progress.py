"""How far a stage is with a source video, for people who wait; and an index to find the source videos that were deleted lately."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: it is written every two seconds while a stage works, and worth nothing after a crash.
    op.execute("""
        create unlogged table stage_progress (
            source_video_id bigint not null,
            asset text not null,
            stage text not null,
            done double precision not null,
            total double precision,
            unit text not null,
            elapsed_seconds double precision not null,
            updated_at timestamp with time zone not null default now(),
            constraint stage_progress_pkey primary key (source_video_id, asset)
        );
        comment on table stage_progress is 'a stage that works now; true only while its process holds the lock of the stage';
        comment on column stage_progress.stage is 'the part of its work that the figures are about';
        create index source_videos_deleted_idx on source_videos (state_changed_at) where state = 'deleted';
    """)


def downgrade() -> None:
    op.execute("drop index source_videos_deleted_idx")
    op.execute("drop table stage_progress")
