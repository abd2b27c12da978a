"""The ledger of review actions as a Streamlit component: one row per action, with its Undo."""

from review_app.ledger.component import ledger

__all__ = ["ledger"]
