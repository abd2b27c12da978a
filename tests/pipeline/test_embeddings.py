"""The embeddings stage: every due clip, whatever happens to its neighbours, and a clear word when there is no model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from assets.clip_stage import ClipRun
from assets.embeddings import embed_due
from heaters_dagster.domain.embedder import Embedder
from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.keys import keyframe_key
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.stages import EMBEDDINGS, KEYFRAMES
from heaters_dagster.domain.states import ClipState
from resources.models.embedder import clip_embedder
from resources.models.visual_descriptor import VisualDescriptor
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from tests.conftest import SomeClips
from tests.tiny_clip import save_tiny_clip


def jpeg(seed: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (36, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def give_keyframes(clip: Clip, clips: ClipStore, objects: ObjectStore) -> None:
    """Lead an exported clip through the keyframe stage with pictures of its own."""
    keys = [keyframe_key(clip.source_video_id, clip.sequence, tag) for tag in ("p25", "p50")]
    claimed = clips.claim(clip.id, KEYFRAMES, keys)
    assert claimed is not None
    sizes = [objects.put_bytes(key, jpeg(clip.id * 10 + number)).byte_size for number, key in enumerate(keys)]
    assert clips.finish(
        clip.id, KEYFRAMES, claimed.cut_point_version, [MadeObject(key, size, {}) for key, size in zip(keys, sizes, strict=True)]
    )


def run(clip: Clip, database: Database, objects: ObjectStore, embedder: Embedder, readings: list[Progress] | None = None) -> ClipRun[str]:
    seen = readings if readings is not None else []
    return embed_due(
        clip.source_video_id,
        database=database,
        objects=objects,
        open_model=lambda: embedder,
        strategy="multi",
        report=seen.append,
        clock=time.monotonic,
    )


def test_every_due_clip_is_embedded_by_the_real_loading_code(
    database: Database, object_store: ObjectStore, some_clips: SomeClips, tmp_path: Path
) -> None:
    made = some_clips(30, 60, state=ClipState.EXPORTED)
    for clip in made:
        give_keyframes(clip, ClipStore(database), object_store)
    readings: list[Progress] = []
    embedder = clip_embedder(str(save_tiny_clip(tmp_path / "tiny-clip")))
    done = run(made[0], database, object_store, embedder, readings)
    assert done == ClipRun(made=(embedder.model,) * 3, clip_ids=tuple(clip.id for clip in made))
    assert {clip.state for clip in ClipStore(database).load_live(made[0].source_video_id)} == {ClipState.EMBEDDED}
    assert readings[-1].fraction == 1
    vectors = EmbeddingStore(database)
    (nearest, *_rest) = vectors.search(vectors.vector(made[1].id, model=embedder.model), model=embedder.model)
    assert nearest.clip_id == made[1].id


def test_one_clip_that_fails_does_not_stop_the_others(database: Database, object_store: ObjectStore, some_clips: SomeClips) -> None:
    made = some_clips(50, state=ClipState.EXPORTED)
    for clip in made:
        give_keyframes(clip, ClipStore(database), object_store)
    object_store.delete(keyframe_key(made[0].source_video_id, made[0].sequence, "p25"))
    done = run(made[0], database, object_store, VisualDescriptor())
    assert done.clip_ids == (made[1].id,)
    assert "p25" in done.failed[made[0].id]
    first, second = ClipStore(database).load_live(made[0].source_video_id)
    assert (first.state, second.state) == (ClipState.EMBEDDING_FAILED, ClipState.EMBEDDED)
    assert first.error is not None
    assert "p25" in first.error


class Defective(VisualDescriptor):
    """A model that breaks on its first clip in a way of its own."""

    calls = 0

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().embed_images(images)


def test_an_error_that_is_not_ours_is_on_the_row_and_does_not_stop_the_others(
    database: Database, object_store: ObjectStore, some_clips: SomeClips
) -> None:
    made = some_clips(50, state=ClipState.EXPORTED)
    for clip in made:
        give_keyframes(clip, ClipStore(database), object_store)
    done = run(made[0], database, object_store, Defective())
    assert done.clip_ids == (made[1].id,)
    assert not done.retryable
    first = ClipStore(database).load(made[0].id)
    assert (first.state, first.error) == (
        ClipState.EMBEDDING_FAILED,
        "RuntimeError: CUDA error: device-side assert triggered",
    )


def test_a_model_that_breaks_as_it_is_loaded_is_on_every_row(database: Database, object_store: ObjectStore, some_clips: SomeClips) -> None:
    made = some_clips(50, state=ClipState.EXPORTED)
    for clip in made:
        give_keyframes(clip, ClipStore(database), object_store)

    def broken() -> Embedder:
        raise RuntimeError("CUDA driver version is insufficient")

    done = embed_due(made[0].source_video_id, database=database, objects=object_store, open_model=broken, strategy="multi")
    assert set(done.failed) == {clip.id for clip in made}
    assert {clip.error for clip in ClipStore(database).load_live(made[0].source_video_id)} == {
        "RuntimeError: CUDA driver version is insufficient"
    }


def test_without_a_model_every_due_clip_says_so_and_can_be_retried(
    database: Database, object_store: ObjectStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips(state=ClipState.EXPORTED)
    give_keyframes(clip, ClipStore(database), object_store)

    def no_model() -> Embedder:
        raise ModelUnavailableError("The embedding model is not on this machine.")

    done = embed_due(clip.source_video_id, database=database, objects=object_store, open_model=no_model, strategy="multi")
    assert done.failed == {clip.id: "The embedding model is not on this machine."}
    failed = ClipStore(database).load(clip.id)
    assert (failed.state, failed.error) == (ClipState.EMBEDDING_FAILED, "The embedding model is not on this machine.")
    ClipStore(database).retry(clip.id)
    assert run(clip, database, object_store, VisualDescriptor()).clip_ids == (clip.id,)


def test_a_clip_left_embedding_by_a_killed_process_is_picked_up_again(
    database: Database, object_store: ObjectStore, some_clips: SomeClips
) -> None:
    (clip,) = some_clips(state=ClipState.EXPORTED)
    give_keyframes(clip, ClipStore(database), object_store)
    ClipStore(database).claim(clip.id, EMBEDDINGS)
    assert run(clip, database, object_store, VisualDescriptor()).clip_ids == (clip.id,)


def test_nothing_due_opens_no_model(database: Database, object_store: ObjectStore, some_clips: SomeClips) -> None:
    (clip,) = some_clips()

    def never() -> Embedder:
        pytest.fail("a model was opened for nothing")

    done = embed_due(
        clip.source_video_id,
        database=database,
        objects=object_store,
        open_model=never,
        strategy="multi",
        report=lambda _: None,
        clock=time.monotonic,
    )
    assert done == ClipRun()


@pytest.mark.parametrize("lost", [("p25",), ("p25", "p50")])
def test_keyframes_that_are_gone_are_made_again_by_a_retry(
    database: Database, object_store: ObjectStore, some_clips: SomeClips, lost: tuple[str, ...]
) -> None:
    clips = ClipStore(database)
    (clip,) = some_clips(state=ClipState.EXPORTED)
    give_keyframes(clip, clips, object_store)
    for tag in lost:
        object_store.delete(keyframe_key(clip.source_video_id, clip.sequence, tag))
    assert (
        f"heaters retry --clip {clip.source_video_id}:{clip.sequence}"
        in run(clip, database, object_store, VisualDescriptor()).failed[clip.id]
    )
    assert clips.retry(clip.id).state == ClipState.KEYFRAMING
    assert [due.id for due in clips.due(KEYFRAMES)] == [clip.id]
    give_keyframes(clip, clips, object_store)
    assert run(clip, database, object_store, VisualDescriptor()).clip_ids == (clip.id,)


def test_keyframes_that_are_there_are_not_made_again_by_a_retry(
    database: Database, object_store: ObjectStore, some_clips: SomeClips
) -> None:
    clips = ClipStore(database)
    (clip,) = some_clips(state=ClipState.EXPORTED)
    give_keyframes(clip, clips, object_store)
    run(clip, database, object_store, Defective())
    assert clips.retry(clip.id).state == ClipState.KEYFRAMED
