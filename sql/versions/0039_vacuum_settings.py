"""Postgres cleans up the large tables after one row in fifty has changed, not after one in five: of a million clips that were 200,000."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_LARGE = ("clips", "clip_artifacts", "clip_work", "clip_exports", "embeddings", "review_actions", "source_videos", "transcript_lines")
_SETTINGS = ("autovacuum_vacuum_scale_factor", "autovacuum_analyze_scale_factor")


def upgrade() -> None:
    for table in _LARGE:
        op.execute(f"alter table {table} set ({', '.join(f'{name} = 0.02' for name in _SETTINGS)})")


def downgrade() -> None:
    for table in _LARGE:
        op.execute(f"alter table {table} reset ({', '.join(_SETTINGS)})")
