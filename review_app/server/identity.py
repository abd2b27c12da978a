"""Who uses the page: signed in by OIDC where that is configured, else a name chosen once and remembered in a signed cookie."""

from __future__ import annotations

import time
from typing import NoReturn

import streamlit as st

from heaters_dagster.domain.errors import HeatersError, NotFoundError
from resources.postgres.reviewer_store import ReviewerStore
from review_app.service import views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

# The cookie is set and cleared by the server (routes.py), so that no script of the page can read it. Streamlit draws an element that is on
# its way out once more: without `since`, the name that was forgotten before would be forgotten after the new one was chosen.
_COOKIE_JS = """
export default function ({ data }) {
  const before = window.heatersSessionSince ?? 0;
  if (data.since <= before) return;
  window.heatersSessionSince = data.since;
  const request = data.token ? { method: "POST", headers: { "X-Heaters-Token": data.token } } : { method: "DELETE" };
  fetch("/api/session", { ...request, credentials: "same-origin" }).catch(() => {
    if (window.heatersSessionSince === data.since) window.heatersSessionSince = before;
  });
}
"""
_cookie = st.components.v2.component("heaters_session", js=_COOKIE_JS)


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
    session = _remembered(desk)
    if session is None:
        _ask(desk)
    with st.container(key="session"):
        _cookie(data={"since": st.session_state["since"], "token": desk.links.session_token(session)}, key="remember")
    return session


def forget_name() -> None:
    """Forget the chosen name, so that another person can choose one."""
    _seat(None)


def _seat(session: Session | None) -> None:
    """Who sits there, and since when."""
    st.session_state["reviewer"], st.session_state["since"] = session, time.time()


def _signed_in(desk: ReviewDesk) -> Session:
    if not st.user.is_logged_in:
        with st.container(key="door"):
            st.header("Heaters")
            st.write("Sign in to review clips. Decisions are stored under your name, and only you can undo them.")
            st.button("Sign in", help="To the page where you sign in, and back", on_click=st.login, type="primary")
        st.stop()
    held = st.session_state.get("reviewer")
    if isinstance(held, Session):
        return held
    name = str(st.user.get("name") or st.user.get("email") or st.user["sub"])[:60]
    subject = f"{st.user.get('iss', '')}|{st.user['sub']}"  # a subject is unique at its issuer only
    reviewer = ReviewerStore(desk.database).signed_in(oidc_subject=subject, name=name)
    st.session_state["reviewer"] = Session(reviewer.id, reviewer.name)
    return Session(reviewer.id, reviewer.name)


def _remembered(desk: ReviewDesk) -> Session | None:
    if "reviewer" not in st.session_state:
        _seat(_of_cookie(desk))
    held = st.session_state["reviewer"]
    return held if isinstance(held, Session) else None


def _of_cookie(desk: ReviewDesk) -> Session | None:
    found = desk.links.remembered_by(st.context.cookies)
    if found is None:
        return None
    session = found[1]
    try:
        reviewer = ReviewerStore(desk.database).load(session.reviewer_id)
    except NotFoundError:
        return None
    # Another database, or a name that by now belongs to somebody who signs in.
    if reviewer.name != session.reviewer or reviewer.oidc_subject is not None:
        return None
    return session


def _ask(desk: ReviewDesk) -> NoReturn:
    """Ask for the name and end this run of the page; the next one has it."""
    with st.container(key="door"):
        st.header("Heaters")
        st.write("Who reviews? Decisions are stored under this name, and only you can undo them.")
        with st.form("name", border=False):
            name = st.text_input("Your name", max_chars=60, placeholder="Ada", autocomplete="name")
            if st.form_submit_button("Start", type="primary", help="Continue with this name; it is shown with your decisions"):
                _sit_down(desk, name)
    if "reviewer" in st.session_state and desk.links.remembered_by(st.context.cookies):
        with st.container(key="session"):
            _cookie(data={"since": st.session_state["since"], "token": None}, key="forget")
    st.stop()
    raise AssertionError("st.stop returned")


def _sit_down(desk: ReviewDesk, name: str) -> None:
    if not name.strip():
        st.error("Write a name by which colleagues know you.")
        return
    try:
        reviewer = ReviewerStore(desk.database).named(name)
    except HeatersError as error:
        st.error(views.plain(str(error)))
        return
    _seat(Session(reviewer.id, reviewer.name))
    st.rerun()
