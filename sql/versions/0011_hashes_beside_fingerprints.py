"""A submitted file is found by its hash at once, however many others have its fingerprint."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        drop index source_videos_source_fingerprint_idx;
        create index source_videos_source_fingerprint_idx
            on source_videos (source_fingerprint, source_sha256) where source_fingerprint is not null
        """
    )


def downgrade() -> None:
    op.execute(
        """
        drop index source_videos_source_fingerprint_idx;
        create index source_videos_source_fingerprint_idx on source_videos (source_fingerprint) where source_fingerprint is not null
        """
    )
