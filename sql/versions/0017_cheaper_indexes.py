"""Indexes that cost less to keep, or that find what is due without passing over what is done.

Every change of a clip's state writes to each index of `clips`. The one that keeps clips from overlapping took more than half of an update of
20,000 clips (1.4 of 2.4 s) as an index of two ranges; as one of boxes it takes a tenth of that, and for a million clips it is built in 15 s
instead of more than 60. A box is of 8-byte floats, which hold whole numbers up to 2^53 exactly. Boxes that touch overlap, so the box of a
clip ends at its last frame.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BOXES = "box(point(source_video_id, start_frame), point(source_video_id, end_frame - 1)) with &&"
# As in 0001.
_RANGES = "int8range(source_video_id, source_video_id, '[]') with =, int4range(start_frame, end_frame) with &&"


def upgrade() -> None:
    # 0005 makes the constraint in this form already when it writes all clips anew.
    has_ranges = "select pg_get_constraintdef(oid) like '%%range%%' from pg_constraint where conname = 'clips_no_overlap'"
    if op.get_bind().exec_driver_sql(has_ranges).scalar_one():
        _replace_overlap(BOXES)
    op.execute("""
        drop index source_videos_without_gold_master_idx, source_videos_original_bytes_idx;
        create index source_videos_without_gold_master_idx on source_videos (id)
            where gold_master_filepath is null and duplicate_of_id is null and original_filepath is not null;
        create index source_videos_original_bytes_idx on source_videos (original_bytes, source_fingerprint) where original_bytes is not null;
        create index source_videos_unfinished_idx on source_videos (id)
            where state in ('new', 'downloading', 'downloaded', 'preprocessing', 'preprocessed', 'detecting_scenes');
    """)
    # The snapshots of 20,000 clips are 11 MB: with lz4, where Postgres was built with it, they are stored in half the time.
    op.execute("""
        do $$ begin
            alter table review_actions alter column before set compression lz4, alter column after set compression lz4;
        exception when feature_not_supported then null;
        end $$
    """)


def downgrade() -> None:
    op.execute("alter table review_actions alter column before set compression default, alter column after set compression default")
    op.execute("""
        drop index source_videos_unfinished_idx, source_videos_without_gold_master_idx, source_videos_original_bytes_idx;
        create index source_videos_original_bytes_idx on source_videos (original_bytes) where original_bytes is not null;
        create index source_videos_without_gold_master_idx on source_videos (id) where gold_master_filepath is null and duplicate_of_id is null;
    """)
    _replace_overlap(_RANGES)


def _replace_overlap(overlap: str) -> None:
    op.execute(f"""
        alter table clips
            drop constraint clips_no_overlap,
            add constraint clips_no_overlap exclude using gist ({overlap}) where (is_live) deferrable initially immediate
    """)
