"""How far a stage is also says which part it works on, as the third of ten pieces of a proxy."""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table stage_progress add column part text not null default '';
        comment on column stage_progress.part is 'what of it is worked on now, in words';
    """)


def downgrade() -> None:
    op.execute("alter table stage_progress drop column part")
