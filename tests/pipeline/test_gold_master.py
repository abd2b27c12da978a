"""The gold master asset: published once, proven, and never in the way of anything else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dagster as dg
import pytest

from assets.gold_master import gold_master, make_gold_master
from assets.metadata import store
from heaters_dagster.domain.errors import BusyError, PermanentError
from heaters_dagster.domain.keys import gold_master_key, original_key
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.checks import gold_master_problems
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.media.gold_masters import master_problems
from resources.media.media_probe import probe
from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.media_files import ffmpeg, make_video
from tests.proxy_files import local_copy, stored_video


@pytest.fixture
def video(database: Database, object_store: ObjectStore, tmp_path: Path) -> SourceVideo:
    return stored_video(make_video(tmp_path / "holiday.mp4", frames=12, b_frames=2), tmp_path, database=database, objects=object_store)


class Remote(LocalObjectStore):
    def local_path(self, key: str) -> Path | None:
        return None


def make(video: SourceVideo, database: Database, objects: ObjectStore, folder: Path) -> SourceVideo:
    work = WorkFolder(folder / "work")
    return make_gold_master(video.id, database=database, objects=objects, work=work, storage_class="GLACIER").video


def test_the_master_is_published_with_key_and_hash_on_the_row_and_the_state_untouched(
    video: SourceVideo, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    made = make(video, database, object_store, tmp_path)
    key = gold_master_key(video.id)
    object_store.restore(key, days=1, tier="Standard")  # where it lies in cold storage
    path, original = (local_copy(object_store, one, tmp_path) for one in (key, original_key(video.id, ".mp4")))
    assert (made.gold_master_filepath, made.gold_master_error, made.state) == (key, None, video.state)
    assert made.gold_master_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert master_problems(original, probe(original), path) == []
    assert made.warnings == ()
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.folder
def test_a_master_that_is_there_is_not_made_again(
    video: SourceVideo, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    first = make(video, database, object_store, tmp_path)
    path = object_store.local_path(gold_master_key(video.id))
    assert path is not None
    modified = path.stat().st_mtime_ns
    assert make(video, database, object_store, tmp_path) == first
    assert path.stat().st_mtime_ns == modified
    object_store.delete(gold_master_key(video.id))
    make(video, database, object_store, tmp_path)
    assert object_store.info(gold_master_key(video.id)) is not None


@pytest.mark.folder
@pytest.mark.parametrize("left", [b"", b"half a master"])
def test_a_master_of_another_size_is_found_out_also_where_it_cannot_be_read_and_is_made_again(
    left: bytes, video: SourceVideo, database: Database, object_store: LocalObjectStore, tmp_path: Path
) -> None:
    remote = Remote(object_store.folder)
    made = make(video, database, remote, tmp_path)
    assert gold_master_problems(video.id, database=database, objects=remote) == []
    object_store.put_bytes(gold_master_key(video.id), left)
    (problem,) = gold_master_problems(video.id, database=database, objects=remote)
    assert f"it has {len(left)} bytes, not {made.gold_master_bytes}" in problem
    make(video, database, remote, tmp_path)
    assert gold_master_problems(video.id, database=database, objects=remote) == []


@pytest.mark.folder
def test_the_storage_class_is_passed_on(video: SourceVideo, database: Database, object_store: LocalObjectStore, tmp_path: Path) -> None:
    seen: dict[str, str] = {}

    class Noting(LocalObjectStore):
        def put_file(self, key: str, path: Path, *, storage_class: str = "STANDARD", progress: object = None) -> ObjectInfo:
            seen[key] = storage_class
            return super().put_file(key, path)

    make(video, database, Noting(object_store.folder), tmp_path)
    assert seen == {gold_master_key(video.id): "GLACIER"}


@pytest.mark.folder
def test_a_remote_original_is_fetched_first(video: SourceVideo, database: Database, object_store: LocalObjectStore, tmp_path: Path) -> None:
    assert make(video, database, Remote(object_store.folder), tmp_path).gold_master_sha256


def test_sound_kept_in_another_form_is_a_warning_on_the_row(database: Database, object_store: ObjectStore, tmp_path: Path) -> None:
    inputs = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1"]
    original = ffmpeg([*inputs, "-c:v", "mjpeg", "-c:a", "pcm_f32be"], tmp_path / "s.mov")
    video = stored_video(original, tmp_path, database=database, objects=object_store)
    assert make(video, database, object_store, tmp_path).warnings == (
        "sound stream 1 (pcm_f32be) cannot be stored in Matroska: the gold master has it losslessly as pcm_f32le",
    )


def test_without_an_original_there_is_no_master(database: Database, object_store: ObjectStore, tmp_path: Path) -> None:
    video = SourceVideoStore(database).add("/videos/holiday.mp4", "Holiday")
    with pytest.raises(PermanentError, match="has no original yet \\(its state: new\\)"):
        make(video, database, object_store, tmp_path)


def test_two_processes_do_not_make_one_master_at_once(
    video: SourceVideo, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    with database.stage_lock("gold_master", video.id), pytest.raises(BusyError):
        make(video, database, object_store, tmp_path)


def materialized(video: SourceVideo, settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(source_video_partitions.name), [str(video.id)])
        return dg.materialize(
            [gold_master], partition_key=str(video.id), resources=dagster_resources(settings), instance=instance, raise_on_error=False
        )


def test_the_asset_says_what_an_operator_wants_to_know(video: SourceVideo, settings: Settings) -> None:
    result = materialized(video, settings)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["key"].value == gold_master_key(video.id)
    assert metadata["source video"].value == video.title
    assert str(metadata["size"].value).endswith(" KiB")
    assert metadata["made in seconds"].value > 0
    assert "speed, times real time" in metadata
    assert metadata["proof"].value == "12 frames equal the original's by SHA-256; its sound equals the original's, sample by sample"
    assert metadata["store"].value == store(settings).value
    assert ("storage class" in metadata) == (settings.object_bucket is not None)
    assert gold_master.op.pool == "gold_master"


def test_a_failure_is_on_the_row_and_changes_no_state(
    video: SourceVideo, settings: Settings, object_store: ObjectStore, database: Database
) -> None:
    object_store.put_bytes(original_key(video.id, ".mp4"), b"no longer a video" * 100)
    result = materialized(video, settings)
    assert not result.success
    after = SourceVideoStore(database).load(video.id)
    assert after.state == SourceVideoState.SCENES_DETECTED
    assert after.gold_master_filepath is None
    assert "holiday" in str(after.gold_master_error)
    assert object_store.info(gold_master_key(video.id)) is None
