"""Shot boundaries of every detector against hand-checked ones, scored in the proxy pass as in production; and what the network costs.

The labelled footage is not part of the repository: HEATERS_FOOTAGE names a folder with videos, `truth.json` and its scorer `score.py`.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from assets.proxy import proxy_pass
from benchmarks.table import Row, at_least, at_most
from heaters_dagster.domain import scenes
from heaters_dagster.domain.profiles import SideStream, scene_scores
from resources.detectors.transnetv2 import TransNetV2Scores
from resources.ffmpeg import run as run_ffmpeg
from resources.media_probe import probe
from tests.footage import FOOTAGE

_DEFAULT = "transnetv2"
#: A pass with the first gives the scores of all its detectors.
_PASSES = {"fused": ("transnetv2", "fused"), "content": ("adaptive", "content"), "histogram": ("histogram",), "threshold": ("threshold",)}
_SHOWN_THRESHOLDS = (0.3, 0.33, 0.38, 0.4, 0.5)
_FASTEST_OF = 3
_COST_FRAMES = 480

Columns = Mapping[str, NDArray[np.float32]]


def run() -> list[Row]:
    truth_file = FOOTAGE / "truth.json"
    if not truth_file.is_file():
        return [Row("labelled footage", 0, "files", note=f"not measured: no {truth_file.name} in HEATERS_FOOTAGE"), *_cost()]
    truth = json.loads(truth_file.read_text())
    rows: list[Row] = []
    for detector, served in _PASSES.items():
        scores = dict(_scored(truth, detector))
        for one in served:
            rows += _row(truth, scores, one)
        if detector == "fused":
            rows += [row for threshold in _SHOWN_THRESHOLDS for row in _row(truth, scores, _DEFAULT, threshold)]
    return [*rows, _standing_still(truth), *_cost()]


def _scored(truth: Mapping[str, Any], detector: str) -> Iterator[tuple[str, Columns]]:
    """(file, scores as they are stored) of every labelled file, from the pass that makes its proxy."""
    with tempfile.TemporaryDirectory() as folder:
        for name in truth:
            path = FOOTAGE / name
            made = proxy_pass(path, probe(path), Path(folder) / "proxy.mp4", detector=detector, called=name)
            yield name, scenes.decoded(scenes.encoded(detector, made.scores)).scores


def _row(truth: Mapping[str, Any], scores: Mapping[str, Columns], detector: str, threshold: float | None = None) -> list[Row]:
    scorer = _scorer()
    at = scenes.DEFAULT_THRESHOLDS[detector] if threshold is None else threshold
    scored = [
        scorer.score_file(truth[name], [one.frame for one in scenes.boundaries(columns, detector, at)])
        for name, columns in scores.items()
        if truth[name].get("score") is not False
    ]
    total = scorer.total(scored)
    precision, recall, f1 = scorer.prf(total["tp"], total["fp"], total["fn"])
    (hard, all_hard), (gradual, all_gradual) = total["hard"], total["grad"]
    off = [abs(error) for one in scored for error in one["err"]]
    note = (
        f"precision {precision:.3f}, recall {recall:.3f}, hard {hard} of {all_hard}, gradual {gradual} of {all_gradual}, "
        f"{total['fp']} false; hard cuts off by {np.mean(off) if off else 0:.2f} frames"
    )
    name = f"F1, {detector} at {at:g}"
    if detector != _DEFAULT or threshold is not None:
        return [Row(name, f1, "", note=note)]
    return [at_least(f"{name}, the default", f1, "", 0.96, note), at_least("gradual transitions found", gradual, f"of {all_gradual}", 37)]


def _standing_still(truth: Mapping[str, Any]) -> Row:
    """Whether any boundary moves when the network is spared the stretches in which nothing moves."""
    moved, left_out, frames, largest = 0, 0, 0, 0.0
    for name in truth:
        shown = _network_frames(FOOTAGE / name)
        spared = TransNetV2Scores()
        with_all, with_gaps = _through(TransNetV2Scores(leave_out_still=False), shown), _through(spared, shown)
        both = [scenes.boundaries({_DEFAULT: one}, _DEFAULT, scenes.DEFAULT_THRESHOLDS[_DEFAULT]) for one in (with_all, with_gaps)]
        moved += len({one.frame for one in both[0]} ^ {one.frame for one in both[1]})
        largest = max(largest, float(np.abs(with_all - with_gaps).max()))
        left_out, frames = left_out + spared.left_out, frames + len(shown)
    note = f"{left_out:,} of {frames:,} frames spared the network; largest difference of a score {largest:.1e}"
    return at_most("boundaries moved by leaving out what stands still", moved, "", 0, note)


def _cost() -> list[Row]:
    """Frames a second of the network alone, on the machine's processors, with nothing else running."""
    frames = np.random.default_rng(0).integers(0, 256, (_COST_FRAMES, 27, 48, 3)).astype(np.uint8)
    rows = []
    for name, options in (("as the processor likes it", {}), ("in float32", {"float32": True})):
        seconds = []
        for _ in range(_FASTEST_OF):
            stream = TransNetV2Scores(**options)
            stream.feed(frames[:64])  # the network is loaded before the clock starts
            began = time.perf_counter()
            stream.feed(frames[64:])
            seconds.append(time.perf_counter() - began)
        rows.append(Row(f"TransNetV2 alone, {name}", (_COST_FRAMES - 64) / min(seconds), "frames/s", note="half of the processors"))
    return rows


def _network_frames(path: Path) -> NDArray[np.uint8]:
    """(n, 27, 48, 3) uint8 RGB."""
    wanted = TransNetV2Scores
    width, height = wanted.frame_size
    data: list[bytes] = []

    def read(pipe: IO[bytes]) -> None:
        data.append(pipe.read())

    run_ffmpeg(scene_scores([SideStream(width, height, wanted.pixel_format, wanted.scale_flags)]), path, [read])
    return np.frombuffer(data[0], np.uint8).reshape(-1, height, width, 3)


def _through(stream: TransNetV2Scores, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    stream.feed(frames)
    return stream.finish()[_DEFAULT]


def _scorer() -> Any:
    """The footage's own scorer: one-to-one matching within 2 frames, ranges to ignore, duplicates within a transition neutral."""
    spec = importlib.util.spec_from_file_location("footage_score", FOOTAGE / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
