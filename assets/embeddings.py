"""`embeddings`: keyframes of exported clips become vectors that can be searched."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from assets.clip_stage import ClipRun, clip_asset, materialized, opened_once, work_through
from assets.made_with import code_version
from assets.stage_run import StageRun
from heaters_dagster.domain.embedder import Embedder
from heaters_dagster.domain.errors import EmbeddingError, ObjectNotFoundError
from heaters_dagster.domain.pooling import pooled
from heaters_dagster.domain.stages import EMBEDDINGS, KEYFRAMES
from resources.models.embedder import open_embedder
from resources.object_store.interface import ObjectStore
from resources.object_store.stills import Stills
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore


def embed_clip(
    clip: Clip,
    *,
    clips: ClipStore,
    vectors: EmbeddingStore,
    stills: Stills,
    embedder: Embedder,
    strategy: str,
    made_with: str | None = None,
) -> bool:
    """Embed one clip that is `keyframed`, or was left `embedding` by a process that died.

    False when a reviewer changed the clip meanwhile: its new state says what follows. Raises EmbeddingError when its keyframes are gone;
    a retry then makes them again.
    """
    claimed = clips.claim(clip.id, EMBEDDINGS)
    if claimed is None:
        return False
    keys = clips.live_artifact_keys(clip.id, kind=str(KEYFRAMES.artifact))
    try:
        pictures = [_picture(stills.read(key, claimed.cut_point_version)) for key in keys]
    except ObjectNotFoundError as error:
        clips.give_up_keyframes(claimed.id, claimed.cut_point_version)
        raise EmbeddingError(
            f"a keyframe of clip {clip.sequence} is gone: {error}; heaters retry --clip {clip.reference} makes them again"
        ) from error
    if not pictures:
        raise EmbeddingError(f"clip {clip.sequence} has no keyframes to embed; heaters retry --clip {clip.reference} makes them again")
    vector = pooled(embedder.embed_images(pictures))
    return vectors.finish_embedding(
        claimed.id, version=claimed.cut_point_version, model=embedder.model, strategy=strategy, vector=vector, made_with=made_with
    )


def embed_due(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    open_model: Callable[[], Embedder],
    strategy: str,
    stills: Stills | None = None,
    made_with: str | None = None,
    **options: Any,
) -> ClipRun[str]:
    """Embed every clip of a source video that is due; see `work_through`. Returns the name of the model for each clip that it made.

    stills: what the run has at hand. made_with: see `assets.made_with`; clips with vectors that were made otherwise get new ones. None:
    they keep them.
    When the model itself is not available, every due clip becomes `embedding_failed` with that reason: nothing else of the clip is touched.
    """
    clips, vectors, model = ClipStore(database), EmbeddingStore(database), opened_once(open_model)
    at_hand = stills or Stills(objects)

    def make(clip: Clip) -> tuple[str] | None:
        embedder = model()
        done = embed_clip(clip, clips=clips, vectors=vectors, stills=at_hand, embedder=embedder, strategy=strategy, made_with=made_with)
        return (embedder.model,) if done else None

    again = clips.again(EMBEDDINGS, source_video_id, made_with)
    return work_through(EMBEDDINGS, source_video_id, make, database=database, objects=objects, begin_again=again, **options)


def _picture(jpeg: bytes) -> NDArray[np.uint8]:
    """(h, w, 3) RGB."""
    from PIL import Image

    with Image.open(BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


@clip_asset(
    EMBEDDINGS,
    group="search",
    description="One vector per clip in pgvector, pooled from its keyframes: search by words and by likeness.",
    kinds={"postgres", "pytorch"},
)
def embeddings(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    run, place = StageRun(context, database, object_store), machine.get()
    settings = place.settings

    def work() -> ClipRun[str]:
        return embed_due(
            run.source_video_id,
            database=database.get(),
            objects=object_store.get(),
            open_model=lambda: open_embedder(settings, say=run.log),
            strategy=settings.keyframe_strategy,
            stills=place.stills(object_store.get()),
            made_with=code_version(EMBEDDINGS.asset, settings),
            report=run.progress(EMBEDDINGS.asset, progress),
        )

    yield from materialized(
        run,
        EMBEDDINGS,
        work,
        lambda done: {
            "clips embedded by this run": len(done.clip_ids),
            "model": next(iter(done.made), "not needed"),
            "strategy": settings.keyframe_strategy,
        },
    )
