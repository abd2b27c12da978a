"""From a fetched original to clips that can be reviewed, against detecting scenes, encoding each one and making its sprite sheet."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from assets.proxy import proxy_pass
from benchmarks.table import Row, at_least
from heaters_dagster.domain.frame_index import encoded
from heaters_dagster.domain.scenes import boundaries, cut_list, cut_settings
from heaters_dagster.domain.scenes import encoded as encoded_scenes
from resources.ffmpeg import ffmpeg_path
from resources.media_probe import probe

_ROOT = Path(__file__).resolve().parent.parent
_FOOTAGE = _ROOT.parent / "shared" / "footage"
_SAMPLES = ("tears_of_steel_battle.mp4", "big_buck_bunny_vfr.mp4")
_ROUNDS = 3


def run() -> list[Row]:
    videos = [_ROOT / "samples" / name for name in _SAMPLES] + [
        path for name in ("bbb_480p_30s.mp4", "pyscenedetect_testvideo.mp4") if (path := _FOOTAGE / name).is_file()
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _ours(videos[-1], folder, "transnetv2")  # libraries are loaded before anything is timed
        ratios: dict[str, list[float]] = {"adaptive": [], "transnetv2": []}
        for video in videos:
            eager = _median(lambda video=video: _eager(video, folder))
            for detector, found in ratios.items():
                found.append(eager / _median(lambda video=video, detector=detector: _ours(video, folder, detector)))
    how = f"median of {_ROUNDS} for each of {len(videos)} videos; worst {{:.2f}}"
    return [
        at_least("eager against adaptive", statistics.median(ratios["adaptive"]), "times", 2, how.format(min(ratios["adaptive"]))),
        at_least("eager against TransNetV2", statistics.median(ratios["transnetv2"]), "times", 1.3, how.format(min(ratios["transnetv2"]))),
    ]


def _median(make: Callable[[], None]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        make()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _ours(video: Path, folder: Path, detector: str) -> None:
    """Proxy, frame index, scores and cuts: all that stands between the original and the review queue."""
    made = proxy_pass(video, probe(video), folder / "proxy.mp4", detector=detector, called=video.name)
    encoded(made.index)
    encoded_scenes(detector, made.scores)
    settings = cut_settings(detector, threshold=None, min_clip_frames=2)
    cut_list(boundaries(made.scores, detector, settings.threshold), len(made.index), settings.min_clip_frames)


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
