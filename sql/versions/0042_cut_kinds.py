"""A cut has a kind, and the first and last frame of its transition where it has one; both are kept by the clip that begins at it."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

harmless = {
    "rule clips.clips_cut_kind_check": "the program of before does not write the column",
    "rule clips.clips_cut_end_check": "the program of before does not write the column; a trigger does for a clip at the beginning",
    "rule clips.clips_cut_range_check": "the program of before does not write the columns; a trigger keeps them right where it changes frames",
    "rule review_actions.review_actions_action_check": "only allows more",
}

_ACTIONS = (
    "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', {more}'undo', 'redo', 'recut', "
    "'replace', 'send_back', 'rename', 'delete', 'edit_facts'"
)

# A clip begins at the beginning of the file, or where a person has added a cut; nothing is known of the other cuts.
# Without triggers: they would call every row changed a moment ago.
_KNOWN = """
alter table clips disable trigger user;
update clips set cut_kind = 'end' where start_frame = 0;
update clips set cut_kind = 'hand' where is_live and start_frame > 0 and created_by_user_id is not null and exists (
    select from cut_point_operations o
    where o.source_video_id = clips.source_video_id and o.frame_number = clips.start_frame and o.operation_type = 'add'
        and o.metadata ->> 'action' in ('add_cut_point', 'redo')
);
alter table clips enable trigger user;
"""

# The program of before writes frames and knows no kinds. So the database drops a range that no longer touches its cut.
_KEPT = """
create function heaters_keep_cut_in_clip() returns trigger language plpgsql as $$
begin
    if new.start_frame = 0 then
        new.cut_kind := 'end';
    elsif new.cut_kind = 'end' then
        new.cut_kind := null;
    elsif new.cut_first_frame > new.start_frame or new.cut_last_frame < new.start_frame - 1 then
        new.cut_first_frame := null;
        new.cut_last_frame := null;
    elsif new.cut_last_frame >= new.end_frame then
        new.cut_last_frame := new.end_frame - 1;
    end if;
    return new;
end $$;
create trigger clips_begin_of_file before insert on clips for each row
    when (new.start_frame = 0 and new.cut_kind is null) execute function heaters_keep_cut_in_clip();
create trigger clips_cut_in_clip before update on clips for each row
    when (
        (new.start_frame <> old.start_frame or new.end_frame <> old.end_frame) and new.cut_kind = old.cut_kind
        and new.cut_first_frame is not distinct from old.cut_first_frame and new.cut_last_frame is not distinct from old.cut_last_frame
    ) execute function heaters_keep_cut_in_clip();
"""


def upgrade() -> None:
    op.execute("""
        alter table clips add column cut_kind text, add column cut_first_frame integer, add column cut_last_frame integer;
        comment on column clips.cut_kind is
            'what the cut is at which the clip begins; null: found before kinds were stored, or by a detector that tells none';
        comment on column clips.cut_first_frame is 'first frame of the transition at which the clip begins; null: without one';
        comment on column clips.cut_last_frame is 'last frame of that transition; it may lie before the clip';
    """)
    op.execute(_KNOWN)
    op.execute("""
        alter table clips add constraint clips_cut_kind_check
            check (cut_kind in ('hard', 'dissolve', 'fade', 'wipe', 'jump', 'hand', 'end')) not valid;
        alter table clips add constraint clips_cut_end_check check ((cut_kind = 'end') = (start_frame = 0)) not valid;
        alter table clips add constraint clips_cut_range_check check (
            (cut_first_frame is null) = (cut_last_frame is null) and (cut_first_frame is null or (
                cut_kind is not null and cut_kind <> 'end' and cut_first_frame between 0 and start_frame
                and cut_last_frame between cut_first_frame and end_frame - 1 and cut_last_frame >= start_frame - 1
            ))
        ) not valid;
        alter table clips validate constraint clips_cut_kind_check;
        alter table clips validate constraint clips_cut_end_check;
        alter table clips validate constraint clips_cut_range_check;
        create index clips_live_kind_idx on clips (state, cut_kind, id) where is_live;
    """)
    op.execute(_KEPT)
    _allow(_ACTIONS.format(more="'edit_cut', "))


def downgrade() -> None:
    op.execute("""
        drop trigger clips_cut_in_clip on clips;
        drop trigger clips_begin_of_file on clips;
        drop function heaters_keep_cut_in_clip;
        alter table clips drop column cut_kind, drop column cut_first_frame, drop column cut_last_frame;
    """)
    # Not checked for the rows that are there: the ledger keeps what was written.
    _allow(_ACTIONS.format(more=""), checked=False)


def _allow(actions: str, *, checked: bool = True) -> None:
    op.execute(f"""
        alter table review_actions drop constraint review_actions_action_check;
        alter table review_actions add constraint review_actions_action_check check (action in ({actions})){"" if checked else " not valid"};
    """)
