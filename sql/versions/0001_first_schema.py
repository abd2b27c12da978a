"""The first schema: source videos, clips that cover them, the review ledger, artifacts and embeddings.

Written out as SQL and without importing the program: a migration says what was true when it was made.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FUNCTIONS = """
create function heaters_cut_points(start_frame integer, end_frame integer, start_time_seconds float8, end_time_seconds float8)
returns jsonb language sql immutable parallel safe as $$
    select jsonb_build_object(
        'start_frame', start_frame, 'end_frame', end_frame,
        'start_time_seconds', start_time_seconds, 'end_time_seconds', end_time_seconds
    )
$$;

create function heaters_touch() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;
"""

TABLES = """
create table reviewers (
    id bigint generated always as identity,
    name text not null,
    oidc_subject text,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    constraint reviewers_pkey primary key (id),
    constraint reviewers_name_key unique (name),
    constraint reviewers_oidc_subject_key unique (oidc_subject)
);

create table source_videos (
    id bigint generated always as identity,
    source text not null,
    title text not null,
    state text not null default 'new',
    error text,
    attempts integer not null default 0,
    warnings jsonb not null default '[]',
    original_filepath text,
    original_bytes bigint,
    content_sha256 text,
    duplicate_of_id bigint,
    probe jsonb,
    proxy_filepath text,
    frame_index_filepath text,
    frame_count integer,
    duration_seconds float8,
    scenes_filepath text,
    scene_settings jsonb,
    gold_master_filepath text,
    gold_master_sha256 text,
    gold_master_error text,
    next_clip_sequence integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint source_videos_pkey primary key (id),
    constraint source_videos_state_check check (state in (
        'new', 'downloading', 'downloaded', 'download_failed', 'preprocessing', 'preprocessed', 'preprocess_failed',
        'detecting_scenes', 'scenes_detected', 'detect_scenes_failed')),
    constraint source_videos_frame_count_check check (frame_count is null or frame_count > 0),
    constraint source_videos_frame_count_known_check check (state <> 'scenes_detected' or frame_count is not null),
    constraint source_videos_attempts_check check (attempts >= 0),
    constraint source_videos_warnings_check check (jsonb_typeof(warnings) = 'array'),
    constraint source_videos_content_sha256_check check (content_sha256 ~ '^[0-9a-f]{64}$'),
    constraint source_videos_next_clip_sequence_check check (next_clip_sequence >= 1),
    constraint source_videos_duplicate_check check (duplicate_of_id is null or (
        duplicate_of_id <> id and state in ('new', 'downloading', 'downloaded', 'download_failed'))),
    constraint source_videos_duplicate_of_id_fkey foreign key (duplicate_of_id) references source_videos (id)
);
create unique index source_videos_content_sha256_key on source_videos (content_sha256)
    where content_sha256 is not null and duplicate_of_id is null;
create index source_videos_state_idx on source_videos (state);

create table clips (
    id bigint generated always as identity,
    source_video_id bigint not null,
    sequence integer not null,
    start_frame integer not null,
    end_frame integer not null,
    start_time_seconds float8 not null,
    end_time_seconds float8 not null,
    cut_points jsonb generated always as
        (heaters_cut_points(start_frame, end_frame, start_time_seconds, end_time_seconds)) stored,
    source_video_order integer generated always as (start_frame) stored,
    state text not null default 'pending_review',
    error text,
    attempts integer not null default 0,
    is_live boolean not null default true,
    is_virtual boolean not null default true,
    clip_filepath text,
    confidence float8,
    grouped_with_clip_id bigint,
    cut_point_version integer not null default 1,
    export_profile text not null default 'stream_copy',
    created_by_user_id bigint,
    last_modified_by_user_id bigint,
    leased_by_user_id bigint,
    lease_expires_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clips_pkey primary key (id),
    constraint clips_source_video_id_sequence_key unique (source_video_id, sequence),
    constraint clips_state_check check (state in (
        'pending_review', 'review_approved', 'review_skipped', 'review_archived', 'exporting', 'exported', 'export_failed',
        'keyframing', 'keyframed', 'keyframe_failed', 'embedding', 'embedded', 'embedding_failed')),
    constraint clips_frame_range_check check (start_frame >= 0 and end_frame > start_frame),
    constraint clips_time_range_check check (end_time_seconds >= start_time_seconds),
    constraint clips_confidence_check check (confidence between 0 and 1),
    constraint clips_retired_check check (is_live or state = 'review_archived'),
    constraint clips_sequence_check check (sequence >= 1),
    constraint clips_attempts_check check (attempts >= 0),
    constraint clips_cut_point_version_check check (cut_point_version >= 1),
    constraint clips_lease_check check ((leased_by_user_id is null) = (lease_expires_at is null)),
    constraint clips_filepath_required_when_physical_check check (is_virtual or clip_filepath is not null),
    constraint clips_physical_when_exported_check check (not is_virtual or not state in (
        'exported', 'keyframing', 'keyframed', 'keyframe_failed', 'embedding', 'embedded', 'embedding_failed')),
    constraint clips_mece_ordering_check check (not is_virtual or source_video_order is not null),
    constraint clips_export_profile_check check (export_profile in ('stream_copy', 'delivery', 'gold_master')),
    constraint clips_source_video_id_fkey foreign key (source_video_id) references source_videos (id),
    constraint clips_grouped_with_clip_id_fkey foreign key (grouped_with_clip_id) references clips (id),
    constraint clips_created_by_user_id_fkey foreign key (created_by_user_id) references reviewers (id),
    constraint clips_last_modified_by_user_id_fkey foreign key (last_modified_by_user_id) references reviewers (id),
    constraint clips_leased_by_user_id_fkey foreign key (leased_by_user_id) references reviewers (id),
    -- The source video as a range of one number, because the equality of plain numbers would need the btree_gist extension,
    -- which no Postgres in a wheel has. Deferrable: a cut point moves in one statement over two rows, in any order.
    constraint clips_no_overlap exclude using gist (
        int8range(source_video_id, source_video_id, '[]') with =, int4range(start_frame, end_frame) with &&
    ) where (is_live) deferrable initially immediate
);
create index clips_live_order_idx on clips (source_video_id, start_frame) where is_live;
create index clips_live_state_idx on clips (state, source_video_id, start_frame) where is_live;
create index clips_review_confidence_idx on clips (confidence, id) where is_live and state = 'pending_review';

create table review_actions (
    id bigint generated always as identity,
    reviewer_id bigint not null,
    source_video_id bigint not null,
    action text not null,
    clip_ids bigint[] not null,
    before jsonb not null,
    after jsonb not null,
    target_action_id bigint,
    undone boolean not null default false,
    request_key text,
    created_at timestamptz not null default now(),
    constraint review_actions_pkey primary key (id),
    constraint review_actions_action_check check (action in (
        'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'undo', 'redo')),
    constraint review_actions_target_check check ((action in ('undo', 'redo')) = (target_action_id is not null)),
    constraint review_actions_request_key_key unique (request_key),
    constraint review_actions_reviewer_id_fkey foreign key (reviewer_id) references reviewers (id),
    constraint review_actions_source_video_id_fkey foreign key (source_video_id) references source_videos (id),
    constraint review_actions_target_action_id_fkey foreign key (target_action_id) references review_actions (id)
);
create index review_actions_reviewer_idx on review_actions (reviewer_id, id);
create index review_actions_source_video_idx on review_actions (source_video_id, id);
-- What was done to a clip. Without fastupdate no reviewer's action has to tidy up after a hundred others.
create index review_actions_clip_ids_idx on review_actions using gin (clip_ids) with (fastupdate = off);

create table cut_point_operations (
    id bigint generated always as identity,
    review_action_id bigint not null,
    source_video_id bigint not null,
    operation_type text not null,
    frame_number integer not null,
    old_frame_number integer,
    user_id bigint not null,
    affected_clip_ids bigint[] not null,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint cut_point_operations_pkey primary key (id),
    constraint cut_point_operations_operation_type_check check (operation_type in ('add', 'remove', 'move')),
    constraint cut_point_operations_old_frame_number_check check ((operation_type = 'move') = (old_frame_number is not null)),
    constraint cut_point_operations_review_action_id_fkey foreign key (review_action_id) references review_actions (id),
    constraint cut_point_operations_source_video_id_fkey foreign key (source_video_id) references source_videos (id),
    constraint cut_point_operations_user_id_fkey foreign key (user_id) references reviewers (id)
);
create index cut_point_operations_source_video_idx on cut_point_operations (source_video_id, id);

create table clip_artifacts (
    id bigint generated always as identity,
    clip_id bigint not null,
    kind text not null,
    key text not null,
    state text not null default 'writing',
    byte_size bigint,
    manifest jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clip_artifacts_pkey primary key (id),
    constraint clip_artifacts_kind_check check (kind in ('export', 'keyframe')),
    constraint clip_artifacts_state_check check (state in ('writing', 'live', 'obsolete', 'deleted')),
    constraint clip_artifacts_key_key unique (key),
    constraint clip_artifacts_clip_id_fkey foreign key (clip_id) references clips (id)
);
create index clip_artifacts_clip_idx on clip_artifacts (clip_id, kind);
create index clip_artifacts_obsolete_idx on clip_artifacts (clip_id) where state in ('writing', 'obsolete');

create table embeddings (
    id bigint generated always as identity,
    clip_id bigint not null,
    model text not null,
    strategy text not null,
    dimensions integer not null,
    embedding vector not null,
    created_at timestamptz not null default now(),
    constraint embeddings_pkey primary key (id),
    constraint embeddings_clip_id_model_strategy_key unique (clip_id, model, strategy),
    constraint embeddings_dimensions_check check (vector_dims(embedding) = dimensions),
    constraint embeddings_clip_id_fkey foreign key (clip_id) references clips (id)
);
create index embeddings_hnsw_512_idx on embeddings using hnsw ((embedding::vector(512)) vector_cosine_ops) where dimensions = 512;
create index embeddings_hnsw_768_idx on embeddings using hnsw ((embedding::vector(768)) vector_cosine_ops) where dimensions = 768;
create index embeddings_hnsw_1024_idx on embeddings using hnsw ((embedding::vector(1024)) vector_cosine_ops) where dimensions = 1024;

create trigger source_videos_touch before update on source_videos for each row execute function heaters_touch();
create trigger clips_touch before update on clips for each row execute function heaters_touch();
create trigger clip_artifacts_touch before update on clip_artifacts for each row execute function heaters_touch();

comment on column source_videos.source is 'as submitted: path, web address, s3:// address';
comment on column source_videos.error is 'why the last stage failed, in words for a person';
comment on column source_videos.attempts is 'failed tries of the stage in hand; a transient failure is tried again by the sensor';
comment on column source_videos.warnings is 'list of sentences: what was odd about the file and what was done';
comment on column source_videos.original_filepath is 'object key';
comment on column source_videos.content_sha256 is 'hex, of the original''s bytes';
comment on column source_videos.probe is 'what the original is: container, streams, frame rate, colour, rotation, start';
comment on column source_videos.proxy_filepath is 'object key';
comment on column source_videos.frame_index_filepath is 'object key of the frame index';
comment on column source_videos.frame_count is 'decoded frames of the proxy; clips cover [0, frame_count)';
comment on column source_videos.scenes_filepath is 'object key of scores and boundaries';
comment on column source_videos.scene_settings is 'detector, threshold, minimum length that made the cuts';
comment on column source_videos.gold_master_filepath is 'object key';
comment on column source_videos.gold_master_error is 'why the last try at the gold master failed';
comment on column clips.sequence is 'per source video, never reused; the nnn of the object key';
comment on column clips.end_frame is 'exclusive';
comment on column clips.start_time_seconds is 'of start_frame, by the frame index';
comment on column clips.end_time_seconds is 'when the last frame''s showing ends';
comment on column clips.source_video_order is 'sorts the clips of a source video';
comment on column clips.is_live is 'false: replaced by a cut point operation, kept for the audit trail';
comment on column clips.clip_filepath is 'object key of the export';
comment on column clips.confidence is 'of the weaker of its two detected boundaries, 0..1; null: no detected boundary';
comment on column clips.cut_point_version is 'rises with every review action on the clip; stale writes are refused by it';
comment on column clips.export_profile is 'stream_copy, delivery or gold_master';
comment on column review_actions.before is 'snapshots of the clips before, by clip id; null for a clip the action made';
comment on column review_actions.target_action_id is 'undo and redo: the action undone or redone';
comment on column review_actions.request_key is 'chosen by the sender; the same decision sent twice is applied once';
comment on column clip_artifacts.key is 'object key; the row is written before the object, so that no object is without a row';
comment on column clip_artifacts.manifest is 'proof: frame range, frame count, first and last frame hash, audio offset';
"""

# A row of a state that was never legal cannot be written, not even by hand: the application's table, once more.
TRANSITIONS = """
create function heaters_legal_source_video_transition(old_state text, new_state text)
returns boolean language sql immutable parallel safe as $$
    select (old_state, new_state) in (
        ('new', 'downloading'), ('new', 'download_failed'),
        ('downloading', 'downloading'), ('downloading', 'downloaded'), ('downloading', 'download_failed'),
        ('download_failed', 'new'), ('download_failed', 'downloading'),
        ('downloaded', 'preprocessing'), ('downloaded', 'preprocess_failed'),
        ('preprocessing', 'preprocessing'), ('preprocessing', 'preprocessed'), ('preprocessing', 'preprocess_failed'),
        ('preprocess_failed', 'downloaded'), ('preprocess_failed', 'preprocessing'),
        ('preprocessed', 'detecting_scenes'), ('preprocessed', 'detect_scenes_failed'), ('preprocessed', 'preprocessing'),
        ('detecting_scenes', 'detecting_scenes'), ('detecting_scenes', 'scenes_detected'), ('detecting_scenes', 'detect_scenes_failed'),
        ('detect_scenes_failed', 'preprocessed'), ('detect_scenes_failed', 'detecting_scenes'),
        ('scenes_detected', 'detecting_scenes')
    )
$$;

-- A review decision may be taken, changed and taken back in every state; the rest is the pipeline's way.
create function heaters_legal_clip_transition(old_state text, new_state text)
returns boolean language sql immutable parallel safe as $$
    select old_state <> new_state and new_state in ('pending_review', 'review_approved', 'review_skipped', 'review_archived')
    or (old_state, new_state) in (
        ('review_approved', 'exporting'), ('review_approved', 'export_failed'),
        ('exporting', 'exporting'), ('exporting', 'exported'), ('exporting', 'export_failed'),
        ('export_failed', 'exporting'),
        ('exported', 'keyframing'), ('exported', 'keyframe_failed'), ('exported', 'exporting'),
        ('keyframing', 'keyframing'), ('keyframing', 'keyframed'), ('keyframing', 'keyframe_failed'),
        ('keyframe_failed', 'keyframing'), ('keyframe_failed', 'exported'),
        ('keyframed', 'embedding'), ('keyframed', 'embedding_failed'), ('keyframed', 'keyframing'),
        ('embedding', 'embedding'), ('embedding', 'embedded'), ('embedding', 'embedding_failed'),
        ('embedding_failed', 'embedding'), ('embedding_failed', 'keyframed'),
        ('embedded', 'embedding'), ('embedded', 'keyframing')
    )
$$;

create function heaters_check_source_video_state() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        if new.state <> 'new' then
            raise exception 'a source video begins as new, not as %', new.state
                using errcode = 'check_violation', constraint = 'source_videos_legal_transition', table = 'source_videos';
        end if;
    elsif new.state <> old.state and not heaters_legal_source_video_transition(old.state, new.state) then
        raise exception 'source video %, which is %, cannot become %', new.id, old.state, new.state
            using errcode = 'check_violation', constraint = 'source_videos_legal_transition', table = 'source_videos';
    end if;
    return new;
end $$;
create trigger source_videos_state before insert or update of state on source_videos
    for each row execute function heaters_check_source_video_state();

create function heaters_check_clip_state() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        if new.state not in ('pending_review', 'review_approved', 'review_skipped', 'review_archived') then
            raise exception 'a clip begins in a review state, not as %', new.state
                using errcode = 'check_violation', constraint = 'clips_legal_transition', table = 'clips';
        end if;
    elsif new.state <> old.state and not heaters_legal_clip_transition(old.state, new.state) then
        raise exception 'clip %, which is %, cannot become %', new.id, old.state, new.state
            using errcode = 'check_violation', constraint = 'clips_legal_transition', table = 'clips';
    end if;
    return new;
end $$;
create trigger clips_state before insert or update of state on clips
    for each row execute function heaters_check_clip_state();
"""

# Sequences are handed out by a counter that only rises, and a clip keeps its own for ever: object keys are made of them.
SEQUENCES = """
create function heaters_keep_sequence_counter() returns trigger language plpgsql as $$
begin
    raise exception 'the clip sequences of source video % cannot go back from % to %', old.id, old.next_clip_sequence, new.next_clip_sequence
        using errcode = 'check_violation', constraint = 'source_videos_sequence_never_reused', table = 'source_videos';
end $$;
create trigger source_videos_sequence_never_reused before update of next_clip_sequence on source_videos
    for each row when (new.next_clip_sequence < old.next_clip_sequence) execute function heaters_keep_sequence_counter();

create function heaters_keep_clip_identity() returns trigger language plpgsql as $$
begin
    raise exception 'clip % keeps its id, its source video and its sequence', old.id
        using errcode = 'check_violation', constraint = 'clips_keep_identity', table = 'clips';
end $$;
create trigger clips_keep_identity before update of id, source_video_id, sequence on clips
    for each row when ((new.id, new.source_video_id, new.sequence) is distinct from (old.id, old.source_video_id, old.sequence))
    execute function heaters_keep_clip_identity();
"""

# At commit the live clips of a video cover [0, frame_count) exactly. They do not overlap (clips_no_overlap), so it is enough that their
# lengths add up to frame_count, the first begins at 0 and the last ends at frame_count.
#
# A deferred trigger can only fire for each row, and 2,000 clips inserted at once would sum up 2,000 clips 2,000 times. So a statement
# trigger writes the ids of the videos it touched into clip_coverage_checks, once per video, and the deferred trigger of *that* table does
# the check. Why this is sound:
# - Other transactions' rows in it are never visible: every transaction deletes its own before it commits. "Is the video queued already"
#   therefore asks about this transaction alone.
# - A row and its pending check live and die together, also when a savepoint is rolled back or constraints are set immediate in between;
#   the next change queues the video again.
# - The check locks the source video's row, so the checks of two transactions on one video run one after the other, and the later one
#   sees what the earlier one committed. (With serializable or repeatable-read isolation it does not see it, but then each of the two
#   kept the sum of the clips it changed, and overlaps are refused across snapshots.)
# Unlogged: a row never outlives its transaction, so there is nothing to recover.
COVERAGE = """
create unlogged table clip_coverage_checks (source_video_id bigint not null);
comment on table clip_coverage_checks is
    'source videos whose cover by clips is checked when the transaction that wrote the row commits; empty at all other times';

create function heaters_assert_coverage(video_id bigint) returns void language plpgsql as $$
declare
    video record;
    cover record;
begin
    select state, frame_count, next_clip_sequence into video from source_videos where id = video_id for no key update;
    if not found then
        return;
    end if;
    select count(*) as clip_count, sum(end_frame - start_frame) as frames, min(start_frame) as first_frame, max(end_frame) as end_frame
        into cover from clips where source_video_id = video_id and is_live;
    if cover.clip_count = 0 then
        if video.state = 'scenes_detected' then
            raise exception 'source video % has its scenes detected but no clips', video_id
                using errcode = 'check_violation', constraint = 'clips_cover_source_video', table = 'clips';
        end if;
    elsif (cover.frames, cover.first_frame, cover.end_frame) is distinct from (video.frame_count, 0, video.frame_count) then
        raise exception 'the clips of source video % must cover its frames 0..% without a gap; they begin at % and hold % frames up to %',
            video_id, coalesce((video.frame_count - 1)::text, '(unknown)'), cover.first_frame, cover.frames, cover.end_frame - 1
            using errcode = 'check_violation', constraint = 'clips_cover_source_video', table = 'clips';
    end if;
    if (select max(sequence) from clips where source_video_id = video_id) >= video.next_clip_sequence then
        raise exception 'source video % has a clip whose sequence was not taken from next_clip_sequence (%)', video_id, video.next_clip_sequence
            using errcode = 'check_violation', constraint = 'clips_sequence_never_reused', table = 'clips';
    end if;
end $$;

create function heaters_check_queued_coverage() returns trigger language plpgsql as $$
begin
    delete from clip_coverage_checks where source_video_id = new.source_video_id;
    if found then
        perform heaters_assert_coverage(new.source_video_id);
    end if;
    return null;
end $$;
create constraint trigger clip_coverage_checks_run after insert on clip_coverage_checks deferrable initially deferred
    for each row execute function heaters_check_queued_coverage();

create function heaters_check_source_video_coverage() returns trigger language plpgsql as $$
begin
    perform heaters_assert_coverage(new.id);
    return null;
end $$;
create constraint trigger source_videos_are_covered after insert or update of state, frame_count on source_videos
    deferrable initially deferred for each row execute function heaters_check_source_video_coverage();

create function heaters_queue_coverage_check() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks
        select distinct source_video_id from changed_rows c
        where not exists (select from clip_coverage_checks q where q.source_video_id = c.source_video_id);
    return null;
end $$;
create trigger clips_inserted after insert on clips
    referencing new table as changed_rows for each statement execute function heaters_queue_coverage_check();
create trigger clips_deleted after delete on clips
    referencing old table as changed_rows for each statement execute function heaters_queue_coverage_check();

create function heaters_queue_coverage_check_of_update() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks
        select distinct n.source_video_id from new_rows n join old_rows o using (id)
        where (n.start_frame, n.end_frame, n.is_live) is distinct from (o.start_frame, o.end_frame, o.is_live)
        and not exists (select from clip_coverage_checks q where q.source_video_id = n.source_video_id);
    return null;
end $$;
create trigger clips_updated after update on clips
    referencing old table as old_rows new table as new_rows
    for each statement execute function heaters_queue_coverage_check_of_update();

create function heaters_queue_coverage_check_of_all() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks select id from source_videos where state = 'scenes_detected';
    return null;
end $$;
create trigger clips_truncated after truncate on clips for each statement execute function heaters_queue_coverage_check_of_all();
"""


def upgrade() -> None:
    op.execute("create extension if not exists vector")
    for part in (FUNCTIONS, TABLES, TRANSITIONS, SEQUENCES, COVERAGE):
        op.get_bind().exec_driver_sql(part, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Drop everything but the vector extension, which may serve others too."""
    op.execute(
        "drop table embeddings, clip_artifacts, cut_point_operations, review_actions, clips, source_videos, reviewers, clip_coverage_checks"
    )
    op.execute(
        "drop function heaters_cut_points, heaters_touch, heaters_legal_source_video_transition, heaters_legal_clip_transition, "
        "heaters_check_source_video_state, heaters_check_clip_state, heaters_keep_sequence_counter, heaters_keep_clip_identity, "
        "heaters_assert_coverage, heaters_check_queued_coverage, heaters_check_source_video_coverage, heaters_queue_coverage_check, "
        "heaters_queue_coverage_check_of_update, heaters_queue_coverage_check_of_all"
    )
