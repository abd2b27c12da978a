"""Stages that wait for room on the disk of their machine: what they need, and what was free."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: the next look finds it out again.
    op.execute("""
        create unlogged table room_waits (
            source_video_id bigint not null,
            asset text not null,
            bytes_needed bigint not null,
            bytes_free bigint not null,
            host text not null,
            since timestamp with time zone not null default now(),
            seen_at timestamp with time zone not null default now(),
            constraint room_waits_pkey primary key (source_video_id, asset)
        );
        comment on table room_waits is 'a stage that is not begun because the disk has too little room for it';
        comment on column room_waits.bytes_free is 'without what running work was promised';
        comment on column room_waits.host is 'the machine whose disk it is';
        comment on column room_waits.seen_at is 'when that machine last found too little room';
    """)


def downgrade() -> None:
    op.execute("drop table room_waits")
