"""Objects that were deleted behind our back: audit and rows name them and say what to do, and that brings them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.keys import original_key
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit
from resources.upkeep.retries import retry_failed
from tests.media_files import make_video
from tests.pipeline_rows import reviews

pytestmark = pytest.mark.bucket


def test_what_was_deleted_is_named_with_what_to_do_and_that_brings_it_back(
    settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    quick = replace(
        settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True, keyframe_strategy="midpoint",
        gold_master_storage_class="STANDARD",
    )  # fmt: skip
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(make_video(tmp_path / "film.mp4", frames=24, scenes=(12,))), "film")
    assert process_due(quick).failures == []
    one, two = clips.load_live(video.id)
    reviews(database).approve([one.id], reviewer="ada")
    assert process_due(quick).failures == []
    whole = {info.key: info.byte_size for info in object_store.list()}
    cuts = [(clip.start_frame, clip.end_frame) for clip in (one, two)]

    row = videos.load(video.id)
    of_video = [str(key) for key in (row.proxy_filepath, row.frame_index_filepath, row.gold_master_filepath)]
    of_clip = [artifact.key for artifact in clips.artifacts(one.id)]
    assert len(of_clip) == 2, "a file and a still"
    for key in of_video + of_clip:
        object_store.delete(key)
    named = dict.fromkeys(of_video, f"source video {video.id}") | dict.fromkeys(of_clip, f"clip {one.sequence} of film")
    assert audit(database, object_store) == [f"{key} of {named[key]} is gone from the store{remedy(key)}" for key in sorted(named)]

    reviews(database).approve([two.id], reviewer="ada")
    process_due(quick)
    failed = clips.load(two.id)
    assert failed.state is ClipState.EXPORT_FAILED
    assert str(failed.error).startswith("no object ")
    assert str(failed.error).endswith("or type heaters retry 1, which lets it be made again from the original")

    told = retry_failed(database, videos=[video.id], objects=object_store)
    assert [sum(key in sentence for sentence in told) for key in named] == [1] * len(named)
    assert told[-1] == f"clip {two.sequence} of film: export failed, now approved"
    assert process_due(quick).failures == []
    assert {info.key: info.byte_size for info in object_store.list()}.items() >= whole.items()
    now = clips.load_live(video.id)
    assert [(clip.start_frame, clip.end_frame) for clip in now] == cuts
    assert {clip.state for clip in now} == {ClipState.EMBEDDED}
    assert audit(database, object_store) == []
    assert retry_failed(database, videos=[video.id], objects=object_store) == []

    object_store.delete(original_key(video.id, ".mp4"))
    (told_of_original,) = retry_failed(database, videos=[video.id], objects=object_store)
    assert "or type heaters refetch 1; what is made from it cannot be made again before" in told_of_original
