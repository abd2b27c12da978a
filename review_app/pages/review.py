"""The review page: filters in the address, and the player that does the rest."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from heaters_dagster.domain.review_queue import query_of_filter
from review_app.desk import ReviewDesk
from review_app.filters import filter_bar
from review_app.links import Session
from review_app.player.component import PlayerConfig, review_player


def show(desk: ReviewDesk, session: Session) -> None:
    with st.expander("Filters and order", icon=":material/tune:", expanded=False):
        chosen = filter_bar(desk)
    if chosen is None:
        return
    query = urlencode(query_of_filter(chosen))
    wanted = st.query_params.get("clip", "")
    review_player(
        PlayerConfig(
            queue_url=_with(query, "/api/queue"),
            decisions_url=_with(query, "/api/decisions"),
            sync_url=_with(query, "/api/sync"),
            video_url="/api/video",
            token=desk.links.session_token(session),
            reviewer_id=session.reviewer_id,
            reviewer_name=session.reviewer,
            webcodecs_enabled=desk.settings.webcodecs_enabled,
            open_clip_id=int(wanted) if wanted.isdigit() and len(wanted) < 19 else None,
        )
    )


def _with(query: str, path: str) -> str:
    return f"{path}?{query}" if query else path
