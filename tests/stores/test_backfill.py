"""A change of model makes clips due again, and what follows is the pipeline's own."""

from __future__ import annotations

import numpy as np

from heaters_dagster.domain.keys import keyframe_key
from heaters_dagster.domain.stages import EMBEDDINGS, KEYFRAMES
from heaters_dagster.domain.states import ClipState
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.upkeep.backfill import start_backfill
from tests.pipeline_rows import cut_video, exported


def embedded(database: Database, objects: ObjectStore, clip: Clip, *, model: str, strategy: str) -> Clip:
    clips, key = ClipStore(database), f"keyframes/video_{clip.source_video_id}_clip_{clip.sequence:03d}_midpoint.jpg"
    clip = exported(database, clip, objects)
    clips.claim(clip.id, KEYFRAMES, [key])
    objects.put_bytes(key, b"jpeg")
    assert clips.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(key, 4, {})])
    clips.claim(clip.id, EMBEDDINGS)
    vector = np.zeros(8, np.float32)
    vector[0] = 1
    assert EmbeddingStore(database).finish_embedding(clip.id, version=clip.cut_point_version, model=model, strategy=strategy, vector=vector)
    return clips.load(clip.id)


def test_clips_of_another_model_or_strategy_become_due_and_others_do_not(database: Database, object_store: ObjectStore) -> None:
    current, old_model, old_strategy = cut_video(database)
    embedded(database, object_store, current, model="new", strategy="multi")
    embedded(database, object_store, old_model, model="old", strategy="multi")
    embedded(database, object_store, old_strategy, model="old", strategy="midpoint")

    assert start_backfill(database, model="new", strategy="multi") == [old_model.id, old_strategy.id]

    clips = ClipStore(database)
    states = [clips.load(clip.id).state for clip in (current, old_model, old_strategy)]
    assert states == [ClipState.EMBEDDED, ClipState.EMBEDDING, ClipState.KEYFRAMING]
    assert [clip.id for clip in clips.due(EMBEDDINGS)] == [old_model.id]
    assert [clip.id for clip in clips.due(KEYFRAMES)] == [old_strategy.id]
    assert start_backfill(database, model="new", strategy="multi") == []


def test_an_old_vector_stays_until_the_new_one_is_there(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    embedded(database, object_store, clip, model="old", strategy="multi")
    start_backfill(database, model="new", strategy="multi")
    assert EmbeddingStore(database).vector(clip.id, model="old").shape == (8,)


def test_clips_whose_embedding_failed_are_tried_again(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    clip = exported(database, clip, object_store)
    clips = ClipStore(database)
    key = keyframe_key(clip.source_video_id, clip.sequence, "mid")
    clips.claim(clip.id, KEYFRAMES, [key])
    clips.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(key, 4, {})])
    clips.claim(clip.id, EMBEDDINGS)
    clips.fail(clip.id, EMBEDDINGS, "the model cannot be had", transient=False)
    assert start_backfill(database, model="new", strategy="multi") == [clip.id]
    assert (clips.load(clip.id).state, clips.load(clip.id).attempts) == (ClipState.KEYFRAMED, 0)
