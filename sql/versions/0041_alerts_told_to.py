"""Each alert knows the channels that were told of it, so that a channel that is set later is told of what goes on."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table alerts add column told_to text[] not null default '{}';
        comment on column alerts.told_to is 'channels that have a message about its begin';
        update alerts set told_to = coalesce((
            select array_agg(distinct channel order by channel) from alert_messages where created_at >= alerts.begun_at
        ), '{}') where over_at is null;
    """)


def downgrade() -> None:
    op.execute("alter table alerts drop column told_to")
