"""What source videos look like, which of them are or may be the same, and source videos that were submitted again by force."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table source_video_looks (
            source_video_id bigint not null,
            looks_filepath text not null,
            duration_seconds double precision not null,
            frame_seconds double precision not null,
            sample bytea not null,
            constraint source_video_looks_pkey primary key (source_video_id),
            constraint source_video_looks_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade
        );
        create index source_video_looks_duration_idx on source_video_looks (duration_seconds);
        comment on table source_video_looks is 'what source videos look like; see domain/looks.py';
        comment on column source_video_looks.looks_filepath is 'object key of the looks of all frames';
        comment on column source_video_looks.frame_seconds is 'how long a frame is shown, on average';
        comment on column source_video_looks.sample is 'the looks of 16 frames, 16 bytes each';

        create table related_source_videos (
            source_video_id bigint not null,
            other_id bigint not null,
            kind text not null,
            details jsonb not null default '{}',
            dismissed_at timestamp with time zone,
            dismissed_by_user_id bigint,
            created_at timestamp with time zone not null default now(),
            constraint related_source_videos_pkey primary key (source_video_id, other_id, kind),
            constraint related_source_videos_source_video_id_fkey
                foreign key (source_video_id) references source_videos (id) on delete cascade,
            constraint related_source_videos_other_id_fkey foreign key (other_id) references source_videos (id) on delete cascade,
            constraint related_source_videos_dismissed_by_user_id_fkey foreign key (dismissed_by_user_id) references reviewers (id),
            constraint related_source_videos_other_check check (source_video_id <> other_id),
            constraint related_source_videos_kind_check check (kind in ('looks_alike', 'same_on_site', 'again', 'replaces'))
        );
        create index related_source_videos_other_idx on related_source_videos (other_id);
        comment on table related_source_videos is 'source videos that are, or may be, the same video';
        comment on column related_source_videos.other_id is 'the one that was there before';
        comment on column related_source_videos.details is 'for the words: how many frames look alike, which site';
        comment on column related_source_videos.dismissed_at is 'when a person said that the hint is of no use';

        alter table source_videos add column forced boolean not null default false;
        comment on column source_videos.forced is 'a source video of its own, also when another one holds the same bytes';
        drop index source_videos_content_sha256_key;
        create unique index source_videos_content_sha256_key on source_videos (content_sha256)
            where content_sha256 is not null and duplicate_of_id is null and not forced;
        create index source_videos_forced_idx on source_videos (content_sha256) where forced;
    """)


def downgrade() -> None:
    op.execute("""
        drop index source_videos_forced_idx;
        drop index source_videos_content_sha256_key;
        update source_videos v set content_sha256 = null
            where forced and exists (select from source_videos o where o.content_sha256 = v.content_sha256 and o.id < v.id);
        alter table source_videos drop column forced;
        create unique index source_videos_content_sha256_key on source_videos (content_sha256)
            where content_sha256 is not null and duplicate_of_id is null;
        drop table related_source_videos;
        drop table source_video_looks;
    """)
