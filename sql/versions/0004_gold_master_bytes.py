"""How large a gold master is, so that one in a remote store or in cold storage can be held to what was proven."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table source_videos add column gold_master_bytes bigint")
    op.execute("comment on column source_videos.gold_master_bytes is 'size of the file that was proven lossless'")


def downgrade() -> None:
    op.execute("alter table source_videos drop column gold_master_bytes")
