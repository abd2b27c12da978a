"""A clip may have several exports: a row for each, made or asked for. The files that clips have keep their keys."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table clip_exports (
            clip_id bigint not null constraint clip_exports_clip_id_fkey references clips on delete cascade,
            profile text not null,
            state text not null default 'asked',
            attempts integer not null default 0,
            error text,
            key text constraint clip_exports_key_fkey references clip_artifacts (key),
            version integer,
            asked_at timestamptz not null default now(),
            changed_at timestamptz not null default now(),
            made_at timestamptz,
            constraint clip_exports_pkey primary key (clip_id, profile),
            constraint clip_exports_key_key unique (key),
            constraint clip_exports_profile_check check (profile ~ '^[a-z][a-z0-9_]*$'),
            constraint clip_exports_state_check check (state in ('asked', 'waiting', 'working', 'done', 'failed')),
            constraint clip_exports_attempts_check check (attempts >= 0),
            constraint clip_exports_made_check check ((made_at is null or key is not null) and (state <> 'done' or made_at is not null))
        );
        comment on table clip_exports is 'the exports of each clip, made or asked for; that of clips.export_profile has a row once it is made';
        comment on column clip_exports.state is 'asked: waits until the clip has its first file';
        comment on column clip_exports.attempts is 'failed tries; a temporary failure is tried again by the sensor';
        comment on column clip_exports.error is 'why the last try failed, in words for a person';
        comment on column clip_exports.key is 'object key; its size and manifest are in clip_artifacts';
        comment on column clip_exports.version is 'cut_point_version of the clip that the file was made from';
        comment on column clip_exports.changed_at is 'since when it is in this state; one more failed try begins it anew';
        comment on column clip_exports.made_at is 'null: there is no file yet';
    """)
    # A clip that was being exported again has its old file in another profile: the manifest says in which.
    op.execute("""
        insert into clip_exports (clip_id, profile, state, key, version, asked_at, changed_at, made_at)
        select c.id,
            case when a.manifest ->> 'profile' ~ '^[a-z][a-z0-9_]*$' then a.manifest ->> 'profile' else c.export_profile end,
            'done', a.key, coalesce(cast(a.manifest ->> 'cut_point_version' as integer), c.cut_point_version),
            a.created_at, a.updated_at, a.updated_at
        from clips c join clip_artifacts a on a.key = c.clip_filepath and a.clip_id = c.id
        where c.is_live and not c.is_virtual
    """)
    op.execute("""
        create index clip_exports_to_make_idx on clip_exports (clip_id)
            where state in ('asked', 'waiting', 'working') or (state = 'failed' and attempts < 6);
        create trigger clip_exports_nudge after insert or update of state on clip_exports
            for each row when (new.state = 'waiting') execute function heaters_nudge();
    """)


def downgrade() -> None:
    op.execute("""
        drop table clip_exports;
        update clip_artifacts a set state = 'obsolete'
        from clips c where c.id = a.clip_id and a.kind = 'export' and a.state = 'live' and a.key is distinct from c.clip_filepath;
    """)
