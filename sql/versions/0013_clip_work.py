"""What each stage did to each clip is a row, so that stages can work side by side; further kinds of files of a clip need no migration."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: Stage, its working, failed and last state, and the states of a clip that it has been done with.
_STAGES = (
    ("exports", "exporting", "export_failed", "exported keyframing keyframed keyframe_failed embedding embedded embedding_failed"),
    ("keyframes", "keyframing", "keyframe_failed", "keyframed embedding embedded embedding_failed"),
    ("embeddings", "embedding", "embedding_failed", "embedded"),
)


def upgrade() -> None:
    op.execute("""
        create table clip_work (
            clip_id bigint not null,
            stage text not null,
            state text not null default 'waiting',
            attempts integer not null default 0,
            error text,
            version integer not null,
            changed_at timestamptz not null default now(),
            constraint clip_work_state_check check (state in ('waiting', 'working', 'done', 'failed')),
            constraint clip_work_attempts_check check (attempts >= 0)
        );
        comment on table clip_work is 'what each stage did to each clip';
        comment on column clip_work.stage is 'name of its asset';
        comment on column clip_work.attempts is 'failed tries; a temporary failure is tried again by the sensor';
        comment on column clip_work.error is 'why the last try failed, in words for a person';
        comment on column clip_work.version is 'cut_point_version of the clip that it worked on';
    """)
    for stage, working, failed, after in _STAGES:
        done = ", ".join(f"'{state}'" for state in after.split())
        op.execute(f"""
            insert into clip_work (clip_id, stage, state, attempts, error, version, changed_at)
            select id, '{stage}', case state when '{working}' then 'working' when '{failed}' then 'failed' else 'done' end,
                case when state in ('{working}', '{failed}') then attempts else 0 end,
                case when state = '{failed}' then error end, cut_point_version, state_changed_at
            from clips where is_live and state in ('{working}', '{failed}', {done})
        """)
    # Keys and indexes when the rows are there: row by row, a million clips took three times as long.
    op.execute("""
        alter table clip_work
            add constraint clip_work_pkey primary key (clip_id, stage),
            add constraint clip_work_clip_id_fkey foreign key (clip_id) references clips on delete cascade;
        create index clip_work_open_idx on clip_work (stage, state, clip_id) where state <> 'done';
        alter table clip_artifacts drop constraint clip_artifacts_kind_check;
        alter table clip_artifacts add constraint clip_artifacts_kind_check check (kind ~ '^[a-z_]+$');
    """)


def downgrade() -> None:
    op.execute("""
        alter table clip_artifacts drop constraint clip_artifacts_kind_check;
        alter table clip_artifacts add constraint clip_artifacts_kind_check check (kind in ('export', 'keyframe'));
        drop table clip_work;
    """)
