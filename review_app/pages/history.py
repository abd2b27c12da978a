"""History: who did what, when; and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from heaters_dagster.domain.cuts import ReviewAction
from resources.reviewer_store import ReviewerStore
from review_app import actions, views
from review_app.desk import ReviewDesk
from review_app.links import Session

_PAGE = 100


def show(desk: ReviewDesk, session: Session) -> None:
    st.title("History")
    who, what, when, clip = st.columns(4)
    names = [reviewer.name for reviewer in ReviewerStore(desk.database).load_all()]
    reviewer = who.selectbox("Who", ["everybody", *names])
    chosen = what.multiselect("What", [str(action) for action in ReviewAction], placeholder="everything")
    days = when.selectbox("Since", [1, 7, 30, 0], index=1, format_func=lambda days: f"{days} days" if days else "the beginning")
    clip_id = clip.number_input("Clip", min_value=0, step=1, help="0: every clip")
    left, right, _ = st.columns([1, 1, 5])
    if left.button("Undo my latest", icon=":material/undo:", width="stretch"):
        _say(actions.undo(desk, session))
    if right.button("Redo", icon=":material/redo:", width="stretch"):
        _say(actions.redo(desk, session))
    entries = desk.reviews.history(
        reviewer=None if reviewer == "everybody" else reviewer,
        clip_id=int(clip_id) or None,
        actions=[ReviewAction(action) for action in chosen],
        since=datetime.now(UTC) - timedelta(days=days) if days else None,
        before_id=st.session_state.get("history_before"),
        limit=_PAGE,
    )
    if not entries:
        st.info("Nothing here. Decisions appear as soon as they are made.")
    picked = st.dataframe(
        views.history_rows(entries),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key="history",
        column_config={"when": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")},
    )
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(entries):
        entry = entries[rows[0]]
        own = entry.reviewer == session.reviewer
        if st.button(
            f"Undo action {entry.id}",
            disabled=not own or entry.undone,
            icon=":material/undo:",
            help=None if own else "Only its author can take it back",
        ):
            _say(actions.undo(desk, session, entry.id))
            st.rerun()
    older, newest, _ = st.columns([1, 1, 5])
    if len(entries) == _PAGE and older.button("Older", width="stretch"):
        st.session_state["history_before"] = entries[-1].id
        st.rerun()
    if "history_before" in st.session_state and newest.button("Newest", width="stretch"):
        del st.session_state["history_before"]
        st.rerun()


def _say(outcome: actions.Outcome) -> None:
    (st.success if outcome.ok else st.error)(views.plain(outcome.told))
