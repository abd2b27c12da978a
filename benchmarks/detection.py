"""Shot boundaries of every detector, by kind, against hand-checked ones, scored in the proxy pass or of the proxy; what the network costs.

The labelled footage is not part of the repository: HEATERS_FOOTAGE names a folder with videos, `truth.json` and its scorer `score.py`.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.proxy_pass import proxy_pass
from benchmarks.table import Row, at_least, at_most
from heaters_dagster.domain import scenes
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.profiles import scene_scores
from heaters_dagster.registries import DETECTORS
from resources.media.ffmpeg import run as run_ffmpeg
from resources.media.media_probe import probe
from resources.media.side_streams import ScorePass
from resources.models.scores.transnetv2 import TransNetV2Scores
from resources.models.scores.transnetv2_ways import Way
from tests.footage import FOOTAGE

_DEFAULT, _NETWORK = "learned", "transnetv2"
#: The pass that makes the proxy gives the scores of the network and of what is learned from it; the others look at the proxy.
_OF_THE_PROXY = ("content", "histogram", "threshold")
_SHOWN = (_DEFAULT, _NETWORK, "adaptive", "content", "histogram", "threshold")
_SHOWN_THRESHOLDS = {_DEFAULT: (0.3, 0.4, 0.6, 0.7), _NETWORK: (0.3, 0.4, 0.5)}
_LEAST_F1, _MOST_FALSE, _LEAST_HARD = 0.98, 3, 172
_FASTEST_OF = 5
_COST_FRAMES = 384
_LEAST_FASTER = 2.0

#: Of a transition or of what is none.
_NEAR_FRAMES = 2

Columns = Mapping[str, NDArray[np.float32]]
Found = Mapping[str, Sequence[Boundary]]


def run() -> list[Row]:
    truth_file = FOOTAGE / "truth.json"
    if not truth_file.is_file():
        return [Row("labelled footage", 0, "files", note=f"not measured: no {truth_file.name} in HEATERS_FOOTAGE"), *_cost()]
    truth = json.loads(truth_file.read_text())
    in_the_pass: dict[str, Columns] = {}
    of_the_proxy: dict[str, Columns] = {}
    still = _Still()
    with tempfile.TemporaryDirectory() as folder:
        proxy = Path(folder) / "proxy.mp4"
        for name in truth:
            in_the_pass[name] = scored_in_the_pass(FOOTAGE / name, proxy)
            of_the_proxy[name] = _scored_again(proxy, still)
    by_pass = {one: in_the_pass if one in (_DEFAULT, _NETWORK) else of_the_proxy for one in _SHOWN}
    found = {one: _found(by_pass[one], one) for one in _SHOWN}
    rows = [row for one in _SHOWN for row in _row(truth, found[one], one)]
    rows += [
        row
        for one, thresholds in _SHOWN_THRESHOLDS.items()
        for threshold in thresholds
        for row in _row(truth, _found(by_pass[one], one, threshold), one, threshold)
    ]
    rows += _kinds_found(truth, found)
    rows += _ranges(truth, found[_DEFAULT])
    return [*rows, still.row(), *_cost()]


class _Still:
    """Whether any boundary moves when the network is spared the stretches in which nothing moves."""

    def __init__(self) -> None:
        self._moved = self._left_out = self._frames = 0
        self._largest = 0.0

    def compare(self, spared: TransNetV2Scores, not_spared: TransNetV2Scores) -> None:
        with_gaps, with_all = spared.finish()[_NETWORK], not_spared.finish()[_NETWORK]
        found = [
            scenes.boundaries({_NETWORK: one}, DETECTORS.load(_NETWORK), DETECTORS.load(_NETWORK).default_threshold)
            for one in (with_gaps, with_all)
        ]
        self._moved += len({one.frame for one in found[0]} ^ {one.frame for one in found[1]})
        self._largest = max(self._largest, float(np.abs(with_gaps - with_all).max()))
        self._left_out, self._frames = self._left_out + spared.left_out, self._frames + len(with_all)

    def row(self) -> Row:
        note = f"{self._left_out:,} of {self._frames:,} frames spared the network; largest difference of a score {self._largest:.1e}"
        return at_most("boundaries moved by leaving out what stands still", self._moved, "", 0, note)


def scored_in_the_pass(path: Path, proxy: Path) -> Columns:
    """The scores as they are stored, from the pass that makes the proxy."""
    made = proxy_pass(path, probe(path), proxy, detector=_DEFAULT, called=path.name)
    return as_stored(_DEFAULT, made.scores)


def _scored_again(proxy: Path, still: _Still) -> Columns:
    """The scores of the other detectors, from one decode of the proxy, in which `still` looks on."""
    video = probe(proxy).video
    others = [stream for one in _OF_THE_PROXY for stream in DETECTORS.load(one).open_streams(width=video.width, height=video.height)]
    networks = TransNetV2Scores(), TransNetV2Scores(leave_out_still=False)
    scoring = ScorePass([*others, *networks])
    run_ffmpeg(scene_scores(scoring.side_streams), proxy, scoring.readers())
    still.compare(*networks)
    return as_stored(_OF_THE_PROXY[0], {name: column for stream in others for name, column in stream.finish().items()})


def as_stored(detector: str, scores: Columns) -> Columns:
    return scenes.decoded(scenes.encoded(detector, scores)).scores


def _found(scores: Mapping[str, Columns], detector: str, threshold: float | None = None) -> Found:
    entry = DETECTORS.load(detector)
    at = entry.default_threshold if threshold is None else threshold
    return {name: scenes.boundaries(columns, entry, at) for name, columns in scores.items()}


def _row(truth: Mapping[str, Any], found: Found, detector: str, threshold: float | None = None) -> list[Row]:
    scorer = _scorer()
    at = DETECTORS.load(detector).default_threshold if threshold is None else threshold
    scored = list(_scored(truth, found).values())
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
    return [
        at_least(f"{name}, the default", f1, "", _LEAST_F1, note),
        at_least("hard cuts found", hard, f"of {all_hard}", _LEAST_HARD),
        at_least("gradual transitions found", gradual, f"of {all_gradual}", all_gradual),
        at_most("false boundaries", total["fp"], "", _MOST_FALSE),
    ]


def _kinds_found(truth: Mapping[str, Any], found: Mapping[str, Found]) -> list[Row]:
    """Of each detector: how many of each kind of transition, and which of the things that look like a cut and are none."""
    rows = []
    for detector, boundaries in found.items():
        all_of, missed, false = Counter[str](), Counter[str](), Counter[str]()
        for name, one in _scored(truth, boundaries).items():
            kinds = {each["frame"]: each["type"] for each in truth[name]["boundaries"]}
            all_of.update(kinds.values())
            missed.update(kinds[frame] for frame in one["FN"])
            false.update(_there(truth[name], frame) for frame in one["FP"])
        shares = ", ".join(f"{kind} {all_of[kind] - missed[kind]} of {all_of[kind]}" for kind in sorted(all_of))
        none = ", ".join(f"{kind} {number}" for kind, number in sorted(false.items())) or "nothing"
        rows.append(Row(f"found by kind, {detector}", (all_of - missed).total(), f"of {all_of.total()}", note=f"{shares}; false at {none}"))
    return rows


def _there(film: Mapping[str, Any], frame: int) -> str:
    near = [one["type"] for one in film.get("not_cuts", ()) if one["start"] - _NEAR_FRAMES <= frame <= one["end"] + _NEAR_FRAMES]
    return str(near[0]).replace("_", " ") if near else "what has no name"


def _ranges(truth: Mapping[str, Any], found: Found) -> list[Row]:
    """What the default detector calls the transitions that it finds, and how far their frames are from those that were seen by eye."""
    called, off = Counter[tuple[str, str]](), []
    for name in _scored(truth, found):
        for one in truth[name]["boundaries"]:
            first, last = one.get("start", one["frame"]), one.get("end", one["frame"])
            near = [each for each in found[name] if first - _NEAR_FRAMES <= each.frame <= last + _NEAR_FRAMES and each.transition]
            if not near:
                continue
            told = min(near, key=lambda each: abs(each.frame - int(one["frame"]))).transition
            assert told is not None
            called[one["type"], str(told.kind)] += 1
            if told.frames is not None and one["type"] != "hard":
                off += [abs(told.frames[0] - first), abs(told.frames[1] - last)]
    words = ", ".join(f"{kind} as {name} {number}" for (kind, name), number in sorted(called.items()))
    right = sum(number for (kind, name), number in called.items() if name == kind or (kind, name) == ("hard", "jump"))
    return [
        Row("kinds told right", right, f"of {called.total()}", note=words),
        Row(
            "ends of ranges, median error",
            float(np.median(off)) if off else 0.0,
            "frames",
            note=f"{len(off)} ends; 90 % within {np.quantile(off, 0.9) if off else 0:.0f}",
        ),
    ]


def _scored(truth: Mapping[str, Any], found: Found) -> dict[str, dict[str, Any]]:
    scorer = _scorer()
    return {
        name: scorer.score_file(truth[name], [one.frame for one in boundaries])
        for name, boundaries in found.items()
        if truth[name].get("score") is not False
    }


def _cost() -> list[Row]:
    """Frames a second of the network's stage alone, as this machine runs it and as PyTorch does on the processors, in turn."""
    frames = np.random.default_rng(0).integers(0, 256, (_COST_FRAMES, 27, 48, 3)).astype(np.uint8)
    streams = {
        "as this machine runs it": TransNetV2Scores(both_heads=True),
        "PyTorch, bfloat16 where the processor has it": TransNetV2Scores(both_heads=True, way=Way.PROCESSORS),
        "PyTorch, float32": TransNetV2Scores(both_heads=True, way=Way.PROCESSORS, float32=True),
    }
    for stream in streams.values():
        stream.feed(frames)  # the networks are loaded, and their states filled, before the clock starts
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in streams}
    for _ in range(_FASTEST_OF):
        for name, stream in streams.items():
            began, spent = time.perf_counter(), time.process_time()
            stream.feed(frames)
            seconds[name].append((time.perf_counter() - began, time.process_time() - spent))
    fastest = {name: tuple(map(min, zip(*measured, strict=True))) for name, measured in seconds.items()}
    rows = [
        Row(f"TransNetV2 alone, {name}", _COST_FRAMES / wall, "frames/s", note=f"{_COST_FRAMES / spent:.0f} a second of one processor")
        for name, (wall, spent) in fastest.items()
    ]
    (ours, our_spent), (torchs, torch_spent), _ = fastest.values()
    note = f"{torch_spent / our_spent:.2f} by processor time; the same frames in turn, fastest of {_FASTEST_OF}"
    return [*rows, at_least("frames a second against PyTorch's", torchs / ours, "times", _LEAST_FASTER, note)]


@cache
def _scorer() -> Any:
    """The footage's own scorer: one-to-one matching within 2 frames, ranges to ignore, duplicates within a transition neutral."""
    spec = importlib.util.spec_from_file_location("footage_score", FOOTAGE / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
