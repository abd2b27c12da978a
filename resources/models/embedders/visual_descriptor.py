"""The built-in visual descriptor: no model and no download; clips that look alike can be found, words cannot."""

from __future__ import annotations

from heaters_dagster.domain.embedder import EmbedderKind
from resources.models.visual_descriptor import VisualDescriptor

EMBEDDER = EmbedderKind(name="visual_descriptor", open=lambda model: VisualDescriptor(), stored_name=lambda model: VisualDescriptor.model)
