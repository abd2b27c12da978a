"""Where source videos are submitted: addresses and lists to type, paste or choose; lists of the web are shown before they are taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from html import escape
from pathlib import PurePosixPath
from typing import Any

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.list_files import COLUMNS, LIST_SUFFIXES
from heaters_dagster.domain.source_facts import LINE_CHARACTERS
from heaters_dagster.domain.source_lists import Limits, Member, WebList, count_words
from heaters_dagster.domain.spans import span_seconds
from review_app.service import submissions, views
from review_app.service.links import Session
from review_app.service.outcome import Outcome
from review_app.service.review_desk import ReviewDesk

_LIST_MEGABYTES = 8
_SHOWN = 200
#: Words -> seconds from one look to the next; 0: never.
_AGAIN = {"no": 0, "every hour": 3600, "every 6 hours": 21_600, "every day": 86_400, "every week": 604_800}


def submit_form(desk: ReviewDesk) -> None:
    def submit() -> None:
        outcome = submissions.submit_sources(desk, st.session_state["sources"], by_force=_by_force(), **said())
        _keep(outcome)
        if outcome.ok:
            st.session_state["sources"] = ""

    places = desk.settings.browser_sources
    on_server = "" if places == () else ", s3:// addresses, or files and folders on the server"
    st.text_area(
        f"Web addresses of videos or lists{on_server}; one a line",
        placeholder="https://example.org/talk\n" + ("/videos/holiday" if places != () else "https://example.org/interview"),
        height=98,
        key="sources",
    )
    st.text_input(
        "Rights",
        placeholder=desk.settings.rights or "what may be done with these videos",
        max_chars=LINE_CHARACTERS,
        key="sources-rights",
    )
    st.checkbox("Chapters begin clips", help="Cut also where the chapters of the site or the file begin", key="sources-chapters")
    st.checkbox(
        "Also what is known already",
        help="Make a new source video also of what is a source video already; both then name each other. Not of lists of the web",
        key="sources-force",
    )
    st.button("Submit", type="primary", help="Fetch these videos and cut them into clips", on_click=submit)
    with st.popover(
        "Submit a list from a file",
        icon=":material/list:",
        type="tertiary",
        help="A text, CSV or JSON-lines file with addresses",
        key=f"list-from-file-{_files_submitted()}",
    ):
        _list_file(desk)


def _list_file(desk: ReviewDesk) -> None:
    chosen = st.file_uploader(
        f"A file with one address a line, or a table with the columns {COLUMNS}",
        type=sorted(suffix.removeprefix(".") for suffix in LIST_SUFFIXES),
        max_upload_size=_LIST_MEGABYTES,
        key=f"list-file-{_files_submitted()}",
    )

    def submit() -> None:
        if chosen is not None:
            name = PurePosixPath(chosen.name).name[:200]
            _keep(submissions.submit_sources(desk, chosen.getvalue(), name=name, by_force=_by_force(), **said()))
            st.session_state["list-files"] = _files_submitted() + 1  # a closed and empty box for the next one

    st.button("Submit the list", help="Fetch the videos that this file names", disabled=chosen is None, on_click=submit)


def _files_submitted() -> int:
    count: int = st.session_state.get("list-files", 0)
    return count


def _by_force() -> bool:
    """Whether the box is ticked. It counts once: the next submission shall double nothing."""
    ticked: bool = st.session_state["sources-force"]
    st.session_state["sources-force"] = False
    return ticked


def said() -> dict[str, Any]:
    """What the fields say of all videos that are submitted, by address or as files."""
    return {"rights": st.session_state["sources-rights"], "chapters_as_cuts": st.session_state["sources-chapters"]}


def _keep(outcome: Outcome) -> None:
    """For the run of the page that follows."""
    st.session_state["submitted"] = outcome
    first = st.session_state.get("lists-found", 0)
    st.session_state["lists-found"] = first + len(outcome.lists)
    st.session_state["lists"] = st.session_state.get("lists", {}) | dict(enumerate(outcome.lists, first))


def submitted() -> None:
    """What became of what was submitted last. It stands outside of the box, which closes by itself once there are source videos.

    It is shown until `said_what_was_submitted`: a run of the page that another one takes the place of has shown it to nobody.
    """
    outcome: Outcome | None = st.session_state.get("submitted")
    if outcome is not None:
        for lines, box in ((outcome.refused, st.error), (outcome.told, st.success)):
            if lines:
                box("\n\n".join(views.plain(line) for line in lines.split("\n\n")))


def said_what_was_submitted() -> None:
    """The run of the page has come to its end."""
    st.session_state.pop("submitted", None)


def found_lists(desk: ReviewDesk, session: Session) -> None:
    """The lists that were found, each with what it has and a button that takes it."""
    for place, found in list(st.session_state.get("lists", {}).items()):
        with st.container(border=True, key=f"list-{place}"):
            _found_list(desk, session, found, place)


def _found_list(desk: ReviewDesk, session: Session, found: WebList, place: int) -> None:
    """place: counts the lists of this visit, so that no list gets what was typed for another."""

    def done(outcome: Outcome | None) -> None:
        st.session_state["lists"].pop(place, None)
        if outcome is not None:
            st.session_state["submitted"] = outcome

    st.markdown(f"**{views.plain(found.title)}**")
    try:
        limits = _limits(place)
        offer = submissions.list_offer(desk, found, limits)
    except HeatersError as error:
        st.error(views.plain(str(error)))
        st.button("Cancel", help="Submit nothing of this list", key=f"list-cancel-{place}", on_click=done, args=(None,))
        return
    st.caption(views.plain(offer.words))
    for problem in offer.problems:
        st.caption(f":material/info: {views.plain(problem)}")
    if offer.new:
        with st.container(height=240 if len(offer.new) > 5 else "content", border=False):
            st.html(members_table(offer.new))

    def take() -> None:
        every = _AGAIN[st.session_state[f"list-again-{place}"]]
        if every:
            done(submissions.subscribe(desk, session, found, limits, every_seconds=every, **said()))
        else:
            done(submissions.take_list(desk, found, limits, **said()))

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Look again for new videos", list(_AGAIN), width=220, key=f"list-again-{place}")
        again = st.session_state.get(f"list-again-{place}") != "no"
        words = f"Submit {count_words(offer.new)}" if offer.new else "Subscribe" if again else "Nothing new to submit"
        st.button(
            words,
            type="primary",
            help="Fetch these videos and cut them into clips",
            disabled=not (offer.new or again),
            key=f"list-take-{place}",
            on_click=take,
        )
        st.button("Cancel", help="Submit nothing of this list", key=f"list-cancel-{place}", on_click=done, args=(None,))


def _limits(place: int) -> Limits:
    """Raises BadRequestError when a field cannot be read."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        most = st.number_input("First", min_value=1, value=None, placeholder="all", width=110, key=f"list-most-{place}")
        since = st.date_input("Published since", value=None, width=150, key=f"list-since-{place}")
        until = st.date_input("Published until", value=None, width=150, key=f"list-until-{place}")
        shortest = st.text_input("At least", placeholder="1:30 or 20m", width=120, key=f"list-shortest-{place}")
        longest = st.text_input("At most", placeholder="2h", width=120, key=f"list-longest-{place}")
        title = st.text_input("Words in the title", width=170, key=f"list-title-{place}")
        not_title = st.text_input("Not in the title", width=170, key=f"list-not-title-{place}")
        unknown = st.checkbox("Also of unknown date or length", key=f"list-unknown-{place}")
    return Limits(
        most=None if most is None else int(most),
        since=since if isinstance(since, date) else None,
        until=until if isinstance(until, date) else None,
        shortest_seconds=span_seconds(shortest) if shortest.strip() else None,
        longest_seconds=span_seconds(longest) if longest.strip() else None,
        title=title.strip() or None,
        not_title=not_title.strip() or None,
        unknown=unknown,
    ).checked()


def members_table(members: Sequence[Member]) -> str:
    """An HTML table of videos of a list: title, length, day. What a site wrote is only text in it."""
    rows = [
        f"<tr><td>{escape(one.title or one.source)}</td><td>{views.clock(one.duration_seconds)}</td>"
        f"<td>{escape(str(one.uploaded_on or ''))}</td></tr>"
        for one in members[:_SHOWN]
    ]
    if len(members) > _SHOWN:
        rows.append(f"<tr><td>and {len(members) - _SHOWN:,} more</td><td></td><td></td></tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Title", "Length", "Published"))
    return f'<table class="heaters-exports"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
