"""`python -m training.transnetv2_int8 SOURCES OUT`: how TransNetV2's values are rounded to bytes, and which of its channels are spared,
measured on made films.

SOURCES: the folder of `python -m training.cut_fusion.sources`. Writes OUT, to be copied to `resources/models/scores/transnetv2_int8_2.npz`
(87 kB). Rounding that changes the scores gets a new number. None of the footage on which the detector is checked is looked at.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.models.scores.transnetv2_int8 import Rounding, graph, prepared, seen_name
from resources.models.scores.transnetv2_narrow import Narrowing, narrowing_of
from resources.models.scores.transnetv2_openvino import BATCH_FRAMES, Convolutions, compiled
from resources.models.scores.transnetv2_steady import SteadyStates
from resources.models.scores.transnetv2_weights import load_arrays, weights_file
from training.cut_fusion.films import film
from training.cut_fusion.shots import FOLDS, load_sources

SEED = 777
_FILMS_OF_A_FOLD = 3
_FRAMES_OF_A_FILM = range(64, 320)
#: Values of each channel that are kept of each batch.
_SAMPLES = 96
#: Of each branch of a block, between its convolutions: a half in the first, whose pictures have three channels only; seven eighths in the
#: last two. Fewer of these, or of the others', cost cuts; and OpenVINO computes 16 channels at a time.
_CHANNELS = (16, 32, 64, 64, 112, 112)
#: A power of the channel's own range: 0 leaves the channels as they are, 1 makes them equal.
_EVENNESS_INSIDE, _EVENNESS_OUTSIDE = 0.5, 0.5
_SMALLEST_SCALE = 1e-3

Values = dict[str, NDArray[np.float32]]


def narrowings(sources: Path) -> dict[str, Narrowing]:
    """Of each branch, as its values in the exact network want it."""
    sums: dict[str, NDArray[np.float64]] = {}
    counts: Counter[str] = Counter()
    for place, seen in _watched(sources, {}):
        if place.startswith("seen"):
            sums[place] = sums.get(place, 0) + (seen @ seen.T).astype(np.float64)
            counts[place] += seen.shape[1]
    blocks, _ = prepared(load_arrays(weights_file()), Rounding())
    return {
        name: narrowing_of(branch, sums[name] / counts[name], channels)
        for number, (block, channels) in enumerate(zip(blocks, _CHANNELS, strict=True))
        for name, branch in ((seen_name(number, place), branch) for place, branch in enumerate(block))
        if channels < len(branch.over_picture)
    }


def values_at_all_places(sources: Path, narrow: Mapping[str, Narrowing]) -> Values:
    """Place -> (channels, n) values that the narrow network has there without rounding."""
    random = np.random.default_rng(SEED)
    found: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for place, seen in _watched(sources, narrow):
        found[place].append(seen[:, random.integers(0, seen.shape[1], _SAMPLES)])
    return {place: np.concatenate(parts, 1) for place, parts in found.items()}


def _watched(sources: Path, narrow: Mapping[str, Narrowing]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(place, (channels, n) values) of each batch, without rounding."""
    blocks, last = prepared(load_arrays(weights_file()), Rounding(narrowings=narrow))
    network = compiled(graph(blocks, last, {}, watched=True), last, SteadyStates(blocks, {}))
    for fold in range(FOLDS):
        pictures = load_sources(sources, fold)
        for number in range(_FILMS_OF_A_FOLD):
            frames = film(SEED + fold, number, pictures).frames[_FRAMES_OF_A_FILM.start : _FRAMES_OF_A_FILM.stop]
            convolutions = Convolutions(network)
            for begin in range(0, len(frames) - BATCH_FRAMES + 1, BATCH_FRAMES):
                convolutions.run(frames[begin : begin + BATCH_FRAMES])
                if begin:  # before the first batch the states are empty
                    yield from ((place, seen[0].reshape(seen.shape[1], -1)) for place, seen in convolutions.watched().items())


def rounding_of(values: Values, narrow: Mapping[str, Narrowing]) -> Rounding:
    blocks = 1 + max(int(place[1]) for place in values if place.startswith("x")) - 1
    scales = {place: _evened([values[place]], _EVENNESS_INSIDE) for place in values if place.startswith("seen")}
    places = dict(scales)
    for stack in range(blocks // 2):
        inner, outer, given = f"x{2 * stack + 1}", f"sum{stack}", f"x{2 * stack + 2}"
        scales[f"stack{stack}"] = _evened([values[inner], values[outer]], _EVENNESS_OUTSIDE)
        places |= dict.fromkeys((inner, outer, given), scales[f"stack{stack}"])
    greatest = {
        place: _greatest(seen / places[place][:, None], signed=place.startswith("seen"))
        for place, seen in values.items()
        if place in places
    }
    return Rounding({"x0": 255.0, **greatest}, scales, narrow)


def _evened(values: list[NDArray[np.float32]], evenness: float) -> NDArray[np.float32]:
    ranges = np.max([np.percentile(np.abs(each), 99.9, axis=1) for each in values], axis=0)
    return np.maximum((ranges / ranges.max()) ** evenness, _SMALLEST_SCALE).astype(np.float32)


def _greatest(values: NDArray[np.float32], *, signed: bool) -> float:
    """Where to cut off: what is lost there and what is lost by coarser steps are together the least, as squares."""
    sizes = np.abs(values).ravel()
    levels = 127 if signed else 255
    candidates = sizes.max() * np.linspace(0.3, 1.0, 36)
    losses = [np.square(sizes - np.clip(np.rint(sizes / one * levels), 0, levels) * one / levels).mean() for one in candidates]
    return float(candidates[int(np.argmin(losses))])


if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    narrow = narrowings(folder)
    rounding_of(values_at_all_places(folder, narrow), narrow).save(out)
