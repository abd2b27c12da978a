"""Subtitles also come from files that lie beside a video, and some were made by a site's machine."""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table transcripts
            drop constraint transcripts_kind_check,
            add constraint transcripts_kind_check check (kind in ('subtitle', 'automatic')),
            drop constraint transcripts_origin_check,
            add constraint transcripts_origin_check check (origin in ('site', 'file', 'beside'));
        comment on column transcripts.origin is 'where it comes from: the site, the video''s file, or a file beside it';
    """)


def downgrade() -> None:
    """What the version before does not know counts as what comes nearest: files beside a video as inside of it."""
    op.execute("""
        update transcripts set kind = 'subtitle' where kind = 'automatic';
        update transcripts set origin = 'file' where origin = 'beside';
        alter table transcripts
            drop constraint transcripts_kind_check,
            add constraint transcripts_kind_check check (kind in ('subtitle')),
            drop constraint transcripts_origin_check,
            add constraint transcripts_origin_check check (origin in ('site', 'file'));
        comment on column transcripts.origin is 'who gave it: the site, or the file itself';
    """)
