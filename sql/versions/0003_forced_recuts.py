"""New cuts by force are actions of the review ledger: who made them is known, and undo passes over what they retired."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ACTIONS = "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'undo', 'redo'"


def upgrade() -> None:
    op.execute(
        f"""
        alter table review_actions
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}, 'recut'));
        create index review_actions_recut_idx on review_actions (id) where action = 'recut';
        """
    )


def downgrade() -> None:
    op.execute(
        f"""
        delete from review_actions where action = 'recut';
        drop index review_actions_recut_idx;
        alter table review_actions
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}));
        """
    )
