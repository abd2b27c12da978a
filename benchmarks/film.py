"""A film of 190 s from its submission to clips that can be reviewed, and to their files, by the programs that a user types.

Beside it PySceneDetect with its adaptive detector, and its own way to split the film, which encodes every scene again. All in turn.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest
from pathlib import Path

from benchmarks.table import Row, at_least, at_most
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.media.ffmpeg import ffmpeg_path
from resources.postgres import embedded_postgres
from resources.postgres.database import open_database
from tests.footage import FOOTAGE

_SHOTS, _SHOT_FRAMES, _FRAME_RATE = 64, 74, 25
_WIDTH, _HEIGHT = 640, 360
_ROUNDS = 3
_DEFAULT = Settings().detector
_DETECTORS = (_DEFAULT, "adaptive")
_MOST_SECONDS = 25.0
_SPLIT = """
import sys
from scenedetect import AdaptiveDetector, detect, split_video_ffmpeg
split_video_ffmpeg(sys.argv[1], detect(sys.argv[1], AdaptiveDetector(), start_in_scene=True), output_dir=sys.argv[2])
"""
_DONE = re.compile(r": (?P<assets>[a-z_, ]+) done in (?P<seconds>[0-9.]+) s$")


@dataclass(frozen=True, slots=True)
class _Took:
    """Seconds as the clock of the wall shows them, the start of the programs with it; run_seconds: those of the runs alone."""

    to_clips: float
    to_files: float
    run_seconds: float

    @property
    def in_all(self) -> float:
        return self.to_clips + self.to_files


def run() -> list[Row]:
    ours: dict[str, list[_Took]] = {detector: [] for detector in _DETECTORS}
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="heaters-film-") as name:
        Path(name).chmod(0o711)  # as root the server of the database runs as another user
        film = _film(Path(name))
        for number in range(_ROUNDS):
            for detector in _DETECTORS:
                ours[detector].append(_ours(film, detector, Path(name) / f"{detector}{number}"))
            theirs.append(_theirs(film, Path(name) / f"split{number}"))
    split = statistics.median(theirs)
    note = f"{_SHOTS} shots of {_SHOT_FRAMES} frames, {_WIDTH}x{_HEIGHT} with sound; median of {_ROUNDS}, in turn"
    rows = [Row("PySceneDetect: adaptive detector, split by encoding again", split, "s", note=note)]
    for detector in _DETECTORS:
        called = f"{detector}, the default" if detector == _DEFAULT else detector
        to_clips, to_files, in_all, of_runs = (
            statistics.median(values)
            for values in zip(*((one.to_clips, one.to_files, one.in_all, one.run_seconds) for one in ours[detector]), strict=True)
        )
        rows += [
            Row(f"{called}: from submission to clips for review", to_clips, "s", note="the start of heaters submit and process with it"),
            Row(f"{called}: from there to the files of all clips", to_files, "s", note="the start of heaters process with it"),
            Row(f"{called}: both", in_all, "s"),
            _runs_row(f"{called}: both, without the starts, as heaters up has them behind it", of_runs, detector),
            at_least(f"PySceneDetect against {detector}", split / in_all, "times", 1, "the starts of all programs counted"),
        ]
    return rows


def _runs_row(name: str, seconds: float, detector: str) -> Row:
    return at_most(name, seconds, "s", _MOST_SECONDS) if detector == _DEFAULT else Row(name, seconds, "s")


def _ours(film: Path, detector: str, home: Path) -> _Took:
    """What a user types, on a database that is there already."""
    home.mkdir(mode=0o711)
    settings = Settings(home=home, detector=detector, embedding_model="none", embedding_fallback=True)
    open_database(settings).dispose()
    try:
        began = time.monotonic()
        _heaters(settings, "submit", str(film))
        first = _processed(settings, "virtual_clips")
        to_clips = first[0] - began
        _heaters(settings, "review", "approve", "--all", "--video", "1")
        began = time.monotonic()
        second = _processed(settings, "exports")
        return _Took(to_clips, second[0] - began, first[1] + second[1])
    finally:
        embedded_postgres.remove(settings.postgres_folder)


def _processed(settings: Settings, asset: str) -> tuple[float, float]:
    """`heaters process` until the run that makes `asset` was done: when, and how many seconds the runs until then took.

    It is ended then: what follows, as the gold master, makes nobody wait.
    """
    spent, at = 0.0, None
    with subprocess.Popen([_program(), "process"], env=_environment(settings), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if done := _DONE.search(line.rstrip()):
                spent += float(done["seconds"])
                if asset in done["assets"].split(", "):
                    at = time.monotonic()
                    break
        process.terminate()
    if at is None:
        raise RuntimeError(f"heaters process ended with {process.returncode}, and made no {asset}")
    return at, spent


def _heaters(settings: Settings, *words: str) -> None:
    subprocess.run([_program(), *words], env=_environment(settings), check=True, capture_output=True)


def _program() -> str:
    return str(Path(sys.executable).with_name("heaters"))


def _environment(settings: Settings) -> dict[str, str]:
    return child_environment(settings, COLUMNS="1000")  # one line for each run


def _theirs(film: Path, folder: Path) -> float:
    folder.mkdir()
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", _SPLIT, str(film), str(folder)], check=True, capture_output=True)
    return time.monotonic() - began


def _film(folder: Path) -> Path:
    path = folder / "film.mp4"
    picture = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{_WIDTH}x{_HEIGHT}", "-r", str(_FRAME_RATE), "-i", "pipe:0"]
    sound = ["-f", "lavfi", "-i", f"anoisesrc=amplitude=0.1:seed=1:duration={_SHOTS * _SHOT_FRAMES / _FRAME_RATE}"]
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-c:a", "aac"]
    with subprocess.Popen([*_ffmpeg(), *picture, *sound, *encode, str(path)], stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for place in islice(cycle(_places()), _SHOTS):
            encoder.stdin.write(_shot(*place))
        encoder.stdin.close()
    if encoder.returncode:
        raise RuntimeError("the film could not be made")
    return path


def _places() -> list[tuple[Path, float]]:
    """Files, and the second at which a shot begins that is long enough; of one file after another. Of the footage whose cuts are known,
    or, without it, of the samples, whose shots are not."""
    if not (FOOTAGE / "truth.json").is_file():
        samples = sorted((PROJECT_ROOT / "samples").glob("*.mp4"))
        return [(sample, at) for at in (0.0, 1.3, 2.6, 3.9, 5.2) for sample in samples]
    of_files: list[list[tuple[Path, float]]] = []
    for name, film in json.loads((FOOTAGE / "truth.json").read_text()).items():
        begins = [0, *(cut.get("end", cut["frame"]) + 2 for cut in film["boundaries"])]
        ends = [*(cut.get("start", cut["frame"]) - 2 for cut in film["boundaries"]), film["frames"]]
        long = _SHOT_FRAMES / _FRAME_RATE * film["fps"]
        places = [(FOOTAGE / name, begin / film["fps"]) for begin, end in zip(begins, ends, strict=True) if end - begin >= long]
        of_files += [places] if not name.startswith("hc_") else []  # those are damaged on purpose
    return [place for row in zip_longest(*of_files) for place in row if place is not None]


def _shot(file: Path, at_seconds: float) -> bytes:
    fitted = f"scale={_WIDTH}:{_HEIGHT}:force_original_aspect_ratio=decrease,pad={_WIDTH}:{_HEIGHT}:-1:-1,setsar=1,fps={_FRAME_RATE}"
    pixels = ["-vf", f"{fitted},tpad=stop=-1:stop_mode=clone", "-pix_fmt", "yuv420p", "-frames:v", str(_SHOT_FRAMES)]
    command = [*_ffmpeg(), "-ss", f"{at_seconds:.3f}", "-i", str(file), "-an", *pixels, "-f", "rawvideo", "pipe:1"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def _ffmpeg() -> list[str]:
    return [ffmpeg_path(), "-nostdin", "-v", "error", "-y"]
