"""`embeddings`: keyframes of exported clips become vectors that can be searched."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from assets import readable
from assets.failures import TRANSIENT_RETRIES, is_transient, reason
from assets.stage import Stage
from heaters_dagster.domain.errors import EmbeddingError, ObjectNotFoundError
from heaters_dagster.domain.pooling import pooled
from heaters_dagster.domain.progress import Progress, Report
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from resources.clip_store import Clip, ClipStore
from resources.dagster_resources import DatabaseResource, ObjectStoreResource, ProgressResource, WorkspaceResource
from resources.embedder import Embedder, open_embedder
from resources.embedding_store import EmbeddingStore
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import raise_fault_of_the_place


@dataclass(frozen=True, slots=True)
class EmbeddingRun:
    """What one run did.

    model: the name the vectors are stored under, None when no model was needed. failed: clip id -> reason.
    retryable: something failed, and every failure is temporary: trying again may work.
    """

    model: str | None
    embedded: tuple[int, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    retryable: bool = False


def embed_clip(clip: Clip, *, clips: ClipStore, vectors: EmbeddingStore, objects: ObjectStore, embedder: Embedder, strategy: str) -> bool:
    """Embed one clip that is `keyframed`, or was left `embedding` by a process that died.

    False when a reviewer changed the clip meanwhile: its new state says what follows. Raises EmbeddingError when its keyframes are gone;
    a retry then makes them again.
    """
    claimed = clips.claim_embedding(clip.id)
    if claimed is None:
        return False
    keys = clips.live_artifact_keys(clip.id, kind="keyframe")
    try:
        pictures = [_picture(objects.get_bytes(key)) for key in keys]
    except ObjectNotFoundError as error:
        clips.give_up_keyframes(claimed.id, claimed.cut_point_version)
        raise EmbeddingError(
            f"a keyframe of clip {clip.sequence} is gone: {error}; heaters retry --clip {clip.reference} makes them again"
        ) from error
    if not pictures:
        raise EmbeddingError(f"clip {clip.sequence} has no keyframes to embed; heaters retry --clip {clip.reference} makes them again")
    vector = pooled(embedder.embed_images(pictures))
    return vectors.finish_embedding(claimed.id, version=claimed.cut_point_version, model=embedder.model, strategy=strategy, vector=vector)


def embed_due(
    source_video_id: int,
    *,
    clips: ClipStore,
    vectors: EmbeddingStore,
    objects: ObjectStore,
    open_model: Callable[[], Embedder],
    strategy: str,
    report: Report,
    clock: Callable[[], float],
) -> EmbeddingRun:
    """Embed every clip of a source video that is due; one clip's failure does not stop the others.

    When the model itself is not available, every due clip becomes `embedding_failed` with that reason: nothing else of the clip is touched.
    """
    due = clips.due_for_embeddings(source_video_id)
    if not due:
        return EmbeddingRun(model=None)
    started = clock()
    embedded: list[int] = []
    failed: dict[int, str] = {}
    retryable: list[bool] = []
    try:
        embedder = open_model()
    except Exception as error:  # of any kind: the rows must also say that a driver is broken
        for clip in due:
            _record(clips, clip, error)
        return EmbeddingRun(model=None, failed={clip.id: reason(error) for clip in due}, retryable=is_transient(error))
    for number, clip in enumerate(due, start=1):
        try:
            if embed_clip(clip, clips=clips, vectors=vectors, objects=objects, embedder=embedder, strategy=strategy):
                embedded.append(clip.id)
        except Exception as error:  # a defect that shows on one clip must not stop the others
            raise_fault_of_the_place(error, objects)
            _record(clips, clip, error)
            failed[clip.id] = reason(error)
            retryable.append(is_transient(error))
        report(Progress(stage="embeddings", done=number, total=len(due), unit="clips", elapsed_seconds=clock() - started))
    return EmbeddingRun(model=embedder.model, embedded=tuple(embedded), failed=failed, retryable=bool(retryable) and all(retryable))


def _record(clips: ClipStore, clip: Clip, error: Exception) -> None:
    version = clip.cut_point_version
    clips.fail(clip.id, ClipState.EMBEDDING_FAILED, reason(error), transient=is_transient(error), expected_version=version)


def _picture(jpeg: bytes) -> NDArray[np.uint8]:
    """(h, w, 3) RGB."""
    from PIL import Image

    with Image.open(BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


@dg.asset(
    deps=["keyframes"],
    partitions_def=source_video_partitions,
    group_name="search",
    description="One vector per clip in pgvector, pooled from its keyframes: search by words and by likeness.",
    kinds={"postgres", "pytorch"},
    retry_policy=TRANSIENT_RETRIES,
    output_required=False,
)
def embeddings(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    workspace: WorkspaceResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, settings, store = Stage(context, database, object_store), workspace.get().settings, database.get()
    # Every failed clip has its reason on its own row.
    with stage.failures(), store.stage_lock("embeddings", stage.video_id):
        done = embed_due(
            stage.video_id,
            clips=ClipStore(store),
            vectors=EmbeddingStore(store),
            objects=object_store.get(),
            open_model=lambda: open_embedder(settings, say=stage.log),
            strategy=settings.keyframe_strategy,
            report=progress.report_to(stage.log),
            clock=time.monotonic,
        )
        if done.failed:
            raise stage.clips_failed(done.failed, done=len(done.embedded), retryable=done.retryable)
        counts = stage.clip_counts()
    if not readable.searchable(counts) and readable.waiting(counts):
        stage.log.info(f"no clip is searchable: {readable.waiting_words(counts)}. The partition stays as it was")
        return
    yield stage.made(
        {
            **readable.totals(counts),
            "clips embedded by this run": len(done.embedded),
            "model": done.model or "not needed",
            "strategy": settings.keyframe_strategy,
        }
    )
