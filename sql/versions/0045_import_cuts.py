"""The cuts of a list of another program can be imported, as one action of a reviewer."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

harmless = {"rule review_actions.review_actions_action_check": "only allows more"}

_ACTIONS = (
    "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'edit_cut', 'undo', 'redo', 'recut', "
    "'replace', 'send_back', 'rename', 'delete', 'edit_facts'{more}"
)


def upgrade() -> None:
    _allow(_ACTIONS.format(more=", 'import_cuts'"))


def downgrade() -> None:
    # Not checked for the rows that are there: the ledger keeps what was written.
    _allow(_ACTIONS.format(more=""), checked=False)


def _allow(actions: str, *, checked: bool = True) -> None:
    op.execute(f"""
        alter table review_actions drop constraint review_actions_action_check;
        alter table review_actions add constraint review_actions_action_check check (action in ({actions})){"" if checked else " not valid"};
    """)
