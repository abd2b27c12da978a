"""People add, replace and take away subtitles and the thumbnail; what they took away stays for as long as it can be brought back."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_SEARCH = """
    create or replace function heaters_videos_with_word(word text) returns setof bigint language sql stable parallel restricted rows 1000
    set enable_seqscan = off as $$
        select source_video_id from source_video_facts where words @@ heaters_word_query(word)
        union
        select source_video_id from transcripts where words @@ heaters_word_query(word){live}
    $$
"""


def upgrade() -> None:
    op.execute("""
        alter table transcripts
            add column is_live boolean not null default true,
            drop constraint transcripts_origin_check,
            add constraint transcripts_origin_check check (origin in ('person', 'site', 'file', 'beside'));
        comment on column transcripts.origin is 'where it comes from: a person, the site, the video''s file, or a file beside it';
        comment on column transcripts.is_live is 'false once a person took it away; an undo brings it back';

        create table given_thumbnails (
            thumbnail_filepath text not null,
            source_video_id bigint not null,
            constraint given_thumbnails_pkey primary key (thumbnail_filepath),
            constraint given_thumbnails_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade
        );
        create index given_thumbnails_source_video_idx on given_thumbnails (source_video_id);
        comment on table given_thumbnails is 'pictures that changes of thumbnails in the history name; an undo may bring them back';
        comment on column given_thumbnails.thumbnail_filepath is 'object key';
    """)
    op.execute(_SEARCH.format(live=" and is_live"))


def downgrade() -> None:
    """Subtitles that were taken away come back, as that version cannot hide them; those of people count as of a file beside the video."""
    op.execute(_SEARCH.format(live=""))
    op.execute("""
        drop table given_thumbnails;
        update transcripts set origin = 'beside' where origin = 'person';
        alter table transcripts
            drop column is_live,
            drop constraint transcripts_origin_check,
            add constraint transcripts_origin_check check (origin in ('site', 'file', 'beside'));
        comment on column transcripts.origin is 'where it comes from: the site, the video''s file, or a file beside it';
    """)
