"""The ledger of review actions as a Streamlit component: one row an action, with the way back beside it."""

from review_app.ledger.component import ledger

__all__ = ["ledger"]
