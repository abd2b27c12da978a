"""Which export profiles there are is said by the registry of the program that runs, not by the database: packages may add some."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table clips drop constraint clips_export_profile_check;
        alter table clips add constraint clips_export_profile_check check (export_profile ~ '^[a-z][a-z0-9_]*$') not valid;
        alter table clips validate constraint clips_export_profile_check;
        comment on column clips.export_profile is 'name of a profile in the registry of export profiles';
    """)


def downgrade() -> None:
    op.execute("""
        update clips set export_profile = 'stream_copy' where export_profile not in ('stream_copy', 'delivery', 'gold_master');
        alter table clips drop constraint clips_export_profile_check;
        alter table clips add constraint clips_export_profile_check check (export_profile in ('stream_copy', 'delivery', 'gold_master'));
        comment on column clips.export_profile is 'stream_copy, delivery or gold_master';
    """)
