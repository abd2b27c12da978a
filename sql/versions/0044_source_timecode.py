"""The timecode of a source video, and the reel that it lies on."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

harmless = {
    "rule source_video_facts.source_video_facts_start_timecode_check": "the program of before does not write the column",
    "rule source_video_facts.source_video_facts_timecode_rate_check": "the program of before does not write the column",
}


def upgrade() -> None:
    op.execute(r"""
        alter table source_video_facts
            add column start_timecode text,
            add column timecode_rate text,
            add column reel text,
            add constraint source_video_facts_start_timecode_check check (start_timecode ~ '^\d\d:\d\d:\d\d[:;]\d{2,3}$'),
            add constraint source_video_facts_timecode_rate_check check (timecode_rate ~ '^[1-9]\d*(/[1-9]\d*)?$');
        comment on column source_video_facts.start_timecode is 'of frame 0, as HH:MM:SS:FF; with ; before the frames it is drop-frame timecode';
        comment on column source_video_facts.timecode_rate is 'frames per second at which it counts, as 25 or 30000/1001; null: those of the picture';
        comment on column source_video_facts.reel is 'of the tape, card or reel';
    """)


def downgrade() -> None:
    op.execute("alter table source_video_facts drop column start_timecode, drop column timecode_rate, drop column reel")
