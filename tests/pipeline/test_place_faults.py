"""A store that cannot be used is no failed try: nothing is begun, it is said once, and work goes on by itself when it is mended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.errors import PlaceError, StoreRefusedError, StoreUnavailableError
from heaters_dagster.domain.keys import original_key
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store import probe
from resources.object_store.local import LocalObjectStore
from resources.object_store.open import shared_object_store
from resources.object_store.promised_room import PromisedRoom
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import BucketServer
from tests.media_files import make_video
from tests.pipeline_rows import reviews

S, C = SourceVideoState, ClipState


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_GOOD_SECONDS", 0.0)
    monkeypatch.setattr(probe, "_BAD_SECONDS", 0.0)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_video(tmp_path / "film.mp4", frames=24, scenes=(12,))


def quick(settings: Settings, **changes: Any) -> Settings:
    return replace(
        settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True, keyframe_strategy="midpoint", **changes
    )


@pytest.mark.folder
def test_a_missing_bucket_is_said_once_and_no_row_counts_a_try(
    settings: Settings, database: Database, buckets: BucketServer, film: Path
) -> None:
    settings = quick(settings, bucket="not-there", s3_endpoint_url=buckets.url)
    videos = SourceVideoStore(database)
    ids = [videos.add(str(film), "film").id, videos.add(str(film.with_name("other.mp4")), "other").id]
    for _ in range(2):
        outcome = process_due(settings)
        assert (outcome.runs, outcome.held_up, outcome.failures) == ((), 2, [])
        assert outcome.problem == "there is no bucket not-there: correct S3_BUCKET_NAME, or make the bucket: heaters storage setup"
    assert [(video.state, video.attempts, video.error) for video in map(videos.load, ids)] == [(S.NEW, 0, None)] * 2
    buckets.client.create_bucket(Bucket="not-there")
    outcome = process_due(settings, only=ids[:1])
    assert (outcome.problem, outcome.failures) == (None, [])
    assert videos.load(ids[0]).state is S.SCENES_DETECTED


@pytest.mark.parametrize("stage", ["source_video", "proxy", "exports", "keyframes"])
def test_a_store_that_breaks_during_a_stage_costs_no_try(
    stage: str, settings: Settings, database: Database, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store refuses from the moment on that the stage writes its first object; mended, all goes on without a person."""
    settings = quick(settings)
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(film), "film")
    kind = type(shared_object_store(settings))
    broken = False
    begins = {"source_video": "originals/", "proxy": "metadata/", "exports": "final_clips/", "keyframes": "keyframes/"}[stage]

    def refusing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(store: Any, key: str, *arguments: Any, **options: Any) -> Any:
            nonlocal broken
            broken = broken or key.startswith(begins)
            if broken:
                raise StoreRefusedError("access denied. Give these credentials the right")
            return method(store, key, *arguments, **options)

        return call

    def checked(store: Any) -> None:
        if broken:
            raise StoreRefusedError("access denied. Give these credentials the right")

    if stage in {"exports", "keyframes"}:
        assert process_due(settings).failures == []
        reviews(database).approve([clip.id for clip in clips.load_live(video.id)], reviewer="ada")
    with monkeypatch.context() as patch:
        patch.setattr(kind, "put_file", refusing(kind.put_file))
        patch.setattr(kind, "put_bytes", refusing(kind.put_bytes))
        patch.setattr(kind, "check", checked)
        outcome = process_due(settings)
        assert outcome.problem == "access denied. Give these credentials the right"
        assert outcome.failures == []
        assert process_due(settings).held_up
    row = videos.load(video.id)
    assert (row.attempts, row.error) == (0, None)
    assert all((clip.attempts, clip.error) == (0, None) for clip in clips.load_live(video.id))
    assert process_due(settings).failures == []
    if stage in {"source_video", "proxy"}:
        reviews(database).approve([clip.id for clip in clips.load_live(video.id)], reviewer="ada")
        assert process_due(settings).failures == []
    assert {clip.state for clip in clips.load_live(video.id)} == {C.EMBEDDED}


@pytest.mark.folder
def test_a_store_that_refuses_one_object_and_takes_others_is_a_failure_of_the_row(
    settings: Settings, database: Database, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(store: Any, key: str, *arguments: Any, **options: Any) -> Any:
        raise StoreRefusedError(f"access denied to {key}")

    videos = SourceVideoStore(database)
    video = videos.add(str(film), "film")
    monkeypatch.setattr(LocalObjectStore, "put_file", refused)
    outcome = process_due(quick(settings))
    assert outcome.problem is None
    row = videos.load(video.id)
    assert (row.state, row.error) == (S.DOWNLOAD_FAILED, f"access denied to {original_key(video.id, '.mp4')}")


@pytest.mark.folder
def test_a_full_disk_is_a_fault_of_the_place(settings: Settings, database: Database, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = SourceVideoStore(database)
    video = videos.add(str(film), "film")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12 - 1000, 1000))  # type: ignore[attr-defined]
        outcome = process_due(quick(settings))
    assert outcome.problem is not None
    assert outcome.problem.startswith(f"no room left on the disk of {settings.objects_folder}")
    assert (videos.load(video.id).state, videos.load(video.id).attempts) == (S.NEW, 0)


def test_which_errors_are_asked_about(settings: Settings) -> None:
    objects = shared_object_store(settings)
    for error in (StoreUnavailableError("gone"), ValueError("a defect"), PermissionError(13, "denied")):
        probe.raise_fault_of_the_place(error, objects)  # the store is good: whatever failed, it was not the place
    with pytest.raises(PlaceError):
        probe.raise_fault_of_the_place(PlaceError("known already"), objects)


@pytest.mark.folder
def test_a_stage_without_room_waits_in_words_and_goes_on_when_there_is_room(
    settings: Settings, database: Database, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all stages that ask for room: no failed run, no failed try, and nothing is begun again before there is room."""
    settings = quick(settings)
    full = replace(settings, keep_free_mb=10**8)
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(film), "film")
    wait = "waits for room on the disk: needs [0-9.]+ kB, nothing is free"

    first = process_due(full)
    assert (first.failures, first.problem) == ([], None)
    assert [re.fullmatch(wait, str(run.note)) is not None for run in first.runs] == [True], "its size was known only when it was opened"
    assert [re.fullmatch(f"source video 1, film: ingest {wait}", one) is not None for one in first.waiting] == [True]
    assert first.sentence.endswith("1 run waits for room on the disk; nothing else is due.")
    assert process_due(full).runs == (), "it is not begun in vain again"

    with monkeypatch.context() as patch:
        patch.setattr(PromisedRoom, "promise", _refusing_once(["proxy", "gold_master"], PromisedRoom.promise))
        outcome = process_due(settings)
    assert outcome.failures == []
    assert [(run.job, bool(run.note)) for run in outcome.runs] == [
        (job, noted) for job in ("ingest", "archive_master") for noted in (True, False)
    ]
    reviews(database).approve([clip.id for clip in clips.load_live(video.id)], reviewer="ada")
    exporting = process_due(full)
    assert (exporting.failures, len(exporting.waiting)) == ([], 1)
    assert process_due(full).runs == ()
    assert process_due(settings).failures == []
    assert {clip.state for clip in clips.load_live(video.id)} == {C.EMBEDDED}
    row = videos.load(video.id)
    assert (row.state, row.attempts, row.error, row.gold_master_attempts, row.gold_master_error) == (S.SCENES_DETECTED, 0, None, 0, None)
    assert RoomWaitStore(database).load() == {}


def _refusing_once(stages: list[str], promise: Callable[..., None]) -> Callable[..., None]:
    """As on a disk that was filled by others between the look and the stage."""

    def call(room: PromisedRoom, folder: Path, byte_size: int) -> None:
        stage = folder.name.partition("-")[0]
        if stage in stages:
            stages.remove(stage)
            room.keep_free_bytes = 1 << 60
        promise(room, folder, byte_size)

    return call
