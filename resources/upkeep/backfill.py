"""Puts clips that search cannot find with the present model back into the state from which the pipeline embeds them again."""

from __future__ import annotations

from sqlalchemy import select

from heaters_dagster.domain.stages import EMBEDDINGS, KEYFRAMES
from resources.postgres.clip_store import ClipStore
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.tables import embeddings

_PAGE = 1_000


def start_backfill(database: Database, *, model: str, strategy: str) -> list[int]:
    """Make clips without a vector of `model` and `strategy` due; returns their ids.

    Call it only when the model is available: until then search still finds clips by vectors of an older model.
    Clips whose keyframes were made by another strategy get new keyframes first. Clips whose embedding failed are tried again.
    """
    clips, store = ClipStore(database), EmbeddingStore(database)
    started: list[int] = []
    while page := store.without_embedding(model=model, strategy=strategy, after_id=started[-1] if started else 0, limit=_PAGE):
        ids = [clip_id for clip_id, _ in page]
        with database.read() as connection:
            of_page = select(embeddings.c.clip_id).where(embeddings.c.strategy == strategy, among(embeddings.c.clip_id, ids))
            same_keyframes = set(connection.scalars(of_page))
        for clip_id in ids:
            clips.advance(
                clip_id, EMBEDDINGS.steps.working if clip_id in same_keyframes else KEYFRAMES.steps.working, EMBEDDINGS.steps.done
            )
            started.append(clip_id)
    failed = clips.find(states=[EMBEDDINGS.steps.failed], limit=10_000)
    for clip in failed:
        clips.retry(clip.id)
    return [*started, *(clip.id for clip in failed)]
