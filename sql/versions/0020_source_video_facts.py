"""What belongs to a source video beside its pictures, and whether its chapters are cuts."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table source_video_facts (
            source_video_id bigint not null,
            site text,
            site_id text,
            uploader text,
            uploaded_on date,
            page_address text,
            licence text,
            description text,
            tags jsonb not null default '[]',
            chapters jsonb not null default '[]',
            rights text,
            external_id text,
            thumbnail_filepath text,
            camera text,
            recorded_at timestamp with time zone,
            place text,
            container_tags jsonb,
            quality jsonb,
            origins jsonb not null default '{}',
            updated_at timestamp with time zone not null default now(),
            constraint source_video_facts_pkey primary key (source_video_id),
            constraint source_video_facts_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade,
            constraint source_video_facts_tags_check check (jsonb_typeof(tags) = 'array'),
            constraint source_video_facts_chapters_check check (jsonb_typeof(chapters) = 'array'),
            constraint source_video_facts_origins_check check (jsonb_typeof(origins) = 'object')
        );
        create index source_video_facts_site_idx on source_video_facts (site, site_id) where site_id is not null;
        create index source_video_facts_external_id_idx on source_video_facts (external_id) where external_id is not null;
        comment on column source_video_facts.site is 'short name of the site';
        comment on column source_video_facts.site_id is 'what the site calls the video';
        comment on column source_video_facts.licence is 'in the words of the site';
        comment on column source_video_facts.tags is 'list of texts';
        comment on column source_video_facts.chapters is 'list of {title, start_seconds, end_seconds}';
        comment on column source_video_facts.rights is 'what may be done with it, in the words of the submitter';
        comment on column source_video_facts.external_id is 'its name in the archive of the submitter';
        comment on column source_video_facts.thumbnail_filepath is 'object key';
        comment on column source_video_facts.container_tags is 'of the file: name -> value';
        comment on column source_video_facts.quality is 'what a site offered, what was taken, and why';
        comment on column source_video_facts.origins is 'name of a fact -> who said it: person, submission, site or file';
        alter table source_videos add column chapters_as_cuts boolean not null default false;
        comment on column source_videos.chapters_as_cuts is 'its chapters begin clips, beside what a detector finds';
    """)


def downgrade() -> None:
    op.execute("alter table source_videos drop column chapters_as_cuts")
    op.execute("drop table source_video_facts")
