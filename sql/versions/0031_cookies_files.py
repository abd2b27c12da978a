"""Which cookies file, named by a setting, was taken last for a site."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table site_access add column file_mark bytea;
        comment on column site_access.file_mark is 'of the cookies file that a setting names and that was taken last, under the secret key';
    """)


def downgrade() -> None:
    op.execute("alter table site_access drop column file_mark")
