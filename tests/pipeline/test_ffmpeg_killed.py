"""ffmpeg alone is killed, in each stage that runs it: nothing half made is kept, and the next try succeeds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from assets.virtual_clips import recut
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.errors import TransientError
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.media.ffmpeg import ffmpeg_path
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit
from tests.media_files import make_video
from tests.pipeline_rows import reviews
from tests.this_machine import child_processes, command_line

pytestmark = pytest.mark.folder


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True, keyframe_strategy="midpoint")


@contextmanager
def killing_one_ffmpeg(writes: Callable[[list[str]], bool]) -> Iterator[list[list[str]]]:
    """Meanwhile the first ffmpeg of this process whose command line is meant gets SIGKILL. Gives the command lines of those killed."""
    killed: list[list[str]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set() and not killed:
            for child in child_processes():
                command = command_line(child)
                if command and command[0] == str(ffmpeg_path()) and writes(command):
                    os.kill(child, signal.SIGKILL)
                    killed.append(command)
                    break
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        done.set()
        watcher.join()


def test_killed_in_each_stage_it_is_tried_again_and_all_is_done(
    settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")

    with killing_one_ffmpeg(lambda command: "libx264" in command) as killed:
        assert process_due(settings, only=[video.id]).failures == []
    assert len(killed) == 1
    assert (videos.load(video.id).state, videos.load(video.id).attempts) == (SourceVideoState.SCENES_DETECTED, 0)

    videos.update(video.id, gold_master_filepath=None)
    object_store.delete(gold_master_key(video.id))
    with killing_one_ffmpeg(lambda command: "ffv1" in command) as killed:
        assert process_due(settings).failures == []
    assert len(killed) == 1
    assert videos.load(video.id).gold_master_filepath == gold_master_key(video.id)

    for clip, profile in zip(clips.load_live(video.id), ("delivery", "gold_master"), strict=True):
        reviews(database).approve([clip.id], reviewer="ada")
        ExportStore(database).request(clip.id, profile)
        with killing_one_ffmpeg(lambda command: "libx264" in command) as killed:
            process_due(settings)
        assert len(killed) == 1, profile
    assert process_due(settings).failures == []
    assert {clip.state for clip in clips.load_live(video.id)} == {ClipState.EMBEDDED}
    assert audit(database, object_store) == []
    assert list(settings.work_folder.iterdir()) == []


def test_killed_while_another_detector_scores_the_cuts_stay_as_they_are(
    settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    assert process_due(settings).failures == []
    before = [(clip.id, clip.start_frame) for clip in clips.load_live(video.id)]
    with killing_one_ffmpeg(lambda command: any(part.endswith("_proxy.mp4") for part in command)) as killed:
        with pytest.raises(TransientError):
            recut(video.id, database=database, objects=object_store, settings=settings, detector="histogram")
    assert len(killed) == 1
    assert [(clip.id, clip.start_frame) for clip in clips.load_live(video.id)] == before
    assert audit(database, object_store) == []
