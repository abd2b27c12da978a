"""What is shown of a million clips costs what is shown: clips are counted where they change, and every list has an index in its order."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Clips are counted in the transaction that changes them, and nobody waits for anybody because of it: a change only adds rows to
# clip_count_changes. Every so many rows a transaction folds what is committed into the two tables of counts, unless another is at it.
# So a count is what the two tables say plus the few rows that are not folded yet, read in one statement.
TABLES = """
create table clip_counts_by_video (
    source_video_id bigint not null,
    state text not null,
    clips bigint not null,
    constraint clip_counts_by_video_pkey primary key (source_video_id, state)
) with (fillfactor = 70);
create index clip_counts_by_video_state_idx on clip_counts_by_video (state, source_video_id);
create table clip_counts_by_confidence (
    confidence_percent smallint not null,
    state text not null,
    clips bigint not null,
    constraint clip_counts_by_confidence_pkey primary key (confidence_percent, state)
) with (fillfactor = 50);
create table clip_count_changes (
    id bigint generated always as identity,
    source_video_id bigint not null,
    confidence_percent smallint not null,
    state text not null,
    clips bigint not null,
    constraint clip_count_changes_pkey primary key (id)
);
comment on table clip_counts_by_video is 'live clips of each source video by state; add clip_count_changes';
comment on table clip_counts_by_confidence is 'live clips of all source videos by state and confidence; add clip_count_changes';
comment on column clip_counts_by_confidence.confidence_percent is 'floor of 100 times the confidence; -1: no confidence';
comment on table clip_count_changes is 'what has changed since it was last folded into the counts';
comment on column clip_count_changes.clips is 'how many more, or fewer';
"""

FUNCTIONS = """
create function heaters_confidence_percent(confidence float8) returns smallint language sql immutable parallel safe as $$
    select coalesce(floor(confidence * 100), -1)::smallint
$$;

-- One at a time, and nobody waits for it: whoever finds another at work goes on, and the rows are folded the next time.
create function heaters_fold_clip_counts() returns void language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('heaters: fold clip counts', 0)) then
        return;
    end if;
    with folded as (delete from clip_count_changes returning source_video_id, confidence_percent, state, clips),
    by_video as (
        insert into clip_counts_by_video as c (source_video_id, state, clips)
            select source_video_id, state, sum(clips) from folded group by 1, 2 having sum(clips) <> 0
            on conflict (source_video_id, state) do update set clips = c.clips + excluded.clips
    )
    insert into clip_counts_by_confidence as c (confidence_percent, state, clips)
        select confidence_percent, state, sum(clips) from folded group by 1, 2 having sum(clips) <> 0
        on conflict (confidence_percent, state) do update set clips = c.clips + excluded.clips;
    delete from clip_counts_by_video where clips = 0;
end $$;

create function heaters_count_clips() returns trigger language plpgsql as $$
declare
    fold boolean;
begin
    if tg_op = 'INSERT' then
        with made as (
            insert into clip_count_changes (source_video_id, confidence_percent, state, clips)
                select source_video_id, heaters_confidence_percent(confidence), state, count(*) from new_rows where is_live group by 1, 2, 3
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    elsif tg_op = 'DELETE' then
        with made as (
            insert into clip_count_changes (source_video_id, confidence_percent, state, clips)
                select source_video_id, heaters_confidence_percent(confidence), state, -count(*) from old_rows where is_live group by 1, 2, 3
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    elsif tg_op = 'UPDATE' then
        with made as (
            insert into clip_count_changes (source_video_id, confidence_percent, state, clips)
                select source_video_id, heaters_confidence_percent(confidence), state, sum(clips) from (
                    select source_video_id, confidence, state, 1 as clips from new_rows where is_live
                    union all select source_video_id, confidence, state, -1 from old_rows where is_live
                ) as step group by 1, 2, 3 having sum(clips) <> 0
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    else
        delete from clip_count_changes;
        delete from clip_counts_by_video;
        delete from clip_counts_by_confidence;
    end if;
    if fold then
        perform heaters_fold_clip_counts();
    end if;
    return null;
end $$;

create trigger clips_counted_when_inserted after insert on clips
    referencing new table as new_rows for each statement execute function heaters_count_clips();
create trigger clips_counted_when_updated after update on clips
    referencing old table as old_rows new table as new_rows for each statement execute function heaters_count_clips();
create trigger clips_counted_when_deleted after delete on clips
    referencing old table as old_rows for each statement execute function heaters_count_clips();
create trigger clips_counted_when_truncated after truncate on clips for each statement execute function heaters_count_clips();

-- Counts all clips anew, for rows that were written without the triggers. Nobody changes a clip meanwhile.
create function heaters_recount_clips() returns void language plpgsql as $$
begin
    lock table clips in share row exclusive mode;
    delete from clip_count_changes;
    delete from clip_counts_by_video;
    delete from clip_counts_by_confidence;
    insert into clip_counts_by_video select source_video_id, state, count(*) from clips where is_live group by 1, 2;
    insert into clip_counts_by_confidence
        select heaters_confidence_percent(confidence), state, count(*) from clips where is_live group by 1, 2;
end $$;
"""

# Every list of clips is read state by state in its order, so that a page costs a page. Ready or not: what the sensors look for.
INDEXES = """
drop index clips_review_confidence_idx;
create index clips_live_confidence_idx on clips (state, confidence, id) where is_live;
create index clips_live_created_idx on clips (state, id) where is_live;
create index clips_to_retry_idx on clips (state, source_video_id)
    where is_live and state in ('export_failed', 'keyframe_failed', 'embedding_failed') and attempts < 6;
create index review_actions_created_idx on review_actions (created_at);
create index review_actions_reviewer_created_idx on review_actions (reviewer_id, created_at);
create index review_actions_action_idx on review_actions (action, id);
create index source_videos_source_idx on source_videos using hash (source);
create index source_videos_without_gold_master_idx on source_videos (id) where gold_master_filepath is null and duplicate_of_id is null;
"""

# Two files are the same when their bytes are; a fingerprint of some of the bytes tells most that differ without reading them whole.
FINGERPRINTS = """
alter table source_videos
    add column source_bytes bigint,
    add column source_modified_ns bigint,
    add column source_fingerprint text,
    add column source_sha256 text;
comment on column source_videos.source_bytes is 'size of the submitted file when its fingerprint was taken';
comment on column source_videos.source_modified_ns is 'when the submitted file was last modified then, in nanoseconds since 1970';
comment on column source_videos.source_fingerprint is 'hex, of the size and of samples of the submitted file''s bytes; two files that differ in it differ';
comment on column source_videos.source_sha256 is 'hex, of all bytes of the submitted file; taken when another file has its fingerprint';
create index source_videos_source_fingerprint_idx on source_videos (source_fingerprint) where source_fingerprint is not null;
create index source_videos_original_bytes_idx on source_videos (original_bytes) where original_bytes is not null;
"""


def upgrade() -> None:
    for part in (TABLES, FUNCTIONS, INDEXES, FINGERPRINTS):
        op.get_bind().exec_driver_sql(part, execution_options={"no_parameters": True})
    op.execute("select heaters_recount_clips()")


def downgrade() -> None:
    op.execute(
        """
        drop index source_videos_original_bytes_idx, source_videos_source_fingerprint_idx, source_videos_without_gold_master_idx,
            source_videos_source_idx, review_actions_action_idx, review_actions_reviewer_created_idx, review_actions_created_idx, clips_to_retry_idx, clips_live_created_idx,
            clips_live_confidence_idx;
        alter table source_videos drop column source_bytes, drop column source_modified_ns, drop column source_fingerprint, drop column source_sha256;
        create index clips_review_confidence_idx on clips (confidence, id) where is_live and state = 'pending_review';
        drop trigger clips_counted_when_inserted on clips;
        drop trigger clips_counted_when_updated on clips;
        drop trigger clips_counted_when_deleted on clips;
        drop trigger clips_counted_when_truncated on clips;
        drop function heaters_count_clips, heaters_fold_clip_counts, heaters_recount_clips, heaters_confidence_percent;
        drop table clip_count_changes, clip_counts_by_confidence, clip_counts_by_video;
        """
    )
