"""Dagster partitions: which source video is partition 3, and which partition is "Harbour"; with the ways to both."""

from __future__ import annotations

import contextlib
from html import escape

import streamlit as st

from heaters_dagster.domain.errors import HeatersError, NotFoundError
from heaters_dagster.domain.review_queue import MAX_ID
from resources.postgres.source_video_store import SourceVideo
from review_app.screens import shell
from review_app.screens.filters import keep_parameters, parameters_to_show
from review_app.service import views
from review_app.service.review_desk import ReviewDesk

_MOST = 100
#: Where an operator looks first.
_ASSETS = ("source_video", "proxy", "virtual_clips", "gold_master", "exports")


def show(visit: shell.Visit) -> None:
    address = parameters_to_show("partitions", ("find",), widget="partitions-find")
    if address is not None:
        st.session_state["partitions-find"] = address["find"]
    words = st.text_input("Partition or title", placeholder="3, or part of a title", width=420, key="partitions-find").strip()
    keep_parameters("partitions", {"find": words})
    try:
        found = find_videos(visit.desk, words)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if not found:
        st.info("No source video has that number or title." if words else "No source videos yet.")
        return
    st.html(partitions_table(visit.desk, found[:_MOST]))
    if len(found) > _MOST:
        st.caption(f"The first {_MOST} are shown: write more of the title.")


def find_videos(desk: ReviewDesk, words: str) -> list[SourceVideo]:
    """The source video of that partition key first, then those whose title or source holds the words; one more than is shown."""
    named: list[SourceVideo] = []
    if words.isascii() and words.isdigit() and int(words) <= MAX_ID:
        with contextlib.suppress(NotFoundError):
            named = [desk.videos.load(int(words))]
    others = desk.videos.load_all(text=words or None, limit=_MOST + 1)
    return [*named, *(video for video in others if video.id not in {one.id for one in named})]


def partitions_table(desk: ReviewDesk, videos: list[SourceVideo]) -> str:
    """An HTML table: partition key, title, state, and links to the partition in Dagster and to the source video here."""
    rows = []
    for video in videos:
        dagster = " · ".join(
            f'<a href="{escape(desk.addresses.partition_url(video.id, asset))}" target="_blank" rel="noopener">{asset}</a>'
            for asset in _ASSETS
        )
        here = f'<a href="/videos?video={video.id}" target="_self">{escape(video.title)}</a>'
        state = escape(views.video_words(video))
        rows.append(f'<tr><th scope="row">{video.id}</th><td>{here}</td><td>{state}</td><td>{dagster}</td></tr>')
    head = "<tr>" + "".join(f'<th scope="col">{name}</th>' for name in ("Partition", "Source video", "State", "In Dagster")) + "</tr>"
    return f'<table class="heaters-exports"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
