"""A source video may take the place of another one, with its clips and decisions; clips can be sent back to review."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_ACTIONS = (
    "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'undo', 'redo', 'recut', {more}"
    "'rename', 'delete', 'edit_facts'"
)


def upgrade() -> None:
    op.execute("""
        create table source_video_replacements (
            new_id bigint not null,
            old_id bigint not null,
            state text not null default 'waiting',
            max_height integer,
            asked_by_user_id bigint not null,
            carried jsonb,
            created_at timestamp with time zone not null default now(),
            constraint source_video_replacements_pkey primary key (new_id),
            constraint source_video_replacements_new_id_fkey foreign key (new_id) references source_videos (id) on delete cascade,
            constraint source_video_replacements_old_id_fkey foreign key (old_id) references source_videos (id) on delete cascade,
            constraint source_video_replacements_asked_by_user_id_fkey foreign key (asked_by_user_id) references reviewers (id),
            constraint source_video_replacements_other_check check (new_id <> old_id),
            constraint source_video_replacements_state_check check (state in ('waiting', 'carried', 'done', 'kept', 'given_up'))
        );
        create unique index source_video_replacements_open_idx on source_video_replacements (old_id) where state in ('waiting', 'carried');
        comment on table source_video_replacements is
            'a source video that takes the place of another one; waiting: for its proxy and a person''s word; carried: it has the clips and '
            'decisions, and the old one goes when its files are made; kept: the old one was changed since, so it stays';
        comment on column source_video_replacements.max_height is 'tallest picture to download; null: that of the settings';
        comment on column source_video_replacements.carried is
            'id of each clip of the old one -> its version when its decision was taken over';
    """)
    _allow(_ACTIONS.format(more="'replace', 'send_back', "))


def downgrade() -> None:
    op.execute("drop table source_video_replacements")
    # Not checked for the rows that are there: the ledger keeps what was written.
    _allow(_ACTIONS.format(more=""), checked=False)


def _allow(actions: str, *, checked: bool = True) -> None:
    op.execute(f"""
        alter table review_actions drop constraint review_actions_action_check;
        alter table review_actions add constraint review_actions_action_check check (action in ({actions})){"" if checked else " not valid"};
    """)
