"""From a reviewer's approval to the clip's file on disk, with Dagster's daemon and sensors running."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.table import Row, at_most
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.commands.up.start import heaters_parts
from heaters_dagster.commands.up.supervisor import Supervisor
from heaters_dagster.domain.keys import final_clip_key
from heaters_dagster.orchestration.instance import open_instance, prepare_dagster_home
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.open import open_object_store
from resources.postgres import embedded_postgres
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database, open_database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideoStore

_SAMPLE = PROJECT_ROOT / "samples" / "tears_of_steel_battle.mp4"
_CLIP_FRAMES = 25
_LONGEST_GAP_SECONDS = 8.0
_PATIENCE_SECONDS = 300.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="heaters-latency-") as name:
        settings = Settings(home=Path(name), detector="adaptive", embedding_model="none", embedding_fallback=True)
        database = open_database(settings)
        try:
            latencies = _measured(settings, database)
        finally:
            database.dispose()
            embedded_postgres.remove(settings.postgres_folder)
    note = f"{len(latencies)} approvals at random moments, up to {_LONGEST_GAP_SECONDS:.0f} s apart; keyframes and embeddings run beside"
    note += f"; load of the machine {os.getloadavg()[1]:.1f}"
    return [
        at_most("approval to file, 95th percentile", statistics.quantiles(latencies, n=20)[-1], "s", 5, note),
        at_most("approval to file, median", statistics.median(latencies), "s", 3),
        Row("approval to file, longest", max(latencies), "s"),
    ]


def _measured(settings: Settings, database: Database) -> list[float]:
    """Seconds from each approval to its file."""
    video = SourceVideoStore(database).add(str(_SAMPLE), "latency")
    outcome = process_due(settings)
    if outcome.failures:
        raise RuntimeError("\n".join(outcome.failures))
    objects = open_object_store(settings)
    reviews = ReviewStore(database, FrameIndexes(objects).times)
    frame_count = SourceVideoStore(database).load(video.id).frame_count or 0
    cuts = {clip.start_frame for clip in ClipStore(database).load_live(video.id)}
    for frame in range(_CLIP_FRAMES, frame_count, _CLIP_FRAMES):
        if frame not in cuts:
            reviews.add_cut_point(video.id, frame, reviewer="latency")
    clips = ClipStore(database).load_live(video.id)

    ready = threading.Event()
    with tempfile.TemporaryDirectory(prefix="heaters-") as folder, open_instance(settings):
        environment = child_environment(settings, DAGSTER_HOME=str(prepare_dagster_home(settings)))
        parts = [part for part in heaters_parts(settings, Path(folder)) if part.name in {"code", "daemon"}]
        supervisor = Supervisor(parts, environment=environment, say=lambda part, text: None)
        running = threading.Thread(target=supervisor.run, kwargs={"when_ready": ready.set})
        running.start()
        try:
            if not ready.wait(_PATIENCE_SECONDS):
                raise RuntimeError("Dagster's daemon did not start")
            return _approved(clips, settings, reviews)
        finally:
            supervisor.stop()
            running.join()


def _approved(clips: list[Clip], settings: Settings, reviews: ReviewStore) -> list[float]:
    """Approve all, one at a time at random moments, while watching for the files."""
    gaps, latencies = random.Random(1), []
    waiting: dict[Path, float] = {}
    left, next_approval = list(clips), time.monotonic()
    deadline = time.monotonic() + _PATIENCE_SECONDS + len(clips) * _LONGEST_GAP_SECONDS
    while left or waiting:
        now = time.monotonic()
        if now > deadline:
            raise RuntimeError(f"{len(waiting)} approved clips have no file after {_PATIENCE_SECONDS:.0f} s")
        if left and now >= next_approval:
            clip = left.pop()
            reviews.approve([clip.id], reviewer="latency")
            waiting[settings.objects_folder / final_clip_key(clip.source_video_id, clip.sequence)] = time.monotonic()
            next_approval = now + gaps.uniform(0, _LONGEST_GAP_SECONDS)
        for path in [path for path in waiting if path.is_file()]:
            latencies.append(time.monotonic() - waiting.pop(path))
        time.sleep(0.02)
    return latencies
