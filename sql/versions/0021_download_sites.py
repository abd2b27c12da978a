"""Downloads from one site take turns: the site of each source video, and from when a site may be asked again."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TRANSITIONS = """
create or replace function heaters_legal_source_video_transition(old_state text, new_state text)
returns boolean language sql immutable parallel safe as $$
    select old_state <> 'deleted' and new_state = 'deleted' or (old_state, new_state) in (
        ('new', 'downloading'), ('new', 'download_failed'),
        ('downloading', 'downloading'), ('downloading', 'downloaded'), ('downloading', 'download_failed'){more},
        ('download_failed', 'new'), ('download_failed', 'downloading'),
        ('downloaded', 'preprocessing'), ('downloaded', 'preprocess_failed'),
        ('preprocessing', 'preprocessing'), ('preprocessing', 'preprocessed'), ('preprocessing', 'preprocess_failed'),
        ('preprocess_failed', 'downloaded'), ('preprocess_failed', 'preprocessing'),
        ('preprocessed', 'detecting_scenes'), ('preprocessed', 'detect_scenes_failed'), ('preprocessed', 'preprocessing'),
        ('detecting_scenes', 'detecting_scenes'), ('detecting_scenes', 'scenes_detected'), ('detecting_scenes', 'detect_scenes_failed'),
        ('detect_scenes_failed', 'preprocessed'), ('detect_scenes_failed', 'detecting_scenes'),
        ('scenes_detected', 'detecting_scenes')
    )
$$
"""

#: The host of a web address in lower case, without user, port and what says which kind of page it is; null for all else. No longer than a
#: host can be: anybody may submit anything, and an index takes no longer texts.
SITE = r"""
create function heaters_site(source text) returns text language sql immutable strict parallel safe as $$
    select case host when 'youtu.be' then 'youtube.com' else left(nullif(host, ''), 253) end from (
        select regexp_replace(
            rtrim(substring(lower(source) from '^https?://(?:[^/?#]*@)?(\[[^]/?#]*\]|[^/?#:]*)'), '.'), '^(?:www|m|music|mobile)\.(?=.*\.)', ''
        ) as host
    ) as named
$$
"""


def upgrade() -> None:
    op.execute(_TRANSITIONS.format(more=", ('downloading', 'new')"))
    op.get_bind().exec_driver_sql(SITE, execution_options={"no_parameters": True})
    op.execute("""
        alter table source_videos add column site text generated always as (heaters_site(source)) stored;
        comment on column source_videos.site is 'host of a web address, whose downloads take turns';
        create index source_videos_site_idx on source_videos (site, id) where state = 'new';
        create table download_sites (
            site text not null,
            not_before timestamp with time zone not null,
            reason text,
            refusals integer not null default 0,
            constraint download_sites_pkey primary key (site),
            constraint download_sites_refusals_check check (refusals >= 0)
        );
        comment on table download_sites is 'sites from which videos are downloaded, and from when they may be asked again';
        comment on column download_sites.site is 'of source_videos.site';
        comment on column download_sites.not_before is 'no download from it begins earlier';
        comment on column download_sites.reason is 'why the site is left alone, in words; null: only the pause between two downloads';
        comment on column download_sites.refusals is 'in a row: it said that there were too many requests';
    """)


def downgrade() -> None:
    op.execute("""
        drop table download_sites;
        alter table source_videos drop column site;
        drop function heaters_site;
    """)
    op.execute(_TRANSITIONS.format(more=""))
