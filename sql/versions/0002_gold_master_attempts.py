"""Tries at the gold master are counted, so that one that failed for a reason that may pass is made again by itself."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        alter table source_videos
            add column gold_master_attempts integer not null default 0,
            add constraint source_videos_gold_master_attempts_check check (gold_master_attempts >= 0);
        comment on column source_videos.gold_master_attempts is 'failed tries at the gold master';
        -- Those that failed until now wait for a person, as they did.
        update source_videos set gold_master_attempts = 6 where gold_master_error is not null;
        """
    )


def downgrade() -> None:
    op.execute("alter table source_videos drop column gold_master_attempts")
