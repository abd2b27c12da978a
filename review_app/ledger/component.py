"""Python side of the ledger: it gets rows, and returns the action to undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import streamlit as st

from review_app.service.views import HistoryRow

_FOLDER = Path(__file__).parent
_COLUMNS = ("When", "Who", "What", "Source video", "Clips", "Before", "After", "Way back")
_HEAD = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
_mount = st.components.v2.component(
    "heaters_ledger",
    js=(_FOLDER / "ledger.js").read_text(),
    css=(_FOLDER / "ledger.css").read_text(),
    html=f"<table><thead><tr>{_HEAD}</tr></thead><tbody></tbody></table>",
)


def ledger(rows: Sequence[HistoryRow], *, key: str) -> int | None:
    """Show `rows`; returns the id of the action whose Undo was just pressed."""
    result = _mount(data={"rows": [asdict(row) for row in rows]}, key=key, on_undo_change=lambda: None)
    return int(result.undo) if result.undo else None
