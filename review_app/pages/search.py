"""Search: words, or likeness to a clip, to clips with scores; and pairs that look nearly the same."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from resources.clip_search import ClipSearch, Found
from resources.embedding_store import EmbeddingStore
from review_app import views
from review_app.desk import ReviewDesk
from review_app.grid import Card, clip_grid
from review_app.links import Session


def show(desk: ReviewDesk, session: Session) -> None:
    st.title("Search")
    words_box, like_box, in_title, most = st.columns([4, 1.2, 2, 1])
    words = words_box.text_input("What the clip shows", value=st.query_params.get("words", ""), placeholder="a robot in the rain")
    wanted = st.query_params.get("like", "0")
    like = int(like_box.number_input("Or like clip", min_value=0, step=1, value=int(wanted) if wanted.isdigit() else 0))
    title = in_title.text_input("Only in titles with", value=st.query_params.get("text", ""))
    limit = most.selectbox("Show", [24, 48, 96])
    st.query_params.from_dict({name: value for name, value in {"words": words, "like": str(like or ""), "text": title}.items() if value})
    try:
        if like:
            _show(desk, ClipSearch(desk.database, desk.settings).like(like, limit=limit, title_contains=title or None))
        elif words:
            with st.spinner("Reading the model: seconds at the first search"):
                found = ClipSearch(desk.database, desk.settings).by_words(words, limit=limit, title_contains=title or None)
            _show(desk, found)
        else:
            _begin(desk)
    except HeatersError as error:
        st.warning(views.plain(str(error)))


def _show(desk: ReviewDesk, found: Found) -> None:
    if found.note:
        st.caption(views.plain(found.note))
    if not found.hits:
        st.info("No clip is like that. Clips can be found once they are approved and exported.")
        return
    cards = []
    for hit in found.hits:
        clip = desk.clips.load(hit.clip_id)
        preview = desk.media_url("segment", clip.source_video_id, start=clip.start_frame, end=clip.end_frame)
        title = f"{hit.title} {hit.sequence:03d}"
        cards.append(Card(clip.id, title, f"{hit.score:.2f}", clip.state.value, desk.media_url("thumbnail", clip.id, width=320), preview))
    _, opened = clip_grid(cards, key="hits", selectable=False)
    if opened:
        st.query_params.from_dict({"like": str(opened)})
        st.rerun()
    st.caption("A click on a picture searches for clips like it.")


def _begin(desk: ReviewDesk) -> None:
    models = EmbeddingStore(desk.database).models()
    if not models:
        st.info("No clip can be searched yet: approve clips, and they are found as soon as they are exported and embedded.")
        return
    st.caption(views.plain("Searchable: " + ", ".join(f"{count} clips by {model}" for model, count in sorted(models.items()))))
    model = st.selectbox("Clips that look nearly the same, by", sorted(models))
    pairs = EmbeddingStore(desk.database).near_duplicates(model=model, limit=24) if st.toggle("Show near duplicates") else []
    for pair in pairs:
        first, second, score = st.columns([2, 2, 3], vertical_alignment="center")
        for place, clip_id in ((first, pair.clip_id), (second, pair.other_clip_id)):
            place.image(desk.media_url("thumbnail", clip_id, width=320), caption=f"clip {clip_id}")
        score.metric("likeness", f"{pair.score:.3f}")
