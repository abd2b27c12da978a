"""Web sites, for operators: which have a sign-in, headers or a proxy, and a form to store them. What is stored is never shown again."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.site_access import PART_WORDS, SitePart
from resources.sources.site_access import ListedSite, SiteAccess
from review_app.screens import shell
from review_app.service import actions, views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_KINDS = {
    "Sign-in": SitePart.COOKIES,
    "Headers": SitePart.HEADERS,
    "Proxy": SitePart.PROXY,
}
_ASKED = {
    SitePart.COOKIES: "The site's cookies file in Netscape format (cookies.txt), copied whole",
    SitePart.HEADERS: "Headers, as NAME: VALUE, one a line",
    SitePart.PROXY: "Address of the proxy, as `http://user:password@host:3128`",
}


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    if not desk.settings.may_store_sites:
        st.info(actions.NO_SITES_FROM_BROWSER)
        return
    st.caption(
        "What lets Heaters into web sites. It is stored encrypted and never shown again. Everybody who may submit addresses gets what "
        "these accounts may see."
    )
    try:
        listed = SiteAccess(desk.database, desk.settings).listed()
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if not listed:
        st.info("Nothing is stored for any site.")
    for one in listed:
        _one(desk, one)
    _form(desk, session)


def _one(desk: ReviewDesk, one: ListedSite) -> None:
    with st.container(border=True, key=f"site-{one.site}", horizontal=True, vertical_alignment="center"):
        with st.container():
            st.markdown(f"**{views.plain(one.site)}**")
            ends = f", the last ends on {one.ends_at:%Y-%m-%d}" if one.ends_at else ""
            facts = [
                f"{PART_WORDS[part]}: {told}{ends if part is SitePart.COOKIES else ''}" if part is not SitePart.PROXY else PART_WORDS[part]
                for part, told in one.parts.items()
            ]
            st.caption(views.plain(" · ".join([*facts, f"stored by {one.changed_by} on {one.changed_at:%Y-%m-%d}"])))
            if one.problem:
                st.warning(views.plain(one.problem), icon=":material/warning:")
        if st.button("Forget", help=f"Delete what is stored for {one.site}", key=f"forget-{one.site}", icon=":material/delete:"):
            shell.toast(actions.forget_site(desk, one.site))
            st.rerun()


def _form(desk: ReviewDesk, session: Session) -> None:
    def store() -> None:
        part = _KINDS[st.session_state["site-kind"]]
        outcome = actions.store_for_site(desk, session, st.session_state["site-name"], part, st.session_state["site-secret"])
        # Also after a refusal: a secret stays in no field.
        st.session_state["site-secret"] = ""
        st.session_state["site-outcome"] = outcome
        if outcome.ok:
            st.session_state["site-name"] = ""

    st.text_input("Site", placeholder="vimeo.com", key="site-name", width=420, max_chars=300)
    kind = st.radio("What", list(_KINDS), horizontal=True, key="site-kind")
    st.text_area(_ASKED[_KINDS[kind]], height=120, key="site-secret")
    st.button("Store", type="primary", help="Store it encrypted, in place of what was stored for this site", on_click=store)
    outcome = st.session_state.pop("site-outcome", None)
    if outcome is not None:
        (st.success if outcome.ok else st.error)(views.plain(outcome.told))
