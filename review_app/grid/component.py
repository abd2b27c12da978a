"""Python side of the grid: cards in, the selection and the opened clip out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_mount = st.components.v2.component(
    "heaters_clip_grid", js=(_FOLDER / "grid.js").read_text(), css=(_FOLDER / "grid.css").read_text(), html='<div class="grid"></div>'
)


@dataclass(frozen=True, slots=True)
class Card:
    """A clip in the grid. still_url, preview_url: signed addresses; the preview plays while the pointer rests on the card."""

    id: int
    title: str
    note: str
    state: str
    still_url: str
    preview_url: str


def clip_grid(
    cards: Sequence[Card], *, key: str, selectable: bool = True, on_open: Callable[[], None] | None = None
) -> tuple[list[int], int | None]:
    """Show `cards`; returns (ids selected, id of the clip just opened or None)."""
    result = _mount(
        data={"cards": [asdict(card) for card in cards], "selectable": selectable},
        key=key,
        default={"selected": []},
        on_selected_change=lambda: None,
        on_opened_change=on_open or (lambda: None),
    )
    known = {card.id for card in cards}
    opened = getattr(result, "opened", None)
    return [int(clip_id) for clip_id in result.selected or [] if int(clip_id) in known], int(opened) if opened else None
