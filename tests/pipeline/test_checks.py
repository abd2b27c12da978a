"""Asset checks pass on what the pipeline made, and name what was broken afterwards."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG
from sqlalchemy import text

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.definitions import ASSETS
from heaters_dagster.domain.errors import StoreUnavailableError
from heaters_dagster.domain.keys import gold_master_key, proxy_key
from heaters_dagster.orchestration.checks import CHECKS, approved_clips_have_files, judged
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from tests.media_files import make_video
from tests.pipeline_rows import reviews


def check(settings: Settings, key: str) -> dict[str, tuple[bool, str]]:
    """Check name -> (passed, what is wrong), of one partition."""
    of_videos = dg.AssetSelection.all_asset_checks() - dg.AssetSelection.checks(approved_clips_have_files)
    only_checks = dg.define_asset_job("only_checks", selection=of_videos)
    definitions = dg.Definitions(assets=ASSETS, asset_checks=CHECKS, jobs=[only_checks], resources=dagster_resources(settings))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source_videos", [key])
        result = definitions.resolve_job_def("only_checks").execute_in_process(instance=instance, tags={PARTITION_NAME_TAG: key})
        found = result.get_asset_check_evaluations()
        assert {str(one.metadata["source video"].value) for one in found} == {"film"}
        return {one.check_name: (one.passed, one.description or "") for one in found}


@pytest.mark.slow
def test_what_is_broken_is_named(settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path) -> None:
    settings = replace(settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True)
    film = make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))
    video = SourceVideoStore(database).add(str(film), "film")
    process_due(settings)
    reviews(database).approve([clip.id for clip in ClipStore(database).load_live(video.id)], reviewer="ada")
    process_due(settings)
    assert all(passed for passed, _ in check(settings, str(video.id)).values())

    master, proxy = gold_master_key(video.id), proxy_key(video.id)
    object_store.restore(master, days=1, tier="Standard")  # where it lies in cold storage
    object_store.put_bytes(master, object_store.get_bytes(master) + b"\0")
    first, newest = (info.key for info in object_store.list("final_clips/"))
    object_store.put_bytes(newest, object_store.get_bytes(first))  # the newest is the one that is looked at
    with database.begin() as connection:  # the database keeps this out, unless a superuser tells it not to look
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update source_videos set frame_count = 50"))
    found = check(settings, str(video.id))
    passed, problems = found["master_equals_original"]
    assert not passed
    told = "its SHA-256 differs" if object_store.local_path(master) else "it has "  # of a remote file only the size is looked at
    assert problems.startswith(f"{master} is not the file that was proven lossless: {told}")
    passed, problems = found["files_equal_the_proxy"]
    assert not passed
    assert "final_clips/video_1_clip_002.mp4" in problems
    assert "final_clips/video_1_clip_001.mp4" not in problems
    assert found["clips_are_mece"] == (False, "source video 1: frames 48..49 are in no clip")
    assert found["entries_decode_alone"][0]
    assert found["same_frames_at_the_same_times"][0]

    object_store.put_bytes(proxy, b"\0" * len(object_store.get_bytes(proxy)))
    passed, problems = check(settings, str(video.id))["entries_decode_alone"]
    assert not passed
    assert problems


def test_what_cannot_be_looked_at_is_no_pass() -> None:
    def unavailable() -> list[str]:
        raise StoreUnavailableError("the store does not answer")

    result = judged(unavailable)
    assert (result.passed, result.description) == (False, "could not be checked: the store does not answer")
