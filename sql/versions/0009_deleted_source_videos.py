"""A source video can be deleted with everything and be given another title; both are in the ledger."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATES = (
    "'new', 'downloading', 'downloaded', 'download_failed', 'preprocessing', 'preprocessed', 'preprocess_failed', "
    "'detecting_scenes', 'scenes_detected', 'detect_scenes_failed'"
)
_ACTIONS = "'approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'undo', 'redo', 'recut'"

_TRANSITIONS = """
create or replace function heaters_legal_source_video_transition(old_state text, new_state text)
returns boolean language sql immutable parallel safe as $$
    select {more} (old_state, new_state) in (
        ('new', 'downloading'), ('new', 'download_failed'),
        ('downloading', 'downloading'), ('downloading', 'downloaded'), ('downloading', 'download_failed'),
        ('download_failed', 'new'), ('download_failed', 'downloading'),
        ('downloaded', 'preprocessing'), ('downloaded', 'preprocess_failed'),
        ('preprocessing', 'preprocessing'), ('preprocessing', 'preprocessed'), ('preprocessing', 'preprocess_failed'),
        ('preprocess_failed', 'downloaded'), ('preprocess_failed', 'preprocessing'),
        ('preprocessed', 'detecting_scenes'), ('preprocessed', 'detect_scenes_failed'), ('preprocessed', 'preprocessing'),
        ('detecting_scenes', 'detecting_scenes'), ('detecting_scenes', 'scenes_detected'), ('detecting_scenes', 'detect_scenes_failed'),
        ('detect_scenes_failed', 'preprocessed'), ('detect_scenes_failed', 'detecting_scenes'),
        ('scenes_detected', 'detecting_scenes')
    )
$$
"""


def upgrade() -> None:
    op.execute(_TRANSITIONS.format(more="old_state <> 'deleted' and new_state = 'deleted' or"))
    op.execute(
        f"""
        alter table source_videos
            drop constraint source_videos_state_check,
            add constraint source_videos_state_check check (state in ({_STATES}, 'deleted'));
        alter table review_actions
            add column details jsonb not null default '{{}}',
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}, 'rename', 'delete'));
        comment on column review_actions.details is 'rename: the titles; delete: what the source video was';
        drop index review_actions_recut_idx;
        create index review_actions_recut_idx on review_actions (id) where action in ('recut', 'delete');
        """
    )


def downgrade() -> None:
    """Tombstones cannot become source videos again: it is refused while there are any."""
    op.execute(
        f"""
        drop index review_actions_recut_idx;
        create index review_actions_recut_idx on review_actions (id) where action = 'recut';
        alter table review_actions
            drop column details,
            drop constraint review_actions_action_check,
            add constraint review_actions_action_check check (action in ({_ACTIONS}));
        alter table source_videos
            drop constraint source_videos_state_check,
            add constraint source_videos_state_check check (state in ({_STATES}));
        """
    )
    op.execute(_TRANSITIONS.format(more=""))
