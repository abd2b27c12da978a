"""What was written to the ledger stays, versions only rise, and what cannot be of a clip or a file is refused by the database itself."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Who decided what and who they are. Of a ledger row only `undone` changes, and only to what the undos and redos in the ledger say; of a
# reviewer only when they were last seen. There is no exception for an administrator: who must, drops the trigger, and that can be seen.
LEDGER = """
create index review_actions_target_idx on review_actions (target_action_id, id) where target_action_id is not null;

create function heaters_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% keeps what was written: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'check_violation', constraint = tg_table_name || '_append_only', table = tg_table_name;
end $$;
create trigger review_actions_stay before delete on review_actions for each row execute function heaters_refuse_change();
create trigger review_actions_stay_all before truncate on review_actions for each statement execute function heaters_refuse_change();
create trigger cut_point_operations_stay before update or delete on cut_point_operations
    for each row execute function heaters_refuse_change();
create trigger cut_point_operations_stay_all before truncate on cut_point_operations
    for each statement execute function heaters_refuse_change();
create trigger reviewers_stay before delete on reviewers for each row execute function heaters_refuse_change();
create trigger reviewers_stay_all before truncate on reviewers for each statement execute function heaters_refuse_change();
create trigger reviewers_keep_identity before update on reviewers for each row
    when ((new.id, new.name, new.oidc_subject, new.created_at) is distinct from (old.id, old.name, old.oidc_subject, old.created_at))
    execute function heaters_refuse_change();
alter table reviewers add constraint reviewers_command_line_check
    check (oidc_subject is null or not lower(name) like '%(command line)');

create function heaters_check_ledger_update() returns trigger language plpgsql as $$
declare
    latest text;
    unmarked review_actions;
begin
    unmarked := new;
    unmarked.undone := old.undone;
    if unmarked is distinct from old then
        raise exception 'review_actions keeps what was written: only the mark "undone" of action % may change', old.id
            using errcode = 'check_violation', constraint = 'review_actions_append_only', table = 'review_actions';
    end if;
    select action into latest from review_actions where target_action_id = new.id order by id desc limit 1;
    if new.undone is distinct from coalesce(latest = 'undo', false) then
        raise exception 'action % cannot be marked as %: the ledger has no such %', new.id,
            case when new.undone then 'undone' else 'standing' end, case when new.undone then 'undo' else 'redo' end
            using errcode = 'check_violation', constraint = 'review_actions_undone', table = 'review_actions';
    end if;
    return new;
end $$;
create trigger review_actions_keep_what_was_written before update on review_actions
    for each row execute function heaters_check_ledger_update();
"""

CLIPS = """
create function heaters_keep_clip_version() returns trigger language plpgsql as $$
begin
    raise exception 'the version of clip % cannot go back from % to %', old.id, old.cut_point_version, new.cut_point_version
        using errcode = 'check_violation', constraint = 'clips_version_only_rises', table = 'clips';
end $$;
create trigger clips_version_only_rises before update on clips for each row
    when (new.cut_point_version < old.cut_point_version) execute function heaters_keep_clip_version();

-- NaN is more than infinity to Postgres, so both ends are compared.
alter table clips
    drop constraint clips_time_range_check,
    add constraint clips_time_range_check check (
        start_time_seconds > '-infinity' and start_time_seconds < end_time_seconds and end_time_seconds < 'infinity'),
    add constraint clips_grouped_check check (grouped_with_clip_id <> id);
alter table source_videos add constraint source_videos_duration_seconds_check
    check (duration_seconds >= 0 and duration_seconds < 'infinity');

create function heaters_check_artifact_state() returns trigger language plpgsql as $$
begin
    raise exception 'the file % is %: it cannot become % unless it is written again', new.key, old.state, new.state
        using errcode = 'check_violation', constraint = 'clip_artifacts_legal_transition', table = 'clip_artifacts';
end $$;
create trigger clip_artifacts_state before update on clip_artifacts for each row
    when (old.state <> new.state and (old.state = 'deleted' and new.state <> 'writing' or old.state = 'obsolete' and new.state = 'live'))
    execute function heaters_check_artifact_state();
"""

# The check at commit was left out when its row was gone: a delete could take it away. Now it is made for every row that was ever queued,
# and only the check itself deletes one. Beside the cover, the times of the live clips must follow their frames.
COVERAGE = """
create or replace function heaters_check_queued_coverage() returns trigger language plpgsql as $$
begin
    delete from clip_coverage_checks where source_video_id = new.source_video_id;
    perform heaters_assert_coverage(new.source_video_id);
    perform heaters_assert_times(new.source_video_id);
    return null;
end $$;

create function heaters_assert_times(video_id bigint) returns void language plpgsql as $$
declare
    wrong record;
begin
    select start_frame, start_time_seconds, time_before into wrong from (
        select start_frame, start_time_seconds, lag(start_time_seconds) over (order by start_frame) as time_before
        from clips where source_video_id = video_id and is_live
    ) as ordered where start_time_seconds <= time_before limit 1;
    if found then
        raise exception 'the clip of source video % that begins at frame % begins at % s, not after the clip before it (% s)',
            video_id, wrong.start_frame, wrong.start_time_seconds, wrong.time_before
            using errcode = 'check_violation', constraint = 'clips_times_follow_frames', table = 'clips';
    end if;
end $$;

create function heaters_keep_coverage_check() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() < 2 then
        raise exception 'a check of the clips of source video % is pending: it is made at commit, and not taken back', old.source_video_id
            using errcode = 'check_violation', constraint = 'clip_coverage_checks_stay', table = 'clip_coverage_checks';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger clip_coverage_checks_stay before update or delete on clip_coverage_checks
    for each row execute function heaters_keep_coverage_check();

create or replace function heaters_queue_coverage_check_of_update() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks
        select distinct n.source_video_id from new_rows n join old_rows o using (id)
        where (n.start_frame, n.end_frame, n.is_live, n.start_time_seconds, n.end_time_seconds)
            is distinct from (o.start_frame, o.end_frame, o.is_live, o.start_time_seconds, o.end_time_seconds)
        and not exists (select from clip_coverage_checks q where q.source_video_id = n.source_video_id);
    return null;
end $$;
"""

# As in 0001.
COVERAGE_BEFORE = """
create or replace function heaters_check_queued_coverage() returns trigger language plpgsql as $$
begin
    delete from clip_coverage_checks where source_video_id = new.source_video_id;
    if found then
        perform heaters_assert_coverage(new.source_video_id);
    end if;
    return null;
end $$;

create or replace function heaters_queue_coverage_check_of_update() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks
        select distinct n.source_video_id from new_rows n join old_rows o using (id)
        where (n.start_frame, n.end_frame, n.is_live) is distinct from (o.start_frame, o.end_frame, o.is_live)
        and not exists (select from clip_coverage_checks q where q.source_video_id = n.source_video_id);
    return null;
end $$;
"""


def upgrade() -> None:
    for part in (LEDGER, CLIPS, COVERAGE):
        op.get_bind().exec_driver_sql(part, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.get_bind().exec_driver_sql(COVERAGE_BEFORE, execution_options={"no_parameters": True})
    op.execute(
        """
        drop trigger clip_coverage_checks_stay on clip_coverage_checks;
        drop trigger clip_artifacts_state on clip_artifacts;
        drop trigger clips_version_only_rises on clips;
        drop trigger review_actions_stay on review_actions;
        drop trigger review_actions_stay_all on review_actions;
        drop trigger review_actions_keep_what_was_written on review_actions;
        drop trigger cut_point_operations_stay on cut_point_operations;
        drop trigger cut_point_operations_stay_all on cut_point_operations;
        drop trigger reviewers_stay on reviewers;
        drop trigger reviewers_stay_all on reviewers;
        drop trigger reviewers_keep_identity on reviewers;
        drop function heaters_keep_coverage_check, heaters_assert_times, heaters_check_artifact_state, heaters_keep_clip_version,
            heaters_check_ledger_update, heaters_refuse_change;
        alter table source_videos drop constraint source_videos_duration_seconds_check;
        alter table clips
            drop constraint clips_grouped_check,
            drop constraint clips_time_range_check,
            add constraint clips_time_range_check check (end_time_seconds >= start_time_seconds);
        alter table reviewers drop constraint reviewers_command_line_check;
        drop index review_actions_target_idx;
        """
    )
