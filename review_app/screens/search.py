"""Search by words or by likeness to a clip, with scores; and a list of clips that look nearly the same."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import ModelUnavailableError, NotFoundError
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.stages import EMBEDDINGS, states_from
from heaters_dagster.domain.words import counted
from resources.clips.clip_search import ClipSearch, Found
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.source_clocks import clocks_of
from review_app.grid import Card, clip_grid
from review_app.screens import shell
from review_app.screens.clips import card
from review_app.screens.filters import clip_field, clip_text, keep_parameters, parameters_to_show
from review_app.service import views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

_LIKELY = 0.95
_PAIRS = 48
_SHOWN_FIRST = 24


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    words, like, title, limit = _asked(desk)
    if like:
        _like(desk, like, limit=limit, title=title)
    elif words:
        _by_words(desk, words, limit=limit, title=title)
    else:
        _begin(desk, session)


def _asked(desk: ReviewDesk) -> tuple[str, int | None, str, int]:
    """(words, clip to be like, words of the title, how many), kept in the address."""
    address = parameters_to_show("search", ("words", "like", "text"), widget="search-words")
    if address is not None:
        st.session_state["search-words"] = address["words"]
        st.session_state["search-like"] = clip_text(desk, address["like"])
        st.session_state["search-text"] = address["text"]
    words_box, like_box, in_title, most = st.columns([4, 1.4, 2, 1])
    words = words_box.text_input(
        "What the clip shows", placeholder="a robot in the rain", key="search-words", on_change=_forget, args=("like",)
    )
    like, problem = clip_field(desk, like_box, "Or like the clip", key="search-like", on_change=_forget, args=("words",))
    if problem:
        st.warning(views.plain(problem), icon=":material/search_off:")
    title = in_title.text_input("Only in titles with", key="search-text")
    limit = most.selectbox("Show", [24, 48, 96])
    keep_parameters("search", {"words": words.strip(), "like": str(like or ""), "text": title.strip()})
    return words.strip(), like, title.strip(), limit


def _forget(name: str) -> None:
    """A search is by words or by likeness: what was typed last counts."""
    st.session_state[f"search-{name}"] = ""


def _by_words(desk: ReviewDesk, words: str, *, limit: int, title: str) -> None:
    try:
        with st.spinner("Loading the model: this takes seconds at the first search"):
            found = ClipSearch(desk.database, desk.settings).by_words(words, limit=limit, title_contains=title or None)
    except ModelUnavailableError as error:
        st.warning(views.plain(str(error)), icon=":material/translate:")
        st.caption("You can still find clips that look alike: press Similar under a clip, or write its name above: 14 of Harbour.")
        return
    _show(desk, found)


def _like(desk: ReviewDesk, clip_id: int, *, limit: int, title: str) -> None:
    try:
        clip = desk.clips.load(clip_id)
        found = ClipSearch(desk.database, desk.settings).like(clip_id, limit=limit, title_contains=title or None)
    except NotFoundError as error:
        st.warning(views.plain(desk.in_words(str(error))), icon=":material/search_off:")
        return
    own = card(desk, clip, title=desk.videos.load(clip.source_video_id).title, note="this one", group="Like this clip")
    _show(desk, found, before=[own])


def _show(desk: ReviewDesk, found: Found, *, before: list[Card] | None = None) -> None:
    if found.note:
        st.caption(views.plain(found.note))
    if not found.hits and not before:
        st.info("No clip was found. Only approved clips can be found, after they were exported and embedded.")
        return
    clips = {clip.id: clip for clip in desk.clips.load_many([hit.clip_id for hit in found.hits])}
    clocks = clocks_of({clip.source_video_id for clip in clips.values()}, database=desk.database)
    group = "The most similar first" if before else ""
    cards = []
    for hit in found.hits:
        if hit.clip_id in clips:
            clock = clocks.get(hit.source_video_id)
            note = f"{hit.score:.2f}" + (f" · {clock.at(hit.start_time_seconds)}" if clock is not None else "")
            cards.append(card(desk, clips[hit.clip_id], title=hit.title, note=note, group=group))
    clip_grid([*(before or []), *cards], key="hits")


def _begin(desk: ReviewDesk, session: Session) -> None:
    store = EmbeddingStore(desk.database)
    models = store.models()
    if not models:
        st.info("No clip can be found yet. Approve clips: they can be found as soon as they are exported and embedded.")
        st.page_link(shell.page("review"), label="Review clips", icon=":material/arrow_forward:")
        return
    st.caption(views.plain("Searchable: " + ", ".join(f"{counted(count, 'clip')} by {model}" for model, count in sorted(models.items()))))
    if not st.toggle("Clips that look nearly the same", key="search-pairs"):
        first = desk.queue_store.page(QueueFilter(states=tuple(sorted(states_from(EMBEDDINGS)))), limit=_SHOWN_FIRST)
        clocks = clocks_of({item.clip.source_video_id for item in first}, database=desk.database)
        cards = [card(desk, item.clip, title=item.source_video_title, clock=clocks.get(item.clip.source_video_id)) for item in first]
        clip_grid(cards, key="searchable")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        model = st.selectbox("Compared by", sorted(models), width=320)
        least = st.slider("Likeness from", 0.5, 1.0, _LIKELY, 0.01, width=320)
    pairs = store.near_duplicates(model=model, at_least=least, limit=_PAIRS)
    if not pairs:
        st.info("No two clips are so similar.")
        return
    clips = {
        clip.id: clip
        for clip in desk.clips.load_many(sorted({clip_id for pair in pairs for clip_id in (pair.clip_id, pair.other_clip_id)}))
    }
    titles = {
        source_video_id: desk.videos.load(source_video_id).title for source_video_id in {clip.source_video_id for clip in clips.values()}
    }
    clocks = clocks_of(titles.keys(), database=desk.database)
    cards = []
    for place, pair in enumerate(pairs, 1):
        both = [clips.get(pair.clip_id), clips.get(pair.other_clip_id)]
        cards += [
            card(
                desk,
                clip,
                title=titles[clip.source_video_id],
                clock=clocks.get(clip.source_video_id),
                group=f"{place}. Likeness {pair.score:.3f}",
            )
            for clip in both
            if clip is not None
        ]
    clip_grid(cards, key="pairs", token=desk.links.session_token(session), reviewer_id=session.reviewer_id)
