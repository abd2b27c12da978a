"""Subtitles and the thumbnail of a source video: given as files, and taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from heaters_dagster.domain.subtitles import MOST_BYTES, SUFFIXES
from resources.postgres.source_video_store import SourceVideo
from resources.postgres.transcript_store import Transcript
from resources.sources.given_files import MOST_THUMBNAIL_BYTES
from review_app.screens import shell
from review_app.service import actions, views
from review_app.service.links import Session
from review_app.service.outcome import Outcome
from review_app.service.review_desk import ReviewDesk


def given_files_box(
    desk: ReviewDesk, session: Session, video: SourceVideo, transcripts: Sequence[Transcript], thumbnail: str | None
) -> None:
    """transcripts, thumbnail: what is shown; where a colleague has changed it since, nothing is overwritten."""
    place = f"given-{video.id}"
    number = st.session_state.setdefault(place, 0)

    def told(outcome: Outcome) -> None:
        shell.tell_next(outcome)
        if outcome.ok:
            st.session_state[place] = number + 1  # empty fields

    left, right = st.columns(2)
    with left:
        _subtitles(desk, session, video, transcripts, f"{video.id}-{number}", told)
    with right:
        _thumbnail(desk, session, video, thumbnail, f"{video.id}-{number}", told)


def _subtitles(
    desk: ReviewDesk, session: Session, video: SourceVideo, known: Sequence[Transcript], of: str, told: Callable[[Outcome], None]
) -> None:
    language = st.text_input(
        "Language of the subtitles",
        key=f"given-language-{of}",
        placeholder="en",
        help="As en, de or pt-BR; und when it is not said. The file takes the place of the subtitles that people wrote in this language.",
    )
    file = st.file_uploader(
        "Subtitle file", type=[one.removeprefix(".") for one in SUFFIXES], max_upload_size=MOST_BYTES >> 20, key=f"given-file-{of}"
    )

    def save() -> None:
        if file is not None:
            said = st.session_state[f"given-language-{of}"]
            told(actions.put_subtitles(desk, session, video.id, said, file.name, file.getvalue(), shown=known))

    st.button(
        "Save the subtitles",
        help="Make this file the subtitles in this language",
        key=f"given-save-{of}",
        disabled=file is None or not language.strip(),
        on_click=save,
    )
    if known:
        names = {one.id: views.plain(f"{one.called}, {one.origin}") for one in known}
        chosen = st.selectbox(
            "Subtitles to take away", list(names), index=None, format_func=lambda one: names.get(one, ""), key=f"given-chosen-{of}"
        )

        def take_away() -> None:
            if chosen is not None:
                told(actions.take_subtitles(desk, session, video.id, chosen))

        st.button(
            "Take the subtitles away",
            help="History can bring them back",
            key=f"given-take-{of}",
            disabled=chosen is None,
            on_click=take_away,
        )


def _thumbnail(desk: ReviewDesk, session: Session, video: SourceVideo, known: str | None, of: str, told: Callable[[Outcome], None]) -> None:
    file = st.file_uploader(
        "Thumbnail (JPEG, PNG or WebP)",
        type=["jpg", "jpeg", "png", "webp"],
        max_upload_size=MOST_THUMBNAIL_BYTES >> 20,
        key=f"given-picture-{of}",
    )

    def save() -> None:
        if file is not None:
            told(actions.put_thumbnail(desk, session, video.id, file.name, file.getvalue(), shown=known))

    def take_away() -> None:
        told(actions.take_thumbnail(desk, session, video.id, shown=known))

    st.button(
        "Save the thumbnail", help="Make this picture the thumbnail", key=f"given-save-picture-{of}", disabled=file is None, on_click=save
    )
    if known is not None:
        st.button(
            "Take the thumbnail away",
            help="History can bring it back",
            key=f"given-take-picture-{of}",
            on_click=take_away,
        )
