"""Clips as a grid: filters in the address, hover preview, decisions on a selection."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.review_queue import QueueFilter, query_of_filter
from resources.review_queue_store import QueueClip
from review_app import actions, views
from review_app.desk import ReviewDesk
from review_app.filters import filter_bar
from review_app.grid import Card, clip_grid
from review_app.links import Session

_PAGE = 60


def show(desk: ReviewDesk, session: Session) -> None:
    st.title("Clips")
    chosen = filter_bar(desk, default_states="any")
    if chosen is None:
        return
    behind: list[QueueClip] = st.session_state.setdefault("grid_behind", [])
    if st.session_state.get("grid_query") != query_of_filter(chosen):
        st.session_state["grid_query"] = query_of_filter(chosen)
        behind.clear()
    try:
        page = desk.queue_store.page(chosen, after=behind[-1].position if behind else None, limit=_PAGE)
        progress = desk.queue_store.progress(chosen, reviewer=session.reviewer)
    except HeatersError as error:
        st.error(str(error))
        return
    st.caption(views.plain(views.counted(progress.by_state)))
    if not page:
        st.info("No clip matches these filters.")
        return
    buttons = st.columns([1, 1, 1, 1, 4])
    pressed = [
        action
        for place, action, icon in zip(buttons, ("approve", "skip", "archive"), ("check", "skip_next", "archive"), strict=False)
        if place.button(action.capitalize(), icon=f":material/{icon}:", width="stretch", key=f"grid-{action}")
    ]
    if buttons[3].button("Undo", icon=":material/undo:", width="stretch"):
        _say(actions.undo(desk, session))
        page = desk.queue_store.page(chosen, after=behind[-1].position if behind else None, limit=_PAGE)
    selected, opened = clip_grid([_card(desk, item) for item in page], key="clips")
    if pressed:
        _say(actions.decide(desk, session, pressed[0], selected))
        st.session_state["grid_stale"] = True
    if opened:
        st.switch_page(st.session_state["review_page"], query_params={"clip": str(opened), **query_of_filter(chosen)})
    _paging(behind, page, chosen)
    if st.session_state.pop("grid_stale", False):
        st.rerun()


def _card(desk: ReviewDesk, item: QueueClip) -> Card:
    clip = item.clip
    held = f" - {item.leased_by}" if item.leased_by else ""
    return Card(
        id=clip.id,
        title=f"{item.source_video_title} {clip.sequence:03d}{held}",
        note=f"{views.clip_words(clip.state)}  {views.clip_note(clip)}",
        state=clip.state.value,
        still_url=desk.media_url("still", clip.source_video_id, frame=(clip.start_frame + clip.end_frame) // 2, width=320),
        preview_url=desk.media_url("segment", clip.source_video_id, start=clip.start_frame, end=clip.end_frame),
    )


def _paging(behind: list[QueueClip], page: list[QueueClip], chosen: QueueFilter) -> None:
    back, on, _ = st.columns([1, 1, 6])
    if behind and back.button("Back", icon=":material/chevron_left:", width="stretch"):
        behind.pop()
        st.rerun()
    if len(page) == _PAGE and on.button("More", icon=":material/chevron_right:", width="stretch"):
        behind.append(page[-1])
        st.rerun()


def _say(outcome: actions.Outcome) -> None:
    st.toast(views.plain(outcome.told), icon=":material/check:" if outcome.ok else ":material/error:")
