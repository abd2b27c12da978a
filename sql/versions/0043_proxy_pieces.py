"""Proxies of very long videos are made in pieces, on several machines."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table proxy_pieces (
            id bigint generated always as identity,
            source_video_id bigint not null,
            number integer not null,
            made_with text not null,
            plan jsonb not null,
            tries integer not null default 0,
            made_at timestamp with time zone,
            host text,
            constraint proxy_pieces_pkey primary key (id),
            constraint proxy_pieces_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete cascade,
            constraint proxy_pieces_source_video_id_number_key unique (source_video_id, number),
            constraint proxy_pieces_number_check check (number >= 0 and tries >= 0)
        );
        comment on table proxy_pieces is 'a piece of the proxy of a very long video, until the pieces are joined';
        comment on column proxy_pieces.number is 'from 0, in the order in which the pieces are shown';
        comment on column proxy_pieces.made_with is 'version and settings of the stage that plans and makes it: pieces of another one do not fit';
        comment on column proxy_pieces.plan is 'which frames of the original it has, and the sizes of their small pictures';
        comment on column proxy_pieces.tries is 'how often a machine has begun to make it';
        comment on column proxy_pieces.made_at is 'when its files were stored; null: it is still to be made';
        comment on column proxy_pieces.host is 'the machine that made it';
        alter table source_video_making add column proxy_in_one_piece text;
        comment on column source_video_making.proxy_in_one_piece is 'why the proxy cannot be made in pieces, as was found out; null: nobody knows of a reason';
    """)


def downgrade() -> None:
    op.execute("""
        alter table source_video_making drop column proxy_in_one_piece;
        drop table proxy_pieces;
    """)
