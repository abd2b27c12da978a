"""The index of clips by kind has their confidence too.

Clips of one kind within limits of confidence have no stored count. To count hard cuts of low confidence among a million clips Postgres
read the whole table; now it reads the index.
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create index clips_live_kind_confidence_idx on clips (state, cut_kind, id) include (confidence) where is_live;
        drop index clips_live_kind_idx;
    """)


def downgrade() -> None:
    op.execute("""
        create index clips_live_kind_idx on clips (state, cut_kind, id) where is_live;
        drop index clips_live_kind_confidence_idx;
    """)
