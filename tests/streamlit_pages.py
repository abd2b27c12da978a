"""The pages of the review app, run as Streamlit runs them but without a browser."""

from __future__ import annotations

from functools import cache

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from resources.postgres.reviewer_store import ReviewerStore
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

# For each app Streamlit reads what all installed packages say of themselves, which takes ten times as long as a page.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


def page(name: str, desk: ReviewDesk, **address: str) -> AppTest:
    """The page of that name at an address, as Ada sees it."""
    ada = ReviewerStore(desk.database).named("Ada")
    app = AppTest.from_function(_script, args=(name, desk, Session(ada.id, ada.name)), default_timeout=60)
    for parameter, value in address.items():
        app.query_params[parameter] = value
    return app.run()


def _script(name, desk, session):  # type: ignore[no-untyped-def]
    import streamlit as st

    from review_app.screens import clips, history, partitions, review, search, shell, sites, source_videos, status

    screens = {
        "review": review, "clips": clips, "videos": source_videos, "history": history, "search": search, "partitions": partitions,
        "sites": sites, "status": status,
    }  # fmt: skip
    pages = {one: st.Page((lambda: None), title=one, url_path=one, default=one == name) for one in screens}
    st.navigation(list(pages.values()), position="hidden")
    st.session_state["pages"] = pages
    screens[name].show(shell.Visit(desk, session, st.container()))


def button(app: AppTest, label: str) -> None:
    next(one for one in app.button if one.label == label).click()
    app.run()
    assert not app.exception


def labels(app: AppTest) -> list[str]:
    return [one.label for one in app.button]


def told(app: AppTest) -> str:
    return " ".join(one.value for one in (*app.info, *app.warning, *app.error, *app.caption, *app.toast))
