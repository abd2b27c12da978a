"""Vectors in pgvector: saved once per clip, model and strategy, found best first, and not starved by filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event, text

from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.stages import EMBEDDINGS, EXPORTS
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.clips.clip_search import ClipSearch
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.export_store import ExportStore
from tests.conftest import SomeClips

MODEL = "a-model"


def direction(degrees: float, size: int = 512) -> NDArray[np.float32]:
    """A unit vector in the plane of the first two axes."""
    vector = np.zeros(size, np.float32)
    vector[0], vector[1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


def save(database: Database, clip: Clip, vector: NDArray[np.float32], *, model: str = MODEL, strategy: str = "multi") -> bool:
    claimed = ClipStore(database).claim(clip.id, EMBEDDINGS)
    assert claimed is not None
    return EmbeddingStore(database).finish_embedding(
        clip.id, version=claimed.cut_point_version, model=model, strategy=strategy, vector=vector
    )


def test_nearest_clips_come_first_with_their_cosine(database: Database, some_clips: SomeClips) -> None:
    for clip, degrees in zip(some_clips(10, 20, 30, state=ClipState.KEYFRAMED), (80, 10, 40, 170), strict=True):
        assert save(database, clip, direction(degrees))
    hits = EmbeddingStore(database).search(direction(0), model=MODEL, limit=3)
    assert [hit.sequence for hit in hits] == [2, 3, 1]
    assert [hit.score for hit in hits] == pytest.approx([np.cos(np.radians(angle)) for angle in (10, 40, 80)], abs=1e-5)


def test_saving_makes_the_clip_embedded(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.KEYFRAMED)
    save(database, clip, direction(0))
    assert ClipStore(database).load(clip.id).state == ClipState.EMBEDDED


def test_a_clip_that_is_exported_again_is_still_found(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.KEYFRAMED)
    save(database, clip, direction(0))
    ExportStore(database).request(clip.id, "stream_copy")
    ClipStore(database).fail(clip.id, EXPORTS, "the disk is full", transient=False)
    assert [hit.clip_id for hit in EmbeddingStore(database).search(direction(0), model=MODEL)] == [clip.id]


def test_saving_again_replaces(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.KEYFRAMED)
    save(database, clip, direction(0))
    ClipStore(database).advance(clip.id, ClipState.EMBEDDING, ClipState.EMBEDDED)
    assert EmbeddingStore(database).finish_embedding(
        clip.id, version=clip.cut_point_version, model=MODEL, strategy="multi", vector=direction(90)
    )
    np.testing.assert_allclose(EmbeddingStore(database).vector(clip.id, model=MODEL), direction(90), atol=1e-6)
    assert EmbeddingStore(database).models() == {MODEL: 1}


def test_a_clip_that_changed_meanwhile_is_left_alone(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.KEYFRAMED)
    ClipStore(database).claim(clip.id, EMBEDDINGS)
    store = EmbeddingStore(database)
    assert not store.finish_embedding(clip.id, version=clip.cut_point_version + 1, model=MODEL, strategy="multi", vector=direction(0))
    assert store.models() == {}


def test_a_narrow_filter_does_not_starve_the_result_not_even_where_the_index_scan_ends_early(
    database: Database, some_clips: SomeClips
) -> None:
    """Nearer clips of another video are three times as many as pgvector looks at first. The second search is as with more vectors than it
    looks at in one scan, on an index that the planner must take."""
    many = some_clips(*range(1, 120), frame_count=120, state=ClipState.KEYFRAMED)
    for number, clip in enumerate(many):
        save(database, clip, direction(number * 0.1))
    far = some_clips(20, 40, state=ClipState.KEYFRAMED)
    for degrees, clip in zip((80, 85, 89), far, strict=True):
        save(database, clip, direction(degrees))
    hits = EmbeddingStore(database).search(direction(0), model=MODEL, limit=5, source_video_id=far[0].source_video_id)
    assert [hit.clip_id for hit in hits] == [clip.id for clip in far]
    small = Database.connect(database.url)
    try:
        event.listen(small.engine, "connect", index_only)
        with small.read() as connection:
            plan = connection.execute(
                text("explain select 1 from embeddings where dimensions = 512 order by embedding::vector(512) <=> (:near)::vector limit 3"),
                {"near": str(direction(0).tolist())},
            )
            assert "embeddings_hnsw_512_idx" in " ".join(plan.scalars())
        hits = EmbeddingStore(small).search(direction(0), model=MODEL, limit=5, source_video_id=far[0].source_video_id)
    finally:
        small.dispose()
    assert [hit.clip_id for hit in hits] == [clip.id for clip in far]


def index_only(connection: Any, record: object) -> None:
    names = ("enable_seqscan = off", "enable_sort = off", "enable_bitmapscan = off", "enable_hashjoin = off", "enable_mergejoin = off")
    with connection.cursor() as cursor:
        cursor.execute("load 'vector'")
        for setting in (*names, "hnsw.ef_search = 10", "hnsw.max_scan_tuples = 20"):
            cursor.execute(f"set {setting}")
    connection.commit()


def test_models_are_never_mixed(database: Database, some_clips: SomeClips) -> None:
    one, two = some_clips(50, state=ClipState.KEYFRAMED)
    save(database, one, direction(0), model="one")
    save(database, two, direction(0), model="two")
    assert [hit.clip_id for hit in EmbeddingStore(database).search(direction(0), model="two")] == [two.id]


def test_a_model_of_another_size_can_live_beside(database: Database, some_clips: SomeClips) -> None:
    one, two = some_clips(50, state=ClipState.KEYFRAMED)
    save(database, one, direction(0), model="large")
    save(database, two, direction(0, size=768), model="larger")
    assert [hit.clip_id for hit in EmbeddingStore(database).search(direction(0, size=768), model="larger")] == [two.id]


def test_near_duplicates_are_pairs_once(database: Database, some_clips: SomeClips) -> None:
    clips = some_clips(10, 20, state=ClipState.KEYFRAMED)
    for clip, degrees in zip(clips, (0, 3, 60), strict=True):
        save(database, clip, direction(degrees))
    (pair,) = EmbeddingStore(database).near_duplicates(model=MODEL)
    assert (pair.clip_id, pair.other_clip_id) == (clips[0].id, clips[1].id)
    assert pair.score == pytest.approx(np.cos(np.radians(3)), abs=1e-5)


def test_near_duplicates_are_found_in_one_query_however_many_clips(database: Database, some_clips: SomeClips) -> None:
    clips = some_clips(*range(1, 30), frame_count=30, state=ClipState.KEYFRAMED)
    for number, clip in enumerate(clips):
        save(database, clip, direction(number // 2 * 20))
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    pairs = EmbeddingStore(database).near_duplicates(model=MODEL)
    wanted = [(first.id, second.id) for first, second in zip(clips[::2], clips[1::2], strict=True)]
    assert sorted((pair.clip_id, pair.other_clip_id) for pair in pairs if pair.score > 0.999) == wanted
    assert len(statements) < 5


def test_what_a_change_of_model_leaves_to_do(database: Database, some_clips: SomeClips) -> None:
    one, two = some_clips(50, state=ClipState.KEYFRAMED)
    save(database, one, direction(0), model="old")
    save(database, two, direction(0), model="new")
    assert EmbeddingStore(database).without_embedding(model="new", strategy="multi") == [(one.id, one.source_video_id)]


def test_like_a_clip_leaves_the_clip_itself_out_and_names_the_model(database: Database, some_clips: SomeClips) -> None:
    clips = some_clips(10, 20, state=ClipState.KEYFRAMED)
    for clip, degrees in zip(clips, (0, 5, 60), strict=True):
        save(database, clip, direction(degrees))
    found = ClipSearch(database, Settings()).like(clips[0].id)
    assert [hit.clip_id for hit in found.hits] == [clips[1].id, clips[2].id]
    assert found.model == MODEL


def test_like_a_clip_without_vector_says_what_to_do(database: Database, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    with pytest.raises(NotFoundError, match=r"its state is pending_review\. A clip gets one after it was approved and exported"):
        ClipSearch(database, Settings()).like(clip.id)
