"""History: who did what, when; with Undo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.words import action_words, counted
from resources.postgres.reviewer_store import ReviewerStore
from review_app.ledger import ledger
from review_app.screens import shell
from review_app.screens.filters import clip_field, clip_text, keep_parameters, parameters_to_show
from review_app.service import actions, views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_PAGE = 100
_REFRESH_SECONDS = 5
_EVERYBODY = "everybody"


def show(visit: shell.Visit) -> None:
    asked = _asked(visit.desk)
    st.fragment(_actions, run_every=_REFRESH_SECONDS)(visit.desk, visit.session, *asked)


def _asked(desk: ReviewDesk) -> tuple[str | None, tuple[ReviewAction, ...], int, int | None]:
    """(name, actions, days, clip id): the first and the last are kept in the address."""
    names = [reviewer.name for reviewer in ReviewerStore(desk.database).load_all()]
    address = parameters_to_show("history", ("who", "clip"), widget="history-who")
    if address is not None:
        st.session_state["history-who"] = address["who"] if address["who"] in names else _EVERYBODY
        st.session_state["history-clip"] = clip_text(desk, address["clip"])
    who, what, when, which = st.columns([2, 3, 1.5, 1.5])
    reviewer = who.selectbox("Who", [_EVERYBODY, *names], key="history-who")
    chosen = what.multiselect("What", list(ReviewAction), format_func=action_words, placeholder="everything", key="history-what")
    days = when.selectbox("Since", [1, 7, 30, 0], index=1, format_func=_since, key="history-since")
    clip_id, problem = clip_field(desk, which, "Clip", key="history-clip")
    if problem:
        st.warning(views.plain(problem), icon=":material/search_off:")
    keep_parameters("history", {"who": "" if reviewer == _EVERYBODY else reviewer, "clip": str(clip_id or "")})
    asked = (None if reviewer == _EVERYBODY else reviewer, tuple(chosen), days, clip_id)
    if st.session_state.get("history-asked") != asked:
        st.session_state["history-asked"] = asked
        st.session_state.pop("history-before", None)
    return asked


def _since(days: int) -> str:
    return {0: "the beginning", 1: "yesterday"}.get(days, f"{counted(days, 'day')} ago")


def _actions(
    desk: ReviewDesk, session: Session, reviewer: str | None, chosen: tuple[ReviewAction, ...], days: int, clip_id: int | None
) -> None:
    try:
        entries = desk.reviews.history(
            reviewer=reviewer,
            clip_id=clip_id,
            actions=chosen,
            since=datetime.now(UTC) - timedelta(days=days) if days else None,
            before_id=st.session_state.get("history-before"),
            limit=_PAGE,
            most_snapshots=views.MOST_SNAPSHOTS,
        )
        own = desk.reviews.history(reviewer=session.reviewer, limit=1, most_snapshots=views.MOST_SNAPSHOTS)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    seen = own[0].id if own else 0
    outcome = None
    with st.container(horizontal=True, vertical_alignment="center"):
        # Each state of the ledger has a button of its own: the second click of a double click meets a button that is gone.
        newest = "Take back your newest decision, or change of facts, that still stands"
        if st.button("Undo my latest", help=newest, icon=":material/undo:", key=f"undo-after-{seen}"):
            outcome = actions.undo(desk, session, seen=seen)
        if st.button("Redo", help="Do again what you took back last", icon=":material/redo:", key=f"redo-after-{seen}"):
            outcome = actions.redo(desk, session, seen=seen)
        _paging(entries[-1].id if len(entries) == _PAGE else None)
    if entries:
        to_undo = ledger(views.history_rows(entries, reader=session.reviewer), key="ledger")
        if to_undo is not None:
            outcome = actions.undo(desk, session, to_undo, seen=seen)
    else:
        _say_empty(desk)
    if outcome is not None:
        shell.toast(outcome)
        st.rerun()


def _say_empty(desk: ReviewDesk) -> None:
    if desk.reviews.history(limit=1, most_snapshots=views.MOST_SNAPSHOTS):
        st.info("No decision matches these filters.")
        if st.button("Clear filters", help="Show all decisions", icon=":material/filter_alt_off:", on_click=_clear):
            st.rerun()
        return
    st.info("No decisions yet. They appear here as soon as they are made.")
    st.page_link(shell.page("review"), label="Review clips", icon=":material/arrow_forward:")


def _clear() -> None:
    st.session_state.update({"history-who": _EVERYBODY, "history-what": [], "history-since": 0, "history-clip": ""})


def _paging(last_id: int | None) -> None:
    if "history-before" in st.session_state and st.button("Newest", help="Back to the newest decisions", icon=":material/first_page:"):
        del st.session_state["history-before"]
        st.rerun()
    if last_id is not None and st.button(
        "Older", help="The decisions before these", icon=":material/chevron_right:", icon_position="right"
    ):
        st.session_state["history-before"] = last_id
        st.rerun()
