"""The search for words looks into its indexes, also for words that nearly every video has.

Without it Postgres read all transcripts for a frequent word, because it does not know what it costs to unpack them: 400 ms for 20,000.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create function heaters_videos_with_word(word text) returns setof bigint language sql stable parallel restricted rows 1000
        set enable_seqscan = off as $$
            select source_video_id from source_video_facts where words @@ heaters_word_query(word)
            union
            select source_video_id from transcripts where words @@ heaters_word_query(word)
        $$
    """)


def downgrade() -> None:
    op.execute("drop function heaters_videos_with_word")
