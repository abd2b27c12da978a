"""Source videos are counted where they change, so that the pages that say how many there are cost the same in any library.

With 200,000 source videos the pages Source videos and Status took 120 ms each to count them, every three seconds for each page that is open.
"""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

# As clips are (0006): a change adds rows to source_video_count_changes and waits for nobody. Every so many rows one transaction folds what
# is committed into source_video_counts, unless another is at it. What is counted is both, read in one statement.
COUNTS = """
create table source_video_counts (
    state text not null,
    is_duplicate boolean not null,
    gold_master text not null,
    source_videos bigint not null,
    original_bytes bigint not null,
    constraint source_video_counts_pkey primary key (state, is_duplicate, gold_master)
) with (fillfactor = 50);
create table source_video_count_changes (
    id bigint generated always as identity,
    state text not null,
    is_duplicate boolean not null,
    gold_master text not null,
    source_videos bigint not null,
    original_bytes bigint not null,
    constraint source_video_count_changes_pkey primary key (id)
);
comment on table source_video_counts is 'source videos by state; add source_video_count_changes';
comment on column source_video_counts.is_duplicate is 'it holds the bytes of another one';
comment on column source_video_counts.gold_master is 'waiting or failed: it has an original and no gold master; else none';
comment on column source_video_counts.original_bytes is 'of their originals, as far as they are known';
comment on table source_video_count_changes is 'what has changed since it was last folded into the counts';
comment on column source_video_count_changes.source_videos is 'how many more, or fewer';

create function heaters_gold_master_to_make(gold_master_filepath text, original_filepath text, duplicate_of_id bigint, error text)
returns text language sql immutable parallel safe as $$
    select case
        when gold_master_filepath is not null or original_filepath is null or duplicate_of_id is not null then 'none'
        when error is null then 'waiting'
        else 'failed'
    end
$$;

create function heaters_fold_source_video_counts() returns void language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('heaters: fold source video counts', 0)) then
        return;
    end if;
    with folded as (
        delete from source_video_count_changes returning state, is_duplicate, gold_master, source_videos, original_bytes
    )
    insert into source_video_counts as c (state, is_duplicate, gold_master, source_videos, original_bytes)
        select state, is_duplicate, gold_master, sum(source_videos), sum(original_bytes) from folded group by 1, 2, 3
        having sum(source_videos) <> 0 or sum(original_bytes) <> 0
        on conflict (state, is_duplicate, gold_master) do update
            set source_videos = c.source_videos + excluded.source_videos, original_bytes = c.original_bytes + excluded.original_bytes;
    delete from source_video_counts where source_videos = 0 and original_bytes = 0;
end $$;

create function heaters_count_source_videos() returns trigger language plpgsql as $$
declare
    fold boolean;
begin
    if tg_op = 'INSERT' then
        with made as (
            insert into source_video_count_changes (state, is_duplicate, gold_master, source_videos, original_bytes)
                select state, duplicate_of_id is not null,
                    heaters_gold_master_to_make(gold_master_filepath, original_filepath, duplicate_of_id, gold_master_error),
                    count(*), coalesce(sum(original_bytes), 0)
                from new_rows group by 1, 2, 3
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    elsif tg_op = 'DELETE' then
        with made as (
            insert into source_video_count_changes (state, is_duplicate, gold_master, source_videos, original_bytes)
                select state, duplicate_of_id is not null,
                    heaters_gold_master_to_make(gold_master_filepath, original_filepath, duplicate_of_id, gold_master_error),
                    -count(*), -coalesce(sum(original_bytes), 0)
                from old_rows group by 1, 2, 3
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    else
        with made as (
            insert into source_video_count_changes (state, is_duplicate, gold_master, source_videos, original_bytes)
                select state, duplicate_of_id is not null,
                    heaters_gold_master_to_make(gold_master_filepath, original_filepath, duplicate_of_id, gold_master_error),
                    sum(one), coalesce(sum(one * original_bytes), 0)
                from (
                    select state, duplicate_of_id, gold_master_filepath, original_filepath, gold_master_error, original_bytes, 1 as one
                    from new_rows
                    union all
                    select state, duplicate_of_id, gold_master_filepath, original_filepath, gold_master_error, original_bytes, -1
                    from old_rows
                ) as step
                group by 1, 2, 3 having sum(one) <> 0 or coalesce(sum(one * original_bytes), 0) <> 0
                returning id
        ) select bool_or(id % 128 = 0) into fold from made;
    end if;
    if fold then
        perform heaters_fold_source_video_counts();
    end if;
    return null;
end $$;

create trigger source_videos_counted_when_inserted after insert on source_videos
    referencing new table as new_rows for each statement execute function heaters_count_source_videos();
create trigger source_videos_counted_when_updated after update on source_videos
    referencing old table as old_rows new table as new_rows for each statement execute function heaters_count_source_videos();
create trigger source_videos_counted_when_deleted after delete on source_videos
    referencing old table as old_rows for each statement execute function heaters_count_source_videos();

-- A truncation is not counted: the ledger, which refers to source videos, refuses it.

-- Counts all source videos anew, for rows that were written without the triggers. Nobody changes a source video meanwhile.
create function heaters_recount_source_videos() returns void language plpgsql as $$
begin
    lock table source_videos in share row exclusive mode;
    delete from source_video_count_changes;
    delete from source_video_counts;
    insert into source_video_counts (state, is_duplicate, gold_master, source_videos, original_bytes)
        select state, duplicate_of_id is not null,
            heaters_gold_master_to_make(gold_master_filepath, original_filepath, duplicate_of_id, gold_master_error),
            count(*), coalesce(sum(original_bytes), 0)
        from source_videos group by 1, 2, 3;
end $$;
"""

# Which one has been longest in its state is the first of an index; those whose gold master failed are few.
INDEXES = """
create index source_videos_state_age_idx on source_videos (state, duplicate_of_id, state_changed_at, id);
create index source_videos_gold_master_failed_idx on source_videos (id) where gold_master_error is not null;
drop index source_videos_state_idx;
"""


def upgrade() -> None:
    for part in (COUNTS, INDEXES):
        op.get_bind().exec_driver_sql(part, execution_options={"no_parameters": True})
    op.execute("select heaters_recount_source_videos()")


def downgrade() -> None:
    op.execute(
        """
        create index source_videos_state_idx on source_videos (state);
        drop index source_videos_gold_master_failed_idx, source_videos_state_age_idx;
        drop trigger source_videos_counted_when_inserted on source_videos;
        drop trigger source_videos_counted_when_updated on source_videos;
        drop trigger source_videos_counted_when_deleted on source_videos;
        drop function heaters_recount_source_videos, heaters_count_source_videos, heaters_fold_source_video_counts,
            heaters_gold_master_to_make;
        drop table source_video_count_changes, source_video_counts;
        """
    )
