"""CLIP and models of its kind by sentence-transformers: pictures and words in one space."""

from __future__ import annotations

from heaters_dagster.domain.embedder import EmbedderKind
from resources.models.embedder import clip_embedder, stored_name

EMBEDDER = EmbedderKind(name="clip", open=clip_embedder, stored_name=stored_name)
