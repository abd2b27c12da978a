"""A statement that changes many clips compares them with what they were in one pass, however the plan was made.

The old and the new rows were joined, and the plan of that join stays with a session: made for one clip, it compared each of 20,000 changed
clips with each other one: 68 seconds for an update that takes 4 to 10 now, on two busy cores.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

FUNCTION = """
create or replace function heaters_queue_coverage_check_of_update() returns trigger language plpgsql as $$
begin
    insert into clip_coverage_checks
        select distinct source_video_id from ({changed}) as changed
        where not exists (select from clip_coverage_checks q where q.source_video_id = changed.source_video_id);
    return null;
end $$
"""
COMPARED = "id, source_video_id, start_frame, end_frame, is_live, start_time_seconds, end_time_seconds"
IN_ONE_PASS = f"select {COMPARED} from new_rows except select {COMPARED} from old_rows"
# As in 0008.
JOINED = """
            select n.source_video_id from new_rows n join old_rows o using (id)
            where (n.start_frame, n.end_frame, n.is_live, n.start_time_seconds, n.end_time_seconds)
                is distinct from (o.start_frame, o.end_frame, o.is_live, o.start_time_seconds, o.end_time_seconds)
"""


def upgrade() -> None:
    op.execute(FUNCTION.format(changed=IN_ONE_PASS))


def downgrade() -> None:
    op.execute(FUNCTION.format(changed=JOINED))
