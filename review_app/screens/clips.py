"""Clips as a grid: filters in the address, hover preview, decisions on a selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from heaters_dagster.domain.errors import BadRequestError, HeatersError
from heaters_dagster.domain.review_queue import QueueFilter, query_of_filter
from heaters_dagster.domain.stages import EMBEDDINGS, states_from
from heaters_dagster.domain.timecode import ClockOfVideo
from resources.postgres.clip_store import Clip
from resources.postgres.review_queue_store import QueueClip
from resources.postgres.source_clocks import clocks_of
from review_app.grid import Card, clip_grid
from review_app.screens import shell
from review_app.screens.filters import EVERY_STATE, address_of_filter, filter_bar, filter_of_address, say_bad_address
from review_app.service import views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_PAGE = 60
_REFRESH_SECONDS = 4


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    try:
        asked = filter_of_address(EVERY_STATE)
    except BadRequestError as error:
        say_bad_address(error)
        return
    filter_bar(desk, asked, page="clips", default_states=EVERY_STATE, in_a_row=True, choose_states=True)
    st.fragment(_clips, run_every=_REFRESH_SECONDS)(desk, session, asked)


def _clips(desk: ReviewDesk, session: Session, asked: QueueFilter) -> None:
    behind: list[QueueClip] = st.session_state.setdefault("grid_behind", [])
    if st.session_state.get("grid_address") != address_of_filter(asked, EVERY_STATE):
        st.session_state["grid_address"] = address_of_filter(asked, EVERY_STATE)
        behind.clear()
    try:
        page = desk.queue_store.page(asked, after=behind[-1].position if behind else None, limit=_PAGE)
        progress = desk.queue_store.progress(asked, reviewer=session.reviewer)
        beside = desk.clips.words_beside([item.clip for item in page])
        clocks = clocks_of({item.clip.source_video_id for item in page}, database=desk.database)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if page:
        st.caption(views.plain(f"{views.clip_counts(progress.by_state)}. A click on a picture opens the clip in Review."))
    queue = query_of_filter(replace(asked, states=QueueFilter().states))
    # Without clips too: what the last decision came to, and its Undo, stay.
    clip_grid(
        [
            card(
                desk,
                item.clip,
                title=item.source_video_title,
                held_by=_other(item, session),
                clock=clocks.get(item.clip.source_video_id),
                queue=queue,
                beside=beside.get(item.clip.id, ""),
            )
            for item in page
        ],
        key="clips",
        place=len(behind),
        token=desk.links.session_token(session),
        reviewer_id=session.reviewer_id,
        matching=sum(progress.by_state.get(state, 0) for state in set(asked.states)),
        query=urlencode(query_of_filter(asked)),
    )
    if not page and behind:
        st.info("No clip on this page matches these filters any more.")
    elif not page:
        _say_empty(desk, asked)
    _paging(behind, page)


def _say_empty(desk: ReviewDesk, asked: QueueFilter) -> None:
    empty = desk.why_empty(asked, page="clips")
    st.info(views.plain(f"{empty.title}. {empty.text}"))
    with st.container(horizontal=True):
        for way in empty.ways:
            st.page_link(shell.page(way.page), label=way.label, icon=":material/arrow_forward:", query_params=dict(way.query))


def card(
    desk: ReviewDesk,
    clip: Clip,
    *,
    title: str,
    held_by: str | None = None,
    note: str | None = None,
    clock: ClockOfVideo | None = None,
    group: str = "",
    queue: Mapping[str, str] | None = None,
    beside: str = "",
) -> Card:
    """A clip as the grid shows it.

    note: beside the title, by default its timecode, length and confidence. clock: of its source video; None: it has no timecode. queue:
    filters review goes on with. beside: what stages beside the others say of it.
    """
    preview_end = min(clip.end_frame, clip.start_frame + views.PREVIEW_FRAMES)
    return Card(
        id=clip.id,
        version=clip.cut_point_version,
        title=title,
        number=f"clip {clip.sequence}",
        note=views.clip_note(clip, clock) if note is None else note,
        state=clip.state.value,
        state_words=views.clip_words(clip.state, beside),
        still_url=desk.addresses.media_url("still", clip.source_video_id, frame=(clip.start_frame + clip.end_frame) // 2, width=480),
        preview_url=desk.addresses.media_url("segment", clip.source_video_id, start=clip.start_frame, end=preview_end),
        open_url="/?" + urlencode({**(queue or {}), "clip": clip.id}),
        like_url=f"/search?like={clip.id}" if clip.state in states_from(EMBEDDINGS) else None,
        held_by=held_by,
        group=group,
    )


def _other(item: QueueClip, session: Session) -> str | None:
    return None if item.leased_by == session.reviewer else item.leased_by


def _paging(behind: list[QueueClip], page: list[QueueClip]) -> None:
    with st.container(horizontal=True):
        if behind:
            st.button("Back", help="The clips before these", icon=":material/chevron_left:", on_click=behind.pop)
        if len(page) == _PAGE:
            st.button(
                "More",
                help="The clips after these",
                icon=":material/chevron_right:",
                icon_position="right",
                on_click=behind.append,
                args=(page[-1],),
            )
