"""Python side of the grid: it gets cards. Decisions go directly to the server; a click on a card opens another page by its address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_mount = st.components.v2.component(
    "heaters_clip_grid",
    js=(_FOLDER / "grid.js").read_text(),
    css=(_FOLDER / "grid.css").read_text(),
    html='<div class="bar" hidden></div><div class="grid"></div>',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A clip in the grid.

    version: goes with a decision on it. title, number: of its source video, and its own among that one's clips. note, state_words: small
    print. still_url, preview_url: signed addresses; the preview plays while the pointer rests on the card. open_url, like_url: pages of
    this app. held_by: the colleague who has it on the stage. group: cards in a row with the same one stand under it as their heading.
    """

    id: int
    version: int
    title: str
    number: str
    note: str
    state: str
    state_words: str
    still_url: str
    preview_url: str
    open_url: str
    like_url: str | None = None
    held_by: str | None = None
    group: str = ""


def clip_grid(cards: Sequence[Card], *, key: str, place: int = 0, token: str | None = None, reviewer_id: int | None = None) -> None:
    """Show `cards`. token, reviewer_id: the session's; with them clips can be selected and decided on together, and the page runs again
    afterwards. A decision without an answer is kept in the browser for its reviewer. place: another page of a list is shown from its top.
    """
    _mount(
        data={
            "cards": [asdict(card) for card in cards],
            "token": token,
            "reviewer_id": reviewer_id,
            "decisions_url": "/api/decisions",
            "place": place,
        },
        key=key if reviewer_id is None else f"{key}-{reviewer_id}",  # never send another reviewer's waiting decisions
        on_changed_change=_nothing,
    )


def _nothing() -> None:
    """Streamlit keeps the value of an event only when it has a callback."""
