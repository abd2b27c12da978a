"""The subscriptions, on the page of source videos: lists that are looked at again, and what was wrong with the last look."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.spans import span_words
from heaters_dagster.domain.words import counted
from resources.postgres.subscription_store import Subscription
from review_app.screens import shell
from review_app.service import submissions, views
from review_app.service.review_desk import ReviewDesk


def subscriptions_box(desk: ReviewDesk) -> None:
    """Nothing is shown while there are none."""
    try:
        found = desk.subscriptions.load_all()
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if not found:
        return
    wrong = sum(1 for one in found if one.error)
    words = counted(len(found), "subscription") + (f", {wrong:,} with a problem" if wrong else "")
    # With a state of its own: else it closes when its words change, or when what stands above it comes or goes.
    with st.expander(words, icon=":material/rss_feed:", key="subscriptions", on_change="rerun"):
        for one in found:
            _one(desk, one)


def _one(desk: ReviewDesk, one: Subscription) -> None:
    with st.container(border=True, key=f"subscription-{one.id}"):
        text, buttons = st.columns([5, 1.5], vertical_alignment="top")
        with text:
            st.markdown(f"**{views.plain(one.title)}**")
            facts = [
                f"every {span_words(one.every_seconds)}",
                one.limits.words or "all videos",
                f"{one.taken_count:,} taken",
                one.told or "",
            ]
            st.caption(views.plain(" · ".join(fact for fact in facts if fact)))
            looked = "not looked at yet" if one.looked_at is None else f"last look {_moment(one.looked_at)}"
            st.caption(views.plain(f"{without_access(one.address)} · {looked} · next {_moment(one.next_look_at)}"))
            if one.error:
                st.warning(views.plain(one.error), icon=":material/error:")
        with buttons:
            st.button(
                "Look now",
                help="Look for new videos before its time",
                icon=":material/refresh:",
                key=f"look-{one.id}",
                on_click=lambda: shell.toast(submissions.look_soon(desk, one.id)),
            )
            st.button(
                "Unsubscribe",
                help="Do not look at this list again; its source videos stay",
                icon=":material/close:",
                key=f"unsubscribe-{one.id}",
                on_click=lambda: shell.toast(submissions.unsubscribe(desk, one.id)),
            )


def _moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
