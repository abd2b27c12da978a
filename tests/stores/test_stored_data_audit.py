"""The nightly look over everything, on real rows and files."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.states import SourceVideoState
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit, coverage_problems, orphan_objects
from tests.pipeline_rows import cut_video, exported, reviews, video_in


def whole(database: Database, objects: ObjectStore) -> Clip:
    """A source video with all its objects; its first clip."""
    clip, *_ = cut_video(database)
    video = SourceVideoStore(database).load(clip.source_video_id)
    for key in (video.original_filepath, video.gold_master_filepath):
        assert key is not None
        objects.put_bytes(key, b"x")
    return clip


def title_of(database: Database, clip: Clip) -> str:
    return SourceVideoStore(database).load(clip.source_video_id).title


def test_all_is_well(database: Database, object_store: ObjectStore) -> None:
    exported(database, whole(database, object_store), object_store)
    assert audit(database, object_store) == []


def test_a_lost_file_is_named_with_its_owner(database: Database, object_store: ObjectStore) -> None:
    clip = exported(database, whole(database, object_store), object_store)
    object_store.delete(str(clip.clip_filepath))
    assert audit(database, object_store) == [
        f"{clip.clip_filepath} of clip {clip.sequence} of {title_of(database, clip)} is gone from the store"
        f"{remedy(str(clip.clip_filepath))}"
    ]


def test_a_file_without_a_row_is_named(database: Database, object_store: ObjectStore) -> None:
    whole(database, object_store)
    object_store.put_bytes("final_clips/video_1_clip_099.mp4", b"x")
    assert orphan_objects(database, object_store) == ["final_clips/video_1_clip_099.mp4"]
    assert audit(database, object_store) == ["final_clips/video_1_clip_099.mp4 is stored, but no row names it"]


def test_what_other_programs_keep_in_the_same_bucket_is_no_orphan(database: Database, object_store: ObjectStore) -> None:
    whole(database, object_store)
    object_store.put_bytes("backups/database.dump", b"x")
    assert audit(database, object_store) == []


def test_a_file_that_waits_for_its_clean_up_is_no_orphan(database: Database, object_store: ObjectStore) -> None:
    clip = exported(database, whole(database, object_store), object_store)
    reviews(database).archive([clip.id], reviewer="ada")
    assert audit(database, object_store) == []


def test_what_a_stage_stored_before_it_was_killed_is_no_orphan(database: Database, object_store: ObjectStore) -> None:
    video = video_in(database, SourceVideoState.PREPROCESSING)
    object_store.put_bytes(f"review_proxies/video_{video.id}_proxy.mp4", b"x")
    assert audit(database, object_store) == []


def test_clips_that_do_not_cover_their_source_video_are_named(database: Database) -> None:
    """The database keeps this out; somebody with a superuser's rights can bring it in."""
    clip, *_ = cut_video(database, (0, 30, 60))
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update clips set start_frame = 5, cut_kind = null where id = :id"), {"id": clip.id})
    problem = f"source video {clip.source_video_id}: frames 0..4 are in no clip"
    assert coverage_problems(database) == coverage_problems(database, clip.source_video_id) == [problem]
    assert coverage_problems(database, clip.source_video_id + 1) == []


def test_of_very_many_findings_some_are_said_and_the_rest_is_counted(
    database: Database, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.upkeep.audit.MOST_SAID", 2)
    monkeypatch.setattr("resources.upkeep.audit._KEYS_AT_ONCE", 2)
    clips = [exported(database, clip, object_store) for _ in range(5) for clip in (whole(database, object_store),)]
    for clip in clips:
        object_store.delete(str(clip.clip_filepath))
        object_store.put_bytes(f"keyframes/video_{clip.source_video_id}_clip_099_mid.jpg", b"x")
    assert audit(database, object_store) == [
        f"{clips[0].clip_filepath} of clip {clips[0].sequence} of {title_of(database, clips[0])} is gone from the store"
        f"{remedy(str(clips[0].clip_filepath))}",
        f"{clips[1].clip_filepath} of clip {clips[1].sequence} of {title_of(database, clips[1])} is gone from the store"
        f"{remedy(str(clips[1].clip_filepath))}",
        "and 3 more objects are gone from the store",
        f"keyframes/video_{clips[0].source_video_id}_clip_099_mid.jpg is stored, but no row names it",
        f"keyframes/video_{clips[1].source_video_id}_clip_099_mid.jpg is stored, but no row names it",
        "and 3 more objects are stored that no row names",
    ]
