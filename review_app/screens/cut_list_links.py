"""The cut list of a source video, as files in every form."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from heaters_dagster.registries import CUT_LIST_FORMATS
from resources.postgres.source_video_store import SourceVideo
from review_app.service.review_desk import ReviewDesk


def show(desk: ReviewDesk, video: SourceVideo, *, any_approved: bool) -> None:
    st.html(links(lambda form, **only: desk.addresses.media_url("cutlist", video.id, form=form, **only), any_approved=any_approved))


def links(address: Callable[..., str], *, any_approved: bool) -> str:
    """A list of links. address: of the file, by the name of its form and, as `only`, the verdict of the clips that it has."""
    chosen: list[tuple[str, dict[str, str]]] = [("All clips", {})]
    if any_approved:
        chosen.append(("Approved clips", {"only": "approved"}))
    rows = []
    for words, only in chosen:
        forms = CUT_LIST_FORMATS.usable()
        files = ", ".join(f'<a href="{escape(address(form.name, **only))}" download>{escape(form.title)}</a>' for form in forms)
        rows.append(f"<li>{words}: {files}</li>")
    told = "They name the original by its name alone. For other files, a folder, handles or gaps: <code>heaters cutlist</code>."
    return f'<ul class="heaters-cut-lists">{"".join(rows)}</ul><p>{told}</p>'
