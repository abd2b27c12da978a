"""Which folder the file of a source video must lie in when it is read: what the review app's browser was allowed when it was submitted."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table source_videos add column confined_to text")
    op.execute(
        "comment on column source_videos.confined_to is 'folder that the file must lie in, without links on the way; null: anywhere'"
    )


def downgrade() -> None:
    op.execute("alter table source_videos drop column confined_to")
