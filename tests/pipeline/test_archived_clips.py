"""Archived clips lose their files and keep their rows."""

from __future__ import annotations

import dagster as dg
import pytest

from assets.archived_clips import archived_clips, clean_up_archived_clips
from heaters_dagster.domain.errors import BusyError, StoreUnavailableError
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from tests.pipeline_rows import cut_video, exported, reviews


def stored(objects: ObjectStore) -> list[str]:
    return sorted(info.key for info in objects.list())


def test_an_archived_clip_loses_its_file_and_keeps_its_row(database: Database, object_store: ObjectStore) -> None:
    archived, kept, _ = cut_video(database)
    archived, kept = exported(database, archived, object_store), exported(database, kept, object_store)
    reviews(database).archive([archived.id], reviewer="ada")

    done = clean_up_archived_clips(archived.source_video_id, database=database, delete=object_store.delete)

    assert done.deleted == (archived.clip_filepath,)
    assert done.kept_rows == 1
    assert stored(object_store) == [kept.clip_filepath]
    row = ClipStore(database).load(archived.id)
    assert (row.state, row.is_live, row.clip_filepath) == (ClipState.REVIEW_ARCHIVED, True, None)
    assert [artifact.state for artifact in ClipStore(database).artifacts(archived.id, states=("live", "obsolete", "deleted"))] == [
        "deleted"
    ]


def test_the_files_of_clips_that_were_cut_anew_go_too(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    exported(database, clip, object_store)
    reviews(database).add_cut_point(clip.source_video_id, 10, reviewer="ada")
    clean_up_archived_clips(clip.source_video_id, database=database, delete=object_store.delete)
    assert stored(object_store) == []
    assert not ClipStore(database).load(clip.id).is_live


def test_a_second_clean_up_finds_nothing(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    exported(database, clip, object_store)
    reviews(database).archive([clip.id], reviewer="ada")
    clean_up_archived_clips(clip.source_video_id, database=database, delete=object_store.delete)
    assert clean_up_archived_clips(clip.source_video_id, database=database, delete=object_store.delete).deleted == ()


def test_what_could_not_be_deleted_is_deleted_next_time(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    exported(database, clip, object_store)
    reviews(database).archive([clip.id], reviewer="ada")

    def unavailable(key: str) -> None:
        raise StoreUnavailableError("the store does not answer")

    with pytest.raises(StoreUnavailableError):
        clean_up_archived_clips(clip.source_video_id, database=database, delete=unavailable)
    assert len(stored(object_store)) == 1
    clean_up_archived_clips(clip.source_video_id, database=database, delete=object_store.delete)
    assert stored(object_store) == []


def test_one_clean_up_at_a_time(database: Database, object_store: ObjectStore) -> None:
    clip, *_ = cut_video(database)
    with database.stage_lock("archived_clips", clip.source_video_id), pytest.raises(BusyError):
        clean_up_archived_clips(clip.source_video_id, database=database, delete=object_store.delete)


def test_the_asset_says_what_went(database: Database, object_store: ObjectStore, settings: Settings) -> None:
    clip, *_ = cut_video(database)
    clip = exported(database, clip, object_store)
    reviews(database).archive([clip.id], reviewer="ada")
    with dg.DagsterInstance.ephemeral() as instance:
        key = str(clip.source_video_id)
        instance.add_dynamic_partitions("source_videos", [key])
        graph_below = dg.AssetSpec("virtual_clips", partitions_def=archived_clips.partitions_def)
        result = dg.materialize(
            [graph_below, archived_clips],
            selection=["archived_clips"],
            partition_key=key,
            instance=instance,
            resources=dagster_resources(settings),
        )
    (materialization,) = result.asset_materializations_for_node("archived_clips")
    assert materialization.metadata["deleted files"].value == 1
    assert str(clip.clip_filepath) in str(materialization.metadata["keys"].value)
    assert stored(object_store) == []
