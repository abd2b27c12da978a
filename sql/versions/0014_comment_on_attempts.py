"""The comment on source_videos.attempts in plain words."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _comment("failed tries of the current stage; after a transient failure the sensor tries again")


def downgrade() -> None:
    _comment("failed tries of the stage in hand; a transient failure is tried again by the sensor")


def _comment(text: str) -> None:
    op.execute(f"comment on column source_videos.attempts is '{text}'")
