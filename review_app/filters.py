"""The filters of queue and grid: read from the page's address and written back to it, so that a view can be shared and Back works."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.review_queue import QueueFilter, QueueOrder, filter_of_query, query_of_filter
from heaters_dagster.domain.states import ClipState
from review_app import views
from review_app.desk import ReviewDesk

_ORDERS = {
    QueueOrder.SOURCE_VIDEO: "video by video",
    QueueOrder.CONFIDENCE: "least certain cuts first",
    QueueOrder.CREATED: "oldest first",
}


def filter_bar(desk: ReviewDesk, *, default_states: str = "") -> QueueFilter | None:
    """Show the filters and return what they ask for; None, after saying why, when the address asks for nonsense.

    default_states: `state` when the address names none.
    """
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    if default_states and "state" not in query:
        query["state"] = [default_states]
    try:
        asked = filter_of_query(query)
        videos = {video.id: video.title for video in desk.videos.load_all()}
    except HeatersError as error:
        st.error(views.plain(str(error)))
        st.button("Show everything", on_click=st.query_params.clear)
        return None
    left, middle, right, order_box, text_box = st.columns([2.4, 2.4, 1.8, 1.8, 1.8])
    chosen_videos = left.multiselect(
        "Source videos",
        list(videos),
        default=[video_id for video_id in asked.source_video_ids if video_id in videos],
        format_func=lambda video_id: f"{video_id}. {videos.get(video_id, '')}",
        placeholder="all",
    )
    every = list(ClipState)
    states = middle.multiselect(
        "States",
        every,
        default=[] if len(asked.states) == len(every) else list(asked.states),
        format_func=views.clip_words,
        placeholder="any",
    )
    low, high = right.slider("Confidence", 0.0, 1.0, (asked.min_confidence or 0.0, asked.max_confidence or 1.0), 0.05)
    order = order_box.selectbox("Order", list(_ORDERS), index=list(_ORDERS).index(asked.order), format_func=lambda one: _ORDERS[one])
    text = text_box.text_input("Title or clip id", value=asked.text, max_chars=200)
    chosen = QueueFilter(
        source_video_ids=tuple(sorted(chosen_videos)),
        states=tuple(states) or tuple(ClipState),
        min_confidence=low or None,
        max_confidence=high if high < 1 else None,
        text=" ".join(text.split()),
        order=order,
    )
    written = query_of_filter(chosen)
    if written != query_of_filter(asked) or (default_states and "state" in st.query_params and written.get("state", "") == default_states):
        kept = {name: st.query_params[name] for name in ("clip",) if name in st.query_params}
        st.query_params.from_dict({**written, **kept})
    return chosen
