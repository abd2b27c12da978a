"""How far a stage is also says since when it has not got further, and on which machine it works: a stage that stands still is an alert."""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A program of before writes neither: then nothing is known of when the stage got further, and nothing is told of it.
    op.execute("""
        alter table stage_progress add column progressed_at timestamp with time zone, add column host text not null default '';
        comment on column stage_progress.progressed_at is 'when the figures last changed; null while it waits for its turn';
        comment on column stage_progress.host is 'the machine on which it works';
    """)


def downgrade() -> None:
    op.execute("alter table stage_progress drop column progressed_at, drop column host")
