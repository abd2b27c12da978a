"""Who sits at the page: signed in by OIDC where that is configured, else a name chosen once and remembered in a signed cookie."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from resources.reviewer_store import ReviewerStore
from review_app.desk import ReviewDesk
from review_app.links import SESSION_TTL_SECONDS, LinkError, Session

COOKIE = "heaters_reviewer"

_REMEMBER_JS = """
export default function ({ data }) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${data.name}=${data.value}; Max-Age=${data.seconds}; Path=/; SameSite=Strict${secure}`;
}
"""
_remember = st.components.v2.component("heaters_remember", js=_REMEMBER_JS)


def sign_in_is_configured() -> bool:
    """Whether secrets.toml has an [auth] section for st.login."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def current_session(desk: ReviewDesk) -> Session:
    """The reviewer's session. Shows the way in and stops the page when there is nobody yet."""
    if sign_in_is_configured():
        return _signed_in(desk)
    session = _remembered(desk) or _named(desk)
    _remember(data={"name": COOKIE, "value": desk.links.session_token(session), "seconds": SESSION_TTL_SECONDS}, key="remember")
    return session


def forget_name() -> None:
    """Let somebody else sit down."""
    st.session_state["reviewer"] = None
    st.session_state["forgotten"] = True


def _signed_in(desk: ReviewDesk) -> Session:
    if not st.user.is_logged_in:
        st.title("Heaters")
        st.write("Sign in to review clips. Your decisions are kept under your name.")
        st.button("Sign in", on_click=st.login, type="primary")
        st.stop()
    name = str(st.user.get("name") or st.user.get("email") or st.user["sub"])
    reviewer = ReviewerStore(desk.database).signed_in(oidc_subject=str(st.user["sub"]), name=name)
    return Session(reviewer.id, reviewer.name)


def _remembered(desk: ReviewDesk) -> Session | None:
    held = st.session_state.get("reviewer")
    if isinstance(held, Session):
        return held
    token = st.context.cookies.get(COOKIE)
    if token and not st.session_state.get("forgotten"):
        try:
            st.session_state["reviewer"] = desk.links.session(token)
        except LinkError:
            return None
        return _remembered(desk)
    return None


def _named(desk: ReviewDesk) -> NoReturn:
    """Ask for the name and end this run of the page; the next one has it."""
    st.title("Heaters")
    st.write("Who reviews? Decisions are kept under this name, and only you can take yours back.")
    with st.form("name", width=420):
        name = st.text_input("Your name", max_chars=60, placeholder="Ada")
        if st.form_submit_button("Start", type="primary") and name.strip():
            try:
                reviewer = ReviewerStore(desk.database).named(name)
            except HeatersError as error:
                st.error(str(error))
            else:
                st.session_state["reviewer"] = Session(reviewer.id, reviewer.name)
                st.rerun()
    st.stop()
    raise AssertionError("st.stop returned")
