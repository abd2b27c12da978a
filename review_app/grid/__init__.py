"""A grid of clips with hover preview, selection and decisions on the selection, as a Streamlit component."""

from review_app.grid.component import Card, clip_grid

__all__ = ["Card", "clip_grid"]
