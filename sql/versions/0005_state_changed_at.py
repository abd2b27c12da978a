"""How long a row has been in its state is kept apart from when it was last written: a lease or a cut is no change of state."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
alter table source_videos add column state_changed_at timestamptz, add column gold_master_failed_at timestamptz;
alter table clips add column state_changed_at timestamptz;

-- What is there gets the age that was taken for it until now. Without triggers: they would call every row changed a moment ago.
alter table source_videos disable trigger user;
update source_videos set
    state_changed_at = updated_at,
    gold_master_failed_at = case when gold_master_attempts > 0 then updated_at end;
alter table source_videos enable trigger user;
-- The clips are written anew instead of updated: an update of a million rows keeps each index up row by row, and had not ended after 250 s.
-- The check against overlaps is made as in 0017, because as an index of ranges it alone would take a minute.
alter table clips
    drop constraint clips_no_overlap,
    alter column state_changed_at type timestamptz using updated_at,
    add constraint clips_no_overlap exclude using gist (
        box(point(source_video_id, start_frame), point(source_video_id, end_frame - 1)) with &&
    ) where (is_live) deferrable initially immediate;

alter table source_videos alter column state_changed_at set default now(), alter column state_changed_at set not null;
alter table clips alter column state_changed_at set default now(), alter column state_changed_at set not null;
comment on column source_videos.state_changed_at is 'since when it is in this state; one more failed try begins it anew';
comment on column source_videos.gold_master_failed_at is 'when the last try at the gold master failed';
comment on column clips.state_changed_at is 'since when it is in this state; one more failed try begins it anew';

-- Nobody but the database says since when a row is in its state: not a store that forgets it, not one that writes it by mistake.
create function heaters_mark_state_change() returns trigger language plpgsql as $$
begin
    if new.state <> old.state or new.attempts > old.attempts then
        new.state_changed_at := now();
    else
        new.state_changed_at := old.state_changed_at;
    end if;
    return new;
end $$;
create trigger source_videos_state_changed before update on source_videos for each row execute function heaters_mark_state_change();
create trigger clips_state_changed before update on clips for each row execute function heaters_mark_state_change();

create function heaters_mark_gold_master_failure() returns trigger language plpgsql as $$
begin
    if new.gold_master_attempts > old.gold_master_attempts then
        new.gold_master_failed_at := now();
    end if;
    return new;
end $$;
create trigger source_videos_gold_master_failed before update on source_videos
    for each row execute function heaters_mark_gold_master_failure();
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UPGRADE, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.execute(
        """
        drop trigger source_videos_gold_master_failed on source_videos;
        drop trigger source_videos_state_changed on source_videos;
        drop trigger clips_state_changed on clips;
        drop function heaters_mark_gold_master_failure, heaters_mark_state_change;
        alter table source_videos drop column state_changed_at, drop column gold_master_failed_at;
        alter table clips drop column state_changed_at;
        """
    )
