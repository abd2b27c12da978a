"""A decision tells at once that there may be work: waiting processes then need not ask every few seconds."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create function heaters_nudge() returns trigger language plpgsql as $$
        begin
            perform pg_notify('heaters', 'rows');
            return null;
        end $$;
        comment on function heaters_nudge() is 'tells listeners that there may be work; who misses it finds the work at the next look';
        create trigger clips_nudge after update of state on clips
            for each row when (new.state = 'review_approved' and old.state <> new.state) execute function heaters_nudge();
        create trigger source_videos_nudge after update of state on source_videos
            for each row when (old.state <> new.state) execute function heaters_nudge();
        create trigger source_videos_new_nudge after insert on source_videos for each statement execute function heaters_nudge();
    """)


def downgrade() -> None:
    op.execute("""
        drop trigger source_videos_new_nudge on source_videos;
        drop trigger source_videos_nudge on source_videos;
        drop trigger clips_nudge on clips;
        drop function heaters_nudge();
    """)
