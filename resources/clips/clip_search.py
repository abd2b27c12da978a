"""Search by words, or by likeness to a clip. It chooses a model that has vectors in the database, and says which one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import ModelUnavailableError, NotFoundError
from heaters_dagster.settings import Settings
from resources.models.embedder import chosen_embedder, chosen_model
from resources.models.visual_descriptor import VisualDescriptor
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore, SearchHit


@dataclass(frozen=True, slots=True)
class Found:
    """hits: best first. model: the model of the vectors that were compared. note: a remark about the answer for the user, or None."""

    model: str
    hits: tuple[SearchHit, ...]
    note: str | None


class ClipSearch:
    """Finds clips by words, or clips that are like a clip."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._vectors = EmbeddingStore(database)
        self._clips = ClipStore(database)
        self._settings = settings

    def by_words(self, words: str, *, limit: int = 20, source_video_id: int | None = None, title_contains: str | None = None) -> Found:
        """Clips that show what `words` describe. Raises ModelUnavailableError when the model that understands words is not available."""
        try:
            embedder = chosen_embedder(self._settings)
        except ModelUnavailableError as error:
            if VisualDescriptor.model in self._vectors.models():
                raise ModelUnavailableError(
                    f"Words need the embedding model. {error} The clips have the built-in visual descriptor, which finds "
                    "clips that look alike: heaters search --like CLIP"
                ) from error
            raise
        counts = self._vectors.models()
        note = None
        if embedder.model not in counts:
            others = ", ".join(sorted(counts)) or "none"
            note = f"No clip has an embedding by {embedder.model} yet (only by: {others}). heaters process makes them for approved clips"
        return self._found(embedder.model, embedder.embed_text(words), limit, source_video_id, title_contains, None, note)

    def like(self, clip_id: int, *, limit: int = 20, source_video_id: int | None = None, title_contains: str | None = None) -> Found:
        """The clips most like a clip, without the clip itself. Raises NotFoundError when there is no such clip or it has no vector."""
        clip = self._clips.load(clip_id)
        for model in self._preferred_models():
            try:
                vector = self._vectors.vector(clip_id, model=model)
            except NotFoundError:
                continue
            note = (
                "Compared by the built-in visual descriptor: these clips look alike; what they show may differ."
                if model == VisualDescriptor.model
                else None
            )
            return self._found(model, vector, limit, source_video_id, title_contains, clip_id, note)
        where = (
            "its source video was cut again, and this clip is no longer in the cut list"
            if not clip.is_live
            else f"its state is {clip.state}"
        )
        raise NotFoundError(f"clip id:{clip_id} has no embedding: {where}. A clip gets one after it was approved and exported")

    def _preferred_models(self) -> list[str]:
        """Models that have vectors: first the one that the settings name, last the descriptor."""
        own = chosen_model(self._settings)
        return sorted(self._vectors.models(), key=lambda model: (model != own, model == VisualDescriptor.model, model))

    def _found(
        self,
        model: str,
        vector: NDArray[np.float32],
        limit: int,
        source_video_id: int | None,
        title_contains: str | None,
        not_clip_id: int | None,
        note: str | None,
    ) -> Found:
        hits = self._vectors.search(
            vector, model=model, limit=limit, source_video_id=source_video_id, title_contains=title_contains, not_clip_id=not_clip_id
        )
        return Found(model=model, hits=tuple(hits), note=note)
