"""The proxy pass with scene scores, against one bare ffmpeg that makes the same proxy alone; and its memory, for 5 minutes and 2 hours."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from assets.proxy_pass import proxy_pass
from benchmarks.table import Row, at_most
from heaters_dagster.domain.frame_index import encoded
from heaters_dagster.domain.profiles import EXACT_TIMES, PROXY_VIDEO
from heaters_dagster.domain.scenes import encoded as encoded_scenes
from heaters_dagster.settings import Settings
from resources.media.ffmpeg import ffmpeg_path
from resources.media.media_probe import probe

_SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "tears_of_steel_battle.mp4"
_DEFAULT = Settings().detector
#: A clip, of which the beginning and the end count most, and a film.
_CLIP_SECONDS, _FILM_SECONDS = 30, 120
_ROUNDS = 3
_SAMPLING_SECONDS = 0.2
_SHORT_SECONDS, _LONG_SECONDS = 300, 7200
#: A tenth more than five minutes took, 471 MiB, when the limit was set. As a ratio it would be the harder to keep, the less a short video
#: takes.
_MOST_MIB = 518.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Libraries are loaded before anything is timed.
        _pass(looped_sample(folder, "720", _CLIP_SECONDS), folder / "proxy.mp4", _DEFAULT)
        return [*_speed(folder, _CLIP_SECONDS, ("adaptive", _DEFAULT)), *_speed(folder, _FILM_SECONDS, (_DEFAULT,)), *_memory(folder)]


def _speed(folder: Path, length_seconds: int, detectors: Sequence[str]) -> list[Row]:
    source = looped_sample(folder, "720", length_seconds)
    ways: dict[str, Callable[[], object]] = {"bare": lambda: _bare(source, folder / "bare.mp4")}
    for detector in detectors:
        ways[detector] = partial(_pass, source, folder / "proxy.mp4", detector)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(_ROUNDS):
        for way, make in ways.items():
            began = time.perf_counter()
            make()
            seconds[way].append(time.perf_counter() - began)
    taken = {way: statistics.median(each) for way, each in seconds.items()}
    how = f"{length_seconds} s of 1280x720 with sound, median of {_ROUNDS}"
    rows = [Row(f"bare ffmpeg, the proxy alone, {length_seconds} s", taken["bare"], "s", note=how)]
    for detector in detectors:
        label = f"proxy, index and scores of {detector}{', the default' if detector == _DEFAULT else ''}, against bare, {length_seconds} s"
        rows.append(at_most(label, taken[detector] / taken["bare"], "times", 1.3, f"{taken[detector]:.1f} s"))
    return rows


def _memory(folder: Path) -> list[Row]:
    """With the default detector; most of the picture stands still, so that two hours of it are measured in minutes."""
    short, long = (
        _peak_mib(looped_sample(folder, "180", seconds, still_seconds=174), folder) for seconds in (_SHORT_SECONDS, _LONG_SECONDS)
    )
    return [
        Row(
            "peak memory, 5 minutes",
            short,
            "MiB",
            note=f"{_DEFAULT}; this process and ffmpeg together, 320x180 with sound, most of it standing still",
        ),
        at_most(
            "peak memory, 2 hours",
            long,
            "MiB",
            _MOST_MIB,
            "what grows is FFmpeg's table of an MP4 original, here and in ffmpeg, and what the detector keeps of each frame",
        ),
        Row("what each further hour takes", (long - short) * 3600 / (_LONG_SECONDS - _SHORT_SECONDS), "MiB"),
    ]


def _bare(source: Path, target: Path) -> None:
    options = {**PROXY_VIDEO, **EXACT_TIMES, "c:a": "aac", "b:a": "128k", "movflags": "+faststart"}
    arguments = [part for name, value in options.items() for part in (f"-{name}", str(value))]
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-i", str(source), *arguments, str(target)], check=True)


def _pass(source: Path, target: Path, detector: str) -> None:
    """All that the stage does before it publishes."""
    made = proxy_pass(source, probe(source), target, detector=detector, called=source.name)
    encoded(made.index)
    encoded_scenes(detector, made.scores)


def looped_sample(folder: Path, height: str, seconds: int, still_seconds: int = 0) -> Path:
    """The sample, scaled, again and again for `seconds`. still_seconds: only its first 6 s, then the last of these frames so long."""
    once, path = folder / f"{height}.mp4", folder / f"{height}_{seconds}.mp4"
    silent = [ffmpeg_path(), "-nostdin", "-v", "error", "-y"]
    if not once.exists():
        picture, sound, part = f"scale=trunc({height}*16/9/2)*2:{height},setsar=1", "anull", []
        if still_seconds:
            picture += f",tpad=stop_mode=clone:stop_duration={still_seconds}"
            sound, part = f"apad=pad_dur={still_seconds}", ["-t", "6"]
        filters = ["-vf", picture, "-af", sound]
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac"]
        encode += ["-g", "99999"] if still_seconds else []  # a keyframe is a small change
        subprocess.run([*silent, *part, "-i", str(_SAMPLE), *filters, *encode, str(once)], check=True)
    if not path.exists():
        subprocess.run([*silent, "-stream_loop", "-1", "-i", str(once), "-t", str(seconds), "-c", "copy", str(path)], check=True)
    return path


def _peak_mib(source: Path, folder: Path) -> float:
    """The most memory that a process which makes one proxy ever held, and its ffmpeg, added up."""
    child = [sys.executable, "-m", "benchmarks.proxy_pass", str(source), str(folder / "memory.mp4"), _DEFAULT]
    done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["peak_mib"])


class _Peak(threading.Thread):
    """Asks the kernel for its high-water marks: what is sampled now and then looks the larger the longer one looks."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._of_children = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_SAMPLING_SECONDS):
            self._of_children = max([self._of_children, *map(_high_water_mib, _children(os.getpid()))])

    def end(self) -> float:
        self._over.set()
        self.join()
        return _high_water_mib(os.getpid()) + self._of_children


def _children(parent: int) -> list[int]:
    """Those that run a program of their own: one that was only just forked still shows its parent's memory."""
    children = [int(child) for tasks in Path(f"/proc/{parent}/task").glob("*/children") for child in tasks.read_text().split()]
    return [child for child in children if _program(child) not in {None, _program(parent)}]


def _program(process: int) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/exe")
    except OSError:
        return None


def _high_water_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    watch = _Peak()
    watch.start()
    _pass(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    print(json.dumps({"peak_mib": watch.end()}))
