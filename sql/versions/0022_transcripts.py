"""Transcripts with times, the words by which facts and transcripts are found, and changes of facts in the ledger.

The embedded Postgres has no pg_trgm, so words are found by their beginnings, with indexes of tsvectors. Each Chinese, Japanese or Korean
character counts as a word, because these languages put no blanks between words.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_ACTIONS = (
    "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'undo', 'redo', 'recut', 'rename', "
    "'delete'"
)

_WORDS = r"""
create function heaters_words(content text) returns tsvector language sql immutable parallel safe
return to_tsvector('pg_catalog.simple'::regconfig, regexp_replace(
    translate(coalesce(content, ''), E'!"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~', repeat(' ', 32)),
    '([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af])', ' \1 ', 'g'
));

create function heaters_word_query(content text) returns tsquery language sql immutable parallel safe
return (
    select coalesce(string_agg('''' || lexeme || ''':*', ' & '), '') from unnest(tsvector_to_array(heaters_words(content))) as lexeme
)::tsquery;

create function heaters_fact_words(
    site text, site_id text, uploader text, page_address text, licence text, description text, tags jsonb, chapters jsonb, rights text,
    external_id text, camera text, place text, container_tags jsonb
) returns tsvector language sql immutable parallel safe
return heaters_words(
    coalesce(site, '') || ' ' || coalesce(site_id, '') || ' ' || coalesce(uploader, '') || ' ' || coalesce(page_address, '') || ' '
    || coalesce(licence, '') || ' ' || coalesce(description, '') || ' ' || coalesce(tags::text, '') || ' '
    || coalesce(jsonb_path_query_array(chapters, '$[*].title')::text, '') || ' ' || coalesce(rights, '') || ' '
    || coalesce(external_id, '') || ' ' || coalesce(camera, '') || ' ' || coalesce(place, '') || ' '
    || coalesce(jsonb_path_query_array(container_tags, '$.*')::text, '')
);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(_WORDS, execution_options={"no_parameters": True})
    op.execute("""
        alter table source_video_facts add column words tsvector generated always as (heaters_fact_words(
            site, site_id, uploader, page_address, licence, description, tags, chapters, rights, external_id, camera, place, container_tags
        )) stored;
        create index source_video_facts_words_idx on source_video_facts using gin (words) with (fastupdate = off);

        create table transcripts (
            id bigint generated always as identity,
            source_video_id bigint not null,
            kind text not null,
            origin text not null,
            language text,
            name text,
            subtitle_filepath text not null,
            line_count integer not null,
            searchable text not null,
            words tsvector generated always as (heaters_words(searchable)) stored,
            created_at timestamp with time zone not null default now(),
            constraint transcripts_pkey primary key (id),
            constraint transcripts_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade,
            constraint transcripts_subtitle_filepath_key unique (subtitle_filepath),
            constraint transcripts_kind_check check (kind in ('subtitle')),
            constraint transcripts_origin_check check (origin in ('site', 'file'))
        );
        create index transcripts_source_video_idx on transcripts (source_video_id, id);
        create index transcripts_words_idx on transcripts using gin (words) with (fastupdate = off);
        comment on table transcripts is 'what is said or shown in a source video, by kind and language';
        comment on column transcripts.origin is 'who gave it: the site, or the file itself';
        comment on column transcripts.language is 'as said there; null: not said';
        comment on column transcripts.name is 'what it is called there';
        comment on column transcripts.subtitle_filepath is 'object key of its file';
        comment on column transcripts.searchable is 'its different words';

        create table transcript_lines (
            transcript_id bigint not null,
            number integer not null,
            start_seconds double precision not null,
            end_seconds double precision not null,
            text text not null,
            constraint transcript_lines_pkey primary key (transcript_id, number),
            constraint transcript_lines_transcript_id_fkey foreign key (transcript_id) references transcripts (id) on delete cascade,
            constraint transcript_lines_times_check check (
                start_seconds >= 0 and start_seconds < end_seconds and end_seconds < 'infinity'
            )
        );
        comment on table transcript_lines is 'its lines, with times counted from the beginning of the source video';
    """)
    op.execute(f"""
        alter table review_actions
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}, 'edit_facts'));
        comment on column review_actions.details is 'rename: the titles; edit_facts: the facts before and after; delete: what the source video was';
    """)


def downgrade() -> None:
    """Changes of facts cannot leave the ledger: it is refused while there are any."""
    op.execute(f"""
        comment on column review_actions.details is 'rename: the titles; delete: what the source video was';
        alter table review_actions
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}));
        drop table transcript_lines;
        drop table transcripts;
        alter table source_video_facts drop column words;
        drop function heaters_fact_words, heaters_word_query, heaters_words;
    """)
