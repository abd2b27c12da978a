"""The review app as one ASGI program: the Streamlit page and our own routes on one origin.

Serve it with uvicorn (`python -m review_app`), not with `streamlit run`: that makes a socket without TCP_NODELAY, 44 to 48 ms for each
range request against 2 to 4 ms.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from heaters_dagster.settings import load_settings
from resources.object_store.open import open_object_store
from resources.postgres.database import open_database
from resources.upkeep.leftovers import sweep_uploads
from review_app.server.door import Door
from review_app.server.health import health_routes
from review_app.server.metrics import metrics_route
from review_app.server.pace import Pace
from review_app.server.pages import page_routes
from review_app.server.routes import review_routes
from review_app.service.links import open_links
from review_app.service.review_desk import ReviewDesk

#: Kept open once they were needed, and no more: the budget in docs/operate/database.md counts on it. With 5 kept and more opened for each
#: use, 200 people made Postgres start and end a process for every second request.
_CONNECTIONS = 15


@lru_cache(maxsize=1)
def open_desk() -> ReviewDesk:
    """The process's desk, shared by routes and pages; made when first asked for, so that the page can say when Postgres is down."""
    settings = load_settings()
    database = open_database(settings, pool_size=_CONNECTIONS, most=_CONNECTIONS)
    desk = ReviewDesk(settings=settings, database=database, objects=open_object_store(settings), links=open_links(settings))
    sweep_uploads(settings, desk.videos)
    return desk


app = st.App(
    str(Path(__file__).parent.parent / "main.py"),
    routes=[
        *review_routes(open_desk),
        metrics_route(load_settings(), lambda: open_desk().database),
        *health_routes(load_settings(), lambda: open_desk().database),
        *page_routes(),
    ],
    middleware=[Middleware(Door, settings=load_settings()), Middleware(Pace)],
)
