"""What belongs to a source video: shown when it is opened, and changed there."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.fact_fields import FACT_FIELDS, FactField, chapter_line
from heaters_dagster.domain.ingest import web_host
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.words import counted
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideo
from resources.postgres.transcript_store import Transcript, TranscriptStore
from review_app.screens import shell
from review_app.screens.given_files_box import given_files_box
from review_app.service import actions, views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_CHAPTERS_SHOWN = 50
_DESCRIPTION_SHOWN = 2_000


def facts_box(desk: ReviewDesk, session: Session, video: SourceVideo) -> None:
    """A closed box; what is in it is read when it is opened."""
    box = st.expander("Facts", icon=":material/info:", type="compact", key=f"facts-{video.id}", on_change="rerun")
    if not box.open:
        return
    with box:
        try:
            facts, origins = FactsStore(desk.database).with_origins(video.id)
            transcripts = TranscriptStore(desk.database).of_video(video.id)
        except HeatersError as error:
            st.error(views.plain(str(error)), icon=":material/cloud_off:")
            return
        shown, picture = st.columns([5, 1.2])
        addresses = [desk.addresses.media_url("subtitles", one.id) for one in transcripts]
        shown.html(facts_table(facts, origins, transcripts, addresses))
        if facts.thumbnail_filepath:
            # With the key in the address the browser does not show the thumbnail of before.
            address = escape(desk.addresses.media_url("thumbnail", video.id, of=facts.thumbnail_filepath))
            picture.html(f'<div class="heaters-picture"><img alt="Thumbnail" loading="lazy" src="{address}"></div>')
        if st.toggle("Change the facts", key=f"facts-change-{video.id}"):
            _form(desk, session, video, facts)
        else:
            st.session_state.pop(f"facts-shown-{video.id}", None)
        if st.toggle("Change subtitles and thumbnail", key=f"given-change-{video.id}"):
            given_files_box(desk, session, video, transcripts, facts.thumbnail_filepath)


def facts_in_words(facts: SourceFacts) -> str:
    """`Youtube · Grace · CC BY · from 10:00:00:00 · reel A001`: for the line of a source video."""
    camera = [facts.start_timecode and f"from {facts.start_timecode}", facts.reel and f"reel {facts.reel[:80]}"]
    return " · ".join(filter(None, [facts.site, facts.uploader, facts.licence, facts.rights and f"rights: {facts.rights[:80]}", *camera]))


def facts_table(facts: SourceFacts, origins: dict[str, str], transcripts: Sequence[Transcript], subtitle_addresses: Sequence[str]) -> str:
    """An HTML table of what is known and who said it. subtitle_addresses: of the files of the transcripts."""
    rows = [
        _row(field.label, _cell(field, facts), origins.get(field.name))
        for field in FACT_FIELDS
        if field.text(facts)
    ]  # fmt: skip
    files = [
        f'<a href="{escape(address)}" download>{escape(one.called)}</a>, {counted(one.line_count, "line")}, {_FROM[one.origin]}'
        for one, address in zip(transcripts, subtitle_addresses, strict=True)
    ]
    rows += [_row("Subtitles", "<br>".join(files), None)] if files else []
    tags = [f"{escape(name)}: {escape(value)}" for name, value in (facts.container_tags or {}).items()]
    rows += [_row("Tags of the file", "<br>".join(tags), None)] if tags else []
    if not rows:
        return "<p>Nothing is known of it yet.</p>"
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Fact", "What is known", "Said by"))
    return f'<table class="heaters-facts"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _row(label: str, cell: str, origin: str | None) -> str:
    return f'<tr><th scope="row">{escape(label)}</th><td>{cell}</td><td>{escape(_ORIGINS.get(origin or "", ""))}</td></tr>'


_FROM = {"person": "of a person", "site": "of the site", "file": "of the file", "beside": "of a file beside it"}
_ORIGINS = {"person": "a person", "submission": "whoever submitted it", "site": "the site", "file": "the file"}


def _cell(field: FactField, facts: SourceFacts) -> str:
    if field.name == "chapters":
        lines = [escape(chapter_line(one)) for one in facts.chapters[:_CHAPTERS_SHOWN]]
        more = len(facts.chapters) - len(lines)
        return "<br>".join([*lines, *([f"and {more:,} more"] if more else [])])
    text = field.text(facts)
    if field.name == "page_address" and text.lower().startswith(("http://", "https://")) and web_host(text):
        return f'<a href="{escape(text)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'
    cut = text if len(text) <= _DESCRIPTION_SHOWN else f"{text[:_DESCRIPTION_SHOWN]} ..."
    return escape(cut).replace("\n", "<br>")


def _texts(facts: SourceFacts) -> dict[str, str]:
    """Name of a fact -> its value as a person would write it."""
    return {field.name: field.text(facts) for field in FACT_FIELDS}


def _form(desk: ReviewDesk, session: Session, video: SourceVideo, facts: SourceFacts) -> None:
    """One field for each fact. Only what differs from what was shown is saved: a colleague's change of another fact stays, and one of the
    same fact is told before it is overwritten.
    """
    place = f"facts-shown-{video.id}"
    shown = _texts(facts)
    # before: what the fields were filled with; seen: what the person knows to be there now.
    before, seen = st.session_state.setdefault(place, (shown, shown))
    fields = [field for field in FACT_FIELDS if field.name != "place" or desk.settings.keep_places or before["place"]]
    # The fields keep their keys, and so the button its focus, when they are filled with what was saved.
    keys = {field.name: f"fact-{field.name}-{video.id}" for field in fields}

    def save() -> None:
        changed = {name: text for name, key in keys.items() if (text := st.session_state[key]) != before[name]}
        outcome, is_stale = actions.edit_facts(desk, session, video.id, changed, seen=seen)
        shell.tell_next(outcome)
        if outcome.ok or is_stale:
            now = _texts(FactsStore(desk.database).load(video.id))
            st.session_state[place] = (now, now) if outcome.ok else (before, now)
            if outcome.ok:
                st.session_state.update({key: now[name] for name, key in keys.items()})

    with st.form(f"facts-form-{video.id}", border=False):
        left, right = st.columns(2)
        for count, field in enumerate(fields):
            st.session_state.setdefault(keys[field.name], before[field.name])
            asked = {"label": field.label, "help": field.help, "key": keys[field.name]}
            if field.is_long:
                st.text_area(**asked)
            else:
                (right if count % 2 else left).text_input(**asked)
        st.form_submit_button("Save the facts", type="primary", help="What you changed is never overwritten by a site", on_click=save)
