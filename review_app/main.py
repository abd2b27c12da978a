"""The page that Streamlit runs: who is there, the navigation, then the chosen page."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from review_app.identity import current_session, forget_name, sign_in_is_configured
from review_app.launch import open_desk
from review_app.pages import grid, history, review, search, source_videos

st.set_page_config(page_title="Heaters", page_icon=":material/content_cut:", layout="wide", initial_sidebar_state="collapsed")

try:
    desk = open_desk()
    session = current_session(desk)
except HeatersError as error:
    st.error(f"{error}\n\nThe page tries again by itself; undelivered decisions are kept.")
    st.fragment(lambda: None, run_every=5)()
    st.stop()

PAGES = {
    "review": (review.show, "Review", ":material/rate_review:"),
    "clips": (grid.show, "Clips", ":material/grid_view:"),
    "videos": (source_videos.show, "Source videos", ":material/movie:"),
    "history": (history.show, "History", ":material/history:"),
    "search": (search.show, "Search", ":material/search:"),
}
pages = [
    st.Page((lambda show=show: show(desk, session)), title=title, icon=icon, url_path=path, default=path == "review")
    for path, (show, title, icon) in PAGES.items()
]
st.session_state["review_page"] = pages[0]
chosen = st.navigation(pages, position="top")
with st.sidebar:
    st.caption(f"Reviewing as **{session.reviewer}**".replace("<", "&lt;"))
    if sign_in_is_configured():
        st.button("Sign out", on_click=st.logout)
    else:
        st.button("Somebody else", on_click=forget_name)
    st.link_button("Dagster UI", f"http://127.0.0.1:{desk.settings.dagster_port}", icon=":material/account_tree:")
chosen.run()
