"""With what files of source videos and clips were made, so that a changed setting or a new version finds what it concerns."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table source_video_making (
            source_video_id bigint not null,
            proxy_made_with text,
            proxy_version text,
            proxy_is_being_replaced boolean not null default false,
            gold_master_made_with text,
            constraint source_video_making_pkey primary key (source_video_id),
            constraint source_video_making_source_video_id_fkey
                foreign key (source_video_id) references source_videos (id) on delete cascade
        );
        create index source_video_making_proxy_idx on source_video_making (source_video_id) where proxy_is_being_replaced;
        comment on table source_video_making is 'with what the files of a source video were made';
        comment on column source_video_making.proxy_made_with is
            'version and settings of the stage that made it; null: made before this was kept';
        comment on column source_video_making.proxy_version is 'of its frame index: another proxy has another one';
        comment on column source_video_making.proxy_is_being_replaced is
            'a new proxy is being put in place of the old one; if no process does it, it was killed, and the proxy must be made again';
        comment on column source_video_making.gold_master_made_with is 'as proxy_made_with';
        alter table clip_work add column made_with text;
        comment on column clip_work.made_with is 'version and settings of the stage that made it; null: made before this was kept';
        alter table clip_exports add column made_with text;
        comment on column clip_exports.made_with is 'the export profile and the file that it was made from; null: made before this was kept';
    """)


def downgrade() -> None:
    op.execute("alter table clip_exports drop column made_with")
    op.execute("alter table clip_work drop column made_with")
    op.execute("drop table source_video_making")
