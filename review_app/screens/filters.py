"""The filters of queue and grid: read from the page's address and written back to it, so that a view can be shared and Back works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from heaters_dagster.domain.plain_text import checked_text
from heaters_dagster.domain.review_queue import MAX_TEXT, NO_KIND, QueueFilter, QueueOrder, filter_of_query, query_of_filter
from heaters_dagster.domain.states import ClipState
from review_app.service import views
from review_app.service.review_desk import ReviewDesk

_ORDERS = {
    QueueOrder.SOURCE_VIDEO: "video by video",
    QueueOrder.CONFIDENCE: "least confident cuts first",
    QueueOrder.CREATED: "oldest first",
    QueueOrder.KIND: "by kind of cut",
}
EVERY_STATE = tuple(ClipState)
_KINDS = tuple(map(str, (*CutKind, NO_KIND)))
#: Source videos that the menu of the filter offers at once.
_MENU = 100


def check_address() -> None:
    """Raise BadRequestError when a parameter of the page's address is no text; pages and stores need not look again."""
    for name in st.query_params:
        for value in [name, *st.query_params.get_all(name)]:
            checked_text(value, f"{name[:40]} in the address")


def filter_of_address(default_states: Sequence[ClipState]) -> QueueFilter:
    """What the page's address asks for. default_states: when it names none. Raises BadRequestError."""
    chosen = filter_of_query({name: st.query_params.get_all(name) for name in st.query_params})
    return chosen if st.query_params.get("state") else replace(chosen, states=tuple(default_states))


def address_of_filter(chosen: QueueFilter, default_states: Sequence[ClipState]) -> dict[str, str]:
    """The query parameters that `filter_of_address` reads back with the same `default_states`."""
    query = query_of_filter(chosen)
    state = query.pop("state", QueueFilter().states[0].value)
    return query if set(chosen.states) == set(default_states) else {**query, "state": state}


def parameters_to_show(page: str, names: Sequence[str], *, widget: str) -> dict[str, str] | None:
    """The query parameters `names` as the page's widgets must show them: at the first visit and after Back. None: the widgets lead.

    widget: key of one of the widgets; Streamlit forgets their values while another page is shown.
    """
    address = {name: st.query_params.get(name, "") for name in names}
    is_shown = st.session_state.get(f"{page}-address") == address and widget in st.session_state
    return None if is_shown else address


def keep_parameters(page: str, written: Mapping[str, str]) -> None:
    """Write what the page's widgets say to its address; empty values are left out, other parameters stay."""
    st.session_state[f"{page}-address"] = dict(written)
    address = {**st.query_params.to_dict(), **written}
    address = {name: value for name, value in address.items() if value}
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)


def id_of_parameter(text: str) -> int | None:
    """The id that a query parameter names; None when it names none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 and int(text) else None


def clip_field(desk: ReviewDesk, place: DeltaGenerator, label: str, *, key: str, **options: Any) -> tuple[int | None, str | None]:
    """A field for a clip as people call it: (its id, None), (None, None) when it is empty, (None, what is wrong)."""
    text = place.text_input(label, placeholder="14 of Harbour", max_chars=MAX_TEXT, key=key, **options)
    if not text.strip():
        return None, None
    try:
        return desk.names.id_of(text), None
    except (BadRequestError, NotFoundError) as error:
        return None, str(error)


def clip_text(desk: ReviewDesk, parameter: str) -> str:
    """What stands in a `clip_field` for the clip whose id the address has."""
    clip_id = id_of_parameter(parameter)
    return desk.names.name_of(clip_id) if clip_id is not None else ""


def filter_bar(
    desk: ReviewDesk, asked: QueueFilter, *, page: str, default_states: Sequence[ClipState], in_a_row: bool, choose_states: bool
) -> None:
    """Show the filters as `asked`; what is changed goes to the address, and the page runs again with it.

    page: tells the widgets of one page from another's. in_a_row: side by side, else one below the other.
    """
    names = {name: f"{page}-{name}" for name in ("videos", "states", "confidence", "kinds", "order", "text")}
    shown = address_of_filter(asked, default_states)
    if st.session_state.get(f"{page}-address") != shown or names["videos"] not in st.session_state:
        st.session_state[f"{page}-address"] = shown
        st.session_state[names["videos"]] = list(asked.source_video_ids)
        st.session_state[names["states"]] = [] if set(asked.states) == set(EVERY_STATE) else list(asked.states)
        st.session_state[names["confidence"]] = (asked.min_confidence or 0.0, 1.0 if asked.max_confidence is None else asked.max_confidence)
        st.session_state[names["kinds"]] = list(asked.kinds)
        st.session_state[names["order"]] = asked.order
        st.session_state[names["text"]] = asked.text
    chosen = _widgets(desk, asked, names, in_a_row=in_a_row, choose_states=choose_states)
    written = address_of_filter(chosen, default_states)
    if written != shown:
        st.session_state[f"{page}-address"] = written
        st.query_params.from_dict(written)
        st.rerun()


def _widgets(desk: ReviewDesk, asked: QueueFilter, names: dict[str, str], *, in_a_row: bool, choose_states: bool) -> QueueFilter:
    places: list[AbstractContextManager[object]] = [nullcontext()] * 6
    if in_a_row:
        places = list(st.columns([2.2, 2.2, 1.5, 1.8, 1.6, 1.6]) if choose_states else st.columns([3, 2, 2, 2, 2]))
    with places[0]:
        titles = _titles_to_choose(desk, names["videos"])
        videos = st.multiselect(
            "Source videos",
            sorted({*titles, *st.session_state[names["videos"]]}),
            format_func=lambda source_video_id: f"{source_video_id}. {titles.get(source_video_id, '(does not exist)')}",
            placeholder="all",
            key=names["videos"],
        )
    states: Sequence[ClipState] = asked.states
    if choose_states:
        with places[1]:
            states = (
                st.multiselect("States", EVERY_STATE, format_func=views.clip_words, placeholder="any", key=names["states"]) or EVERY_STATE
            )
    with places[-4]:
        low, high = st.slider("Confidence of the cuts", 0.0, 1.0, step=0.05, key=names["confidence"])
    with places[-3]:
        kinds = st.multiselect("Kinds of cuts", _KINDS, format_func=views.kind_words, placeholder="any", key=names["kinds"])
    with places[-2]:
        order = st.selectbox("Order", list(_ORDERS), format_func=lambda one: _ORDERS[one], key=names["order"])
    with places[-1]:
        text = st.text_input("Words of the title, or a clip", max_chars=MAX_TEXT, key=names["text"])
    return QueueFilter(
        source_video_ids=tuple(sorted(videos)),
        states=tuple(states),
        min_confidence=low or None,
        max_confidence=high if high < 1 else None,
        kinds=tuple(kinds),
        text=" ".join(text.split()),
        order=order,
    )


def _titles_to_choose(desk: ReviewDesk, chosen_key: str) -> dict[int, str]:
    """Id -> title of the source videos that the menu offers: all when there are few, else what is found by words, and those chosen."""
    chosen: list[int] = st.session_state[chosen_key]
    titles = desk.lists.titles(limit=_MENU + 1)
    if len(titles) > _MENU:
        words = st.text_input(
            "Find source videos for the menu", placeholder="title, address or id", max_chars=MAX_TEXT, key=f"{chosen_key}-find"
        )
        titles = desk.lists.titles(text=words.strip(), limit=_MENU)
        # When its choices change, Streamlit takes it for another menu: the chosen values must be given to it again.
        st.session_state[chosen_key] = list(chosen)
    return titles | desk.lists.titles_of(set(chosen) - set(titles))


def filters_in_words(chosen: QueueFilter) -> str:
    """`Filters`, with how many are set."""
    default = QueueFilter()
    names = ("source_video_ids", "min_confidence", "max_confidence", "text", "kinds", "order")
    count = sum(getattr(chosen, name) != getattr(default, name) for name in names)
    return f"Filters ({count})" if count else "Filters"


def say_bad_address(error: BadRequestError) -> None:
    """The address has a value that cannot be used: say so, and offer a way out."""
    st.error(views.plain(str(error)), icon=":material/link_off:")
    st.button("Show everything", help="Open this page without the filters in its address", on_click=st.query_params.clear)
