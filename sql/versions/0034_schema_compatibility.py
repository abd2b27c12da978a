"""What the oldest program is that works with the schema: old and new programs run side by side while a deployment is renewed."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table schema_compatibility (
            oldest_program text not null,
            constraint schema_compatibility_pkey primary key (oldest_program)
        );
        comment on table schema_compatibility is 'one row, written by the program that migrates';
        comment on column schema_compatibility.oldest_program is
            'newest revision that the oldest program knows which still works with this schema';
    """)


def downgrade() -> None:
    op.execute("drop table schema_compatibility")
