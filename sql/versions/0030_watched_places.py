"""Watched folders and prefixes: when each was looked at, and what became of each file in it."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table watched_places (
            place text not null,
            looked_at timestamp with time zone not null default now(),
            problem text,
            constraint watched_places_pkey primary key (place)
        );
        comment on column watched_places.place is 'folder, or s3:// address that ends with a slash';
        comment on column watched_places.problem is 'why it could not be looked at, in words for a person; null: it could';
        create table watched_files (
            place text not null,
            path text not null,
            state text not null,
            byte_size bigint not null,
            version text not null,
            inode bigint,
            source_video_id bigint,
            reason text,
            moved_to text,
            seen_at timestamp with time zone not null default now(),
            constraint watched_files_pkey primary key (place, path),
            constraint watched_files_source_video_id_fkey foreign key (source_video_id) references source_videos (id) on delete set null,
            constraint watched_files_state_check check (state in ('arriving', 'temporary', 'taken', 'refused')),
            constraint watched_files_reason_check check (state <> 'refused' or reason is not null)
        );
        comment on column watched_files.path is 'full path or s3:// address';
        comment on column watched_files.version is 'changes when the bytes do: time of the last change, or tag of an object';
        comment on column watched_files.reason is 'why it is refused, in words for a person';
        comment on column watched_files.moved_to is 'where it is being moved to; null: it stays, or has been moved';
        comment on column watched_files.seen_at is 'when it was first seen like this';
        create index watched_files_source_video_id_idx on watched_files (source_video_id) where source_video_id is not null;
    """)


def downgrade() -> None:
    op.execute("drop table watched_files")
    op.execute("drop table watched_places")
