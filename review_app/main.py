"""The page that Streamlit runs: the navigation, who is there, then the chosen page."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import BadRequestError, HeatersError
from heaters_dagster.domain.review_queue import QueueFilter, query_of_filter
from review_app.screens import clips, history, partitions, review, search, shell, sites, source_videos, status
from review_app.screens.filters import EVERY_STATE, check_address, filter_of_address, say_bad_address
from review_app.server.identity import current_session
from review_app.server.launch import open_desk
from review_app.server.pages import PAGES

_SCREENS = {
    "review": review.show,
    "clips": clips.show,
    "videos": source_videos.show,
    "history": history.show,
    "search": search.show,
    "status": status.show,
    "sites": sites.show,
    "partitions": partitions.show,
}


def run() -> None:
    shell.begin()
    # The navigation comes first: an address is known to Streamlit, and so kept, also while somebody is asked for a name.
    visits: list[shell.Visit] = []
    pages = {
        name: st.Page((lambda show=_SCREENS[name]: show(visits[0])), title=of.title, icon=of.icon, url_path=name, default=name == "review")
        for name, of in PAGES.items()
    }
    chosen = st.navigation(list(pages.values()), position="hidden")
    try:
        check_address()
        desk = open_desk()
        session = current_session(desk)
        name = next(name for name, page in pages.items() if page.url_path == chosen.url_path)
        shell.title(PAGES[name].title)
        tools = shell.bar(desk, session, pages, _carried(name), current=name)
        visits.append(shell.Visit(desk, session, tools))
        chosen.run()
    except BadRequestError as error:
        say_bad_address(error)
    except HeatersError as error:
        shell.say_unavailable(error)


def _carried(name: str) -> dict[str, dict[str, str]]:
    """The query parameters for links between queue and grid: the filters last used, and for the grid its states."""
    if name in {"review", "clips"}:
        try:
            asked = filter_of_address(EVERY_STATE)
        except BadRequestError:
            asked = QueueFilter(states=EVERY_STATE)
        filters = query_of_filter(asked)
        state = filters.pop("state", QueueFilter().states[0].value)
        st.session_state["filters"] = filters
        if name == "clips":
            st.session_state["states"] = {} if state == "any" else {"state": state}
    kept = st.session_state.get("filters", {})
    return {"review": kept, "clips": {**kept, **st.session_state.get("states", {})}}


run()
