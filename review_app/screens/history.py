"""History: who did what, when; and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from heaters_dagster.domain.cuts import ReviewAction
from resources.review_store import HistoryEntry
from resources.reviewer_store import ReviewerStore
from review_app import actions, shell, views
from review_app.desk import ReviewDesk
from review_app.links import Session

_PAGE = 100
_EVERYBODY = "everybody"


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    who, what, when, clip = st.columns([2, 3, 1.5, 1.5])
    names = [reviewer.name for reviewer in ReviewerStore(desk.database).load_all()]
    if "history-who" not in st.session_state:
        wanted = st.query_params.get("who", _EVERYBODY)
        st.session_state["history-who"] = wanted if wanted in names else _EVERYBODY
        clip_id = st.query_params.get("clip", "")
        st.session_state["history-clip"] = int(clip_id) if clip_id.isascii() and clip_id.isdigit() and len(clip_id) < 16 else None
    reviewer = who.selectbox("Who", [_EVERYBODY, *names], key="history-who")
    chosen = what.multiselect("What", list(ReviewAction), format_func=views.action_words, placeholder="everything")
    days = when.selectbox("Since", [1, 7, 30, 0], index=1, format_func=_since)
    clip_id = clip.number_input("Clip id", min_value=1, step=1, placeholder="every clip", key="history-clip")
    address = {"who": "" if reviewer == _EVERYBODY else reviewer, "clip": str(clip_id or "")}
    st.query_params.from_dict({name: value for name, value in address.items() if value})
    filters = (reviewer, tuple(chosen), days, clip_id)
    if st.session_state.get("history-filters") != filters:
        st.session_state["history-filters"] = filters
        st.session_state.pop("history-before", None)
    entries = desk.reviews.history(
        reviewer=None if reviewer == _EVERYBODY else reviewer,
        clip_id=int(clip_id) if clip_id else None,
        actions=[ReviewAction(action) for action in chosen],
        since=datetime.now(UTC) - timedelta(days=days) if days else None,
        before_id=st.session_state.get("history-before"),
        limit=_PAGE,
    )
    buttons = st.container(horizontal=True, vertical_alignment="center")
    picked = _table(entries) if entries else None
    if not entries:
        st.info("Nothing here. Decisions appear as soon as they are made.")
    with buttons:
        _buttons(desk, session, picked)
    _paging(entries)


def _since(days: int) -> str:
    return {0: "the beginning", 1: "yesterday"}.get(days, f"{days} days ago")


def _table(entries: list[HistoryEntry]) -> HistoryEntry | None:
    """Show the entries; returns the one that is marked."""
    picked = st.dataframe(
        views.history_rows(entries),
        hide_index=True,
        width="stretch",
        height=min(len(entries) * 35 + 38, 620),
        on_select="rerun",
        selection_mode="single-row",
        key=f"history-{entries[0].id}",  # a mark stays with its action: newer entries make another table
        column_config={
            "action": st.column_config.NumberColumn(width="small"),
            "when": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone=st.context.timezone),
            "before": st.column_config.TextColumn(width="large"),
            "after": st.column_config.TextColumn(width="large"),
        },
    )
    rows = picked["selection"]["rows"]
    return entries[rows[0]] if rows and rows[0] < len(entries) else None


def _buttons(desk: ReviewDesk, session: Session, picked: HistoryEntry | None) -> None:
    outcome = None
    if st.button("Undo my latest", icon=":material/undo:"):
        outcome = actions.undo(desk, session)
    if st.button("Redo", icon=":material/redo:"):
        outcome = actions.redo(desk, session)
    if picked is not None:
        own = picked.reviewer == session.reviewer
        why_not = "Only its author can take it back" if not own else "It is taken back already" if picked.undone else None
        if st.button(f"Undo action {picked.id}", disabled=why_not is not None, icon=":material/undo:", help=why_not, type="primary"):
            outcome = actions.undo(desk, session, picked.id)
        if picked.clip_ids:
            query = {"clip": str(picked.clip_ids[0])}
            st.page_link(
                shell.page("review"), label=f"Clip {picked.clip_ids[0]} in Review", icon=":material/rate_review:", query_params=query
            )
    elif outcome is None:
        st.caption("Mark a row to take that action back, or to look at its clip.")
    if outcome is not None:
        st.toast(views.plain(outcome.told), icon=":material/check:" if outcome.ok else ":material/error:", duration="long")
        st.rerun()


def _paging(entries: list[HistoryEntry]) -> None:
    with st.container(horizontal=True):
        if "history-before" in st.session_state and st.button("Newest", icon=":material/first_page:"):
            del st.session_state["history-before"]
            st.rerun()
        if len(entries) == _PAGE and st.button("Older", icon=":material/chevron_right:", icon_position="right"):
            st.session_state["history-before"] = entries[-1].id
            st.rerun()
