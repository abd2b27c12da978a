"""From a fetched original to clips that can be reviewed, against detecting scenes, encoding each one and making its sprite sheet."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from assets.proxy import make_proxy
from assets.source_video import fetch_source_video
from assets.virtual_clips import make_virtual_clips
from benchmarks.table import Row, at_least
from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.media.ffmpeg import ffmpeg_path
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.postgres import embedded_postgres
from resources.postgres.database import Database, open_database
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.downloader import Downloader, local_sha256
from tests.footage import FOOTAGE

_DETECTORS = {"adaptive": 2.0, Settings().detector: 1.8}
_SUFFIXES = {".mp4", ".avi"}

#: Makes one video ready for review, and says in how many seconds.
Stages = Callable[[Path], float]


def run() -> list[Row]:
    found = [*sorted((PROJECT_ROOT / "samples").glob("*.mp4")), *sorted(path for path in FOOTAGE.glob("*") if path.suffix in _SUFFIXES)]
    videos = list({local_sha256(path): path for path in found}.values())
    eager: dict[Path, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for video in videos:
            eager[video] = _seconds(partial(_eager, video, Path(folder)))
    rows = []
    for detector, promised in _DETECTORS.items():
        with _stages(detector) as ready:
            ready(videos[0])  # libraries are loaded and files cached before anything counts
            seconds = {video: ready(video) for video in videos[1:]}
        ratios = {video.name: eager[video] / seconds[video] for video in seconds}
        slow, fast = sum(eager[video] for video in seconds), sum(seconds.values())
        worst = min(ratios, key=lambda name: ratios[name])
        note = (
            f"{len(seconds)} videos together, {slow:.0f} s against {fast:.0f} s; "
            f"one video: median {statistics.median(ratios.values()):.2f}, least {ratios[worst]:.2f} ({worst})"
        )
        rows.append(at_least(f"eager against {detector}", slow / fast, "times", promised, note))
    return rows


@contextlib.contextmanager
def _stages(detector: str) -> Iterator[Stages]:
    """The stages of the pipeline themselves, on a Postgres and an object store of their own."""
    with tempfile.TemporaryDirectory(prefix="heaters-ready-") as name:
        Path(name).chmod(0o711)  # as root the server runs as another user
        settings = Settings(home=Path(name), detector=detector)
        database = open_database(settings)
        try:
            yield lambda video: _ours(video, settings, database)
        finally:
            database.dispose()
            embedded_postgres.remove(settings.postgres_folder)


def _ours(original: Path, settings: Settings, database: Database) -> float:
    """Seconds of all that stands between the fetched original and the review queue, from the proxy to the clips in Postgres."""
    videos, objects, work = SourceVideoStore(database), open_object_store(settings), WorkFolder(settings.work_folder)
    source_video_id = videos.add(str(original), "benchmark").id
    fetch_source_video(source_video_id, videos=videos, objects=objects, work=work, downloader=Downloader.from_settings(settings))

    def stages() -> None:
        make_proxy(source_video_id, videos=videos, objects=objects, work=work, detector=settings.detector)
        make_virtual_clips(source_video_id, database=database, objects=objects, work=work, settings=settings)

    return _seconds(stages)


def _seconds(make: Callable[[], None]) -> float:
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def _eager(video: Path, folder: Path) -> None:
    """The way it was done before: PySceneDetect on the original, libx264 medium for every scene, a sprite sheet of each."""
    from scenedetect import AdaptiveDetector, detect

    scenes = [(start.seconds, end.seconds) for start, end in detect(str(video), AdaptiveDetector(), start_in_scene=True)]
    for number, (start, end) in enumerate(scenes):
        clip = folder / f"scene_{number}.mp4"
        cut = ["-ss", f"{start:.6f}", "-t", f"{end - start:.6f}", "-i", str(video)]
        _ffmpeg(*cut, "-c:v", "libx264", "-preset", "medium", "-crf", "23", "-c:a", "aac", "-b:a", "128k", str(clip))
        sheet = f"fps=24,scale=160:-2,tile=5x{max(1, -(-int((end - start) * 24) // 5))}"
        _ffmpeg("-i", str(clip), "-vf", sheet, "-frames:v", "1", "-q:v", "3", str(folder / f"sprite_{number}.jpg"))


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-y", *arguments], check=True)
