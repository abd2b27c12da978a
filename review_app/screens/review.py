"""The review page: filters in the address, and the player that does the rest."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.review_queue import QueueFilter, query_of_filter
from review_app.player.component import PlayerConfig, review_player
from review_app.screens import shell
from review_app.screens.filters import (
    EVERY_STATE,
    address_of_filter,
    filter_bar,
    filter_of_address,
    filters_in_words,
    id_of_parameter,
    say_bad_address,
)
from review_app.service import views

_WAITING = QueueFilter().states


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    try:
        wanted = filter_of_address(_WAITING)
    except BadRequestError as error:
        say_bad_address(error)
        return
    asked = replace(wanted, states=_WAITING)
    if set(wanted.states) != set(_WAITING):
        with visit.tools:
            _say_waiting_only(wanted)
    with (
        visit.tools,
        st.popover(
            filters_in_words(asked),
            icon=":material/tune:",
            type="tertiary",
            help="Which clips are shown, and in which order (/)",
            key="filters",
        ),
    ):
        filter_bar(desk, asked, page="review", default_states=_WAITING, in_a_row=False, choose_states=False)
    query = urlencode(query_of_filter(asked))
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
            open_clip_id=id_of_parameter(st.query_params.get("clip", "")),
            host_height_pixels=shell.FRAME_PIXELS,
        )
    )


def _say_waiting_only(wanted: QueueFilter) -> None:
    """The address asks for other states than the queue has: say so, and lead to the page that shows them."""
    states = "all" if set(wanted.states) == set(EVERY_STATE) else ", ".join(map(views.clip_words, wanted.states))
    st.page_link(
        shell.page("clips"),
        label=views.plain(f"Review shows waiting clips only: {states} in Clips"),
        icon=":material/info:",
        query_params=address_of_filter(wanted, EVERY_STATE),
    )


def _with(query: str, path: str) -> str:
    return f"{path}?{query}" if query else path
