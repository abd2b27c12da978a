"""Python side of the grid: it gets cards. Decisions go directly to the server; a click on a card opens another page by its address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from review_app.player import component as player
from review_app.served_component import served_component
from review_app.service.selection import MAX_MATCHING

_component = served_component(
    Path(__file__).parent, "grid", js="grid.js", css="grid.css", html='<div class="bar" hidden></div><div class="grid"></div>'
)
#: What the grid has of the player: one table of keys, and one way for a decision to the server.
_MODULES = {"keys": "page/keys.js", "delivery": "decisions/delivery.js", "review_api": "decisions/review_api.js"}


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


def clip_grid(
    cards: Sequence[Card],
    *,
    key: str,
    place: int = 0,
    token: str | None = None,
    reviewer_id: int | None = None,
    matching: int | None = None,
    query: str = "",
) -> None:
    """Show `cards`. token, reviewer_id: the session's; with them clips can be selected and decided on together, by keys too, and the page
    runs again afterwards. A decision without an answer is kept in the browser for its reviewer. place: another page of a list is shown from
    its top. matching: how many clips the filters match, with those of other pages; query: the filters as a query, to select all of them.
    """
    _component.mount()(
        data={
            "cards": [asdict(card) for card in cards],
            "token": token,
            "reviewer_id": reviewer_id,
            "decisions_url": "/api/decisions",
            "place": place,
            "matching": matching,
            "most_matching": MAX_MATCHING,
            "selection_url": f"/api/selection?{query}",
            "modules": {name: player.served_address(path) for name, path in _MODULES.items()},
        },
        key=key if reviewer_id is None else f"{key}-{reviewer_id}",  # never send another reviewer's waiting decisions
        on_changed_change=_nothing,
    )


def _nothing() -> None:
    """Streamlit keeps the value of an event only when it has a callback."""
