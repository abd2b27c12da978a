"""Tests models on whole films whose sources they have never seen: what is found of each kind, what is false, and how sure it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Trees, fused
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.scenes import transitions
from training.cut_fusion.examples import features_of
from training.cut_fusion.films import Film
from training.cut_fusion.gather import fold_film

TOLERANCE = 2
_STILL_DISTURBED = 90
_BINS = 10


@dataclass(slots=True)
class Outcome:
    """found, missed: by kind of transition. false: by what is there. sure: (confidence, right) of each boundary that counts."""

    found: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    sure: list[tuple[float, bool]] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.found += other.found
        self.missed += other.missed
        self.false += other.false
        self.sure += other.sure

    @property
    def f1(self) -> float:
        found, missed, false = (counter.total() for counter in (self.found, self.missed, self.false))
        return 2 * found / (2 * found + missed + false) if found else 0.0


def matched(film: Film, boundaries: Sequence[Boundary], threshold: float) -> Outcome:
    """One boundary for one transition, the surest first. Further ones inside a gradual transition count neither way."""
    outcome = Outcome()
    open_ones = list(film.transitions)
    for one in sorted(boundaries, key=lambda each: -each.confidence):
        near = [each for each in open_ones if each.first - TOLERANCE <= one.frame <= each.last + TOLERANCE]
        right = bool(near)
        if near:
            taken = min(near, key=lambda each: abs(each.frame - one.frame))
            open_ones.remove(taken)
            if one.confidence >= threshold:
                outcome.found[taken.kind] += 1
            else:
                outcome.missed[taken.kind] += 1
        elif _neutral(film, one.frame):
            continue
        elif one.confidence >= threshold:
            outcome.false[_there(film, one.frame)] += 1
        outcome.sure.append((one.confidence, right))
    for missed in open_ones:
        outcome.missed[missed.kind] += 1
    return outcome


def tried(
    sources: Path, folds: Sequence[tuple[NDArray[np.float16], NDArray[np.int_]]], models: Sequence[tuple[Trees, Trees]], workers: int
) -> Mapping[str, Outcome]:
    """By detector and threshold, what came out.

    folds: scores and lengths of the first films of each. models: of each fold, made without it.
    """
    total: dict[str, Outcome] = {}
    with ProcessPoolExecutor(workers) as pool:
        for outcomes in pool.map(_try, _jobs(sources, folds, models), chunksize=4):
            for name, outcome in outcomes.items():
                total.setdefault(name, Outcome()).add(outcome)
    return total


def reliability(sure: Sequence[tuple[float, bool]]) -> Iterator[tuple[float, float, int]]:
    """For each tenth of confidence that has boundaries: mean confidence, share of them that are right, how many."""
    confidences, right = (np.array(column) for column in zip(*sure, strict=True))
    tenth = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        if (chosen := tenth == number).any():
            yield float(confidences[chosen].mean()), float(right[chosen].mean()), int(chosen.sum())


def _jobs(
    sources: Path, folds: Sequence[tuple[NDArray[np.float16], NDArray[np.int_]]], models: Sequence[tuple[Trees, Trees]]
) -> Iterator[tuple[Path, int, int, NDArray[np.float16], tuple[Trees, Trees]]]:
    for fold, (scores, lengths) in enumerate(folds):
        ends = np.cumsum(lengths)
        for number, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            yield sources, fold, number, scores[end - length : end], models[fold]


def _try(job: tuple[Path, int, int, NDArray[np.float16], tuple[Trees, Trees]]) -> Mapping[str, Outcome]:
    sources, fold, number, scores, models = job
    film = fold_film(sources, fold, number)
    features = features_of(film.frames, scores.astype(np.float32))
    column = fused(features, *models)
    learned = [Boundary(int(frame), float(column[frame])) for frame in np.flatnonzero(column)]
    outcomes = {f"learned at {threshold:g}": matched(film, learned, threshold) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)}
    for threshold in (0.35, 0.5):
        outcomes[f"transnetv2 at {threshold:g}"] = matched(film, transitions(features.chance, threshold), threshold)
    return outcomes


def _neutral(film: Film, frame: int) -> bool:
    gradual = any(one.kind != "hard" and one.first - TOLERANCE <= frame <= one.last + TOLERANCE for one in film.transitions)
    return gradual or any(first <= frame <= last for first, last in film.neutral)


def _there(film: Film, frame: int) -> str:
    since = [(frame - at, kind) for kind, at in film.disturbances if -3 <= frame - at <= _STILL_DISTURBED]
    return min(since)[1] if since else f"nothing ({film.style})"
