"""The frame of every page: the bar with links to the pages, and the message when Postgres is away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from heaters_dagster.domain.errors import HeatersError
from review_app.server.identity import forget_name, sign_in_is_configured
from review_app.server.pages import PAGES
from review_app.service import views
from review_app.service.links import Session
from review_app.service.outcome import Outcome
from review_app.service.review_desk import ReviewDesk

STATIC = Path(__file__).parent.parent / "static"
_SCRIPTS = [(STATIC / name).read_text() for name in ("connection.js", "filters.js")]
#: Height of the bar and of the space around the page, in pixels: what is not the player's on the review page.
FRAME_PIXELS = 40 + 8 + 4
_AGAIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page is shown with. tools: the place in the bar for buttons of its own."""

    desk: ReviewDesk
    session: Session
    tools: DeltaGenerator


def begin() -> None:
    """The page's title, icon, style, its keys for filters, and what it says while the server is away."""
    st.set_page_config(page_title="Heaters", page_icon=str(STATIC / "icon.png"), layout="wide", initial_sidebar_state="collapsed")
    st.html(STATIC / "page.css")
    for script in _SCRIPTS:
        st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def title(of_page: str) -> None:
    """Name the browser's tab after the page."""
    st.set_page_config(page_title=f"{of_page} · Heaters")


def toast(outcome: Outcome) -> None:
    """Show the result of an action for a while. Not from a callback of a fragment: see `tell_next`."""
    told = views.plain(outcome.told or outcome.refused)
    st.toast(told, icon=":material/check:" if outcome.ok else ":material/error:", duration="long")


def tell_next(outcome: Outcome) -> None:
    """Keep the result of a callback for `tell`: what a callback of a fragment shows itself takes the place of the page's style."""
    st.session_state["to-tell"] = outcome


def tell() -> None:
    """Show what `tell_next` has kept."""
    outcome: Outcome | None = st.session_state.pop("to-tell", None)
    if outcome is not None:
        toast(outcome)


def bar(
    desk: ReviewDesk, session: Session, pages: Mapping[str, st.Page], carried: Mapping[str, Mapping[str, str]], *, current: str
) -> DeltaGenerator:
    """Show the bar; returns the place in it for the page's own tools. carried: name of a page -> query parameters its link takes along.

    current: the page that is shown. One for operators stands in the bar, marked, while it is shown.
    """
    st.session_state["pages"] = dict(pages)
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        for name, page in pages.items():
            if name == current or not PAGES[name].for_operators:
                st.page_link(page, query_params=dict(carried.get(name, {})))
        st.space("stretch")
        tools: DeltaGenerator = st.container(key="tools", horizontal=True, width="content", vertical_alignment="center")
        with st.popover(
            views.plain(session.reviewer), icon=":material/person:", type="tertiary", help="You, and what operators need", key="who"
        ):
            if sign_in_is_configured():
                st.button(
                    "Sign out", help="End your session in this browser", on_click=st.logout, icon=":material/logout:", width="stretch"
                )
            else:
                st.button(
                    "Change the name",
                    help="Let another person choose a name here",
                    on_click=forget_name,
                    icon=":material/switch_account:",
                    width="stretch",
                )
            for name in pages:
                if PAGES[name].for_operators:
                    st.page_link(pages[name])
            st.link_button(
                "Dagster UI",
                desk.addresses.dagster_url,
                help="Assets, runs and logs, for operators",
                icon=":material/account_tree:",
                width="stretch",
            )
    return tools


def page(name: str) -> st.Page:
    """A page of the navigation, for links to it."""
    found: st.Page = st.session_state["pages"][name]
    return found


def say_unavailable(error: HeatersError) -> None:
    """Say what cannot be reached, and run the page again until it can."""
    st.error(f"{views.plain(str(error))}\n\nThe page tries again by itself.", icon=":material/cloud_off:")
    st.session_state["trying_again"] = False
    st.fragment(_again, run_every=_AGAIN_SECONDS)()


def _again() -> None:
    if st.session_state["trying_again"]:
        st.rerun()
    st.session_state["trying_again"] = True
