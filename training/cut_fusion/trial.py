"""Tests models on whole films whose sources they have never seen: what is found of each kind, what is false, and how sure it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from heaters_dagster.domain.cut_fusion import Model, calibrated, fused
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.scenes import transitions
from training.cut_fusion.films import Labels
from training.cut_fusion.gathered import Gathered

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


def matched(film: Labels, boundaries: Sequence[Boundary], threshold: float) -> Outcome:
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


def raw_confidences(film: Gathered, models: tuple[Model, Model]) -> list[tuple[float, bool]]:
    """Of each boundary that counts: what the models say, and whether it is right."""
    column = fused(film.features, *models)
    return matched(film.labels, [Boundary(int(frame), float(column[frame])) for frame in np.flatnonzero(column)], 0.5).sure


def tried(
    folds: Sequence[Sequence[Gathered]], models: Sequence[tuple[Model, Model]], line: tuple[float, float], workers: int
) -> Mapping[str, Outcome]:
    """By detector and threshold, what came out. models: of each fold, made without it. line: of the calibration."""
    total: dict[str, Outcome] = {}
    with ProcessPoolExecutor(workers) as pool:
        for outcomes in pool.map(_try, ((film, models[fold], line) for fold, films in enumerate(folds) for film in films), chunksize=4):
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


def _try(job: tuple[Gathered, tuple[Model, Model], tuple[float, float]]) -> Mapping[str, Outcome]:
    film, models, line = job
    features = film.features
    column = calibrated(fused(features, *models), *line)
    learned = [Boundary(int(frame), float(column[frame])) for frame in np.flatnonzero(column)]
    outcomes = {f"learned at {threshold:g}": matched(film.labels, learned, threshold) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)}
    for threshold in (0.35, 0.5):
        outcomes[f"transnetv2 at {threshold:g}"] = matched(film.labels, transitions(features.chance, threshold), threshold)
    return outcomes


def _neutral(film: Labels, frame: int) -> bool:
    gradual = any(not one.at_once and one.first - TOLERANCE <= frame <= one.last + TOLERANCE for one in film.transitions)
    return gradual or any(first <= frame <= last for first, last in film.neutral)


def _there(film: Labels, frame: int) -> str:
    since = [(frame - at, kind) for kind, at in film.disturbances if -3 <= frame - at <= _STILL_DISTURBED]
    return min(since)[1] if since else f"nothing ({film.style})"
