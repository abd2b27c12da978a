"""Undo finds the newest action that still stands at once, however many were undone before it."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index review_actions_standing_idx on review_actions (reviewer_id, id) where not undone and target_action_id is null")


def downgrade() -> None:
    op.execute("drop index review_actions_standing_idx")
