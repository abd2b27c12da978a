"""The models of kinds and ranges: learned on boundaries as the detector finds them in films that it has not seen, and tested likewise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Features, Model, Places, fused
from heaters_dagster.domain.cut_kinds import SUDDEN_KINDS, CutKind
from heaters_dagster.domain.cut_transitions import KINDS, TransitionModels, told_by_the_network, transition_places, transitions_at
from training.cut_fusion.films import Transition
from training.cut_fusion.gathered import Gathered
from training.cut_fusion.shots import FOLDS
from training.cut_fusion.trees import trees_of
from training.cut_fusion.trial import TOLERANCE

#: Of the films' kinds; two views of one source in other light or framing may be called either, so they teach nothing.
_KINDS = {
    "hard": CutKind.HARD,
    "jump": CutKind.JUMP,
    "dissolve": CutKind.DISSOLVE,
    "fade": CutKind.FADE,
    "wipe": CutKind.WIPE,
    "push": CutKind.WIPE,
    "zoom": CutKind.WIPE,
}
_LEAST_CONFIDENCE = 0.2
_KIND_ROUNDS, _RANGE_ROUNDS = 40, 50


@dataclass(frozen=True, slots=True, eq=False)
class FoundBoundaries:
    """The boundaries of one film that belong to transitions. frames, confidences: (k,). truth: of each, in order."""

    features: Features
    frames: NDArray[np.int_]
    confidences: NDArray[np.float32]
    truth: tuple[Transition, ...]

    @property
    def places(self) -> Places:
        return transition_places(self.features, self.frames)

    @property
    def kinds(self) -> list[CutKind]:
        return [_KINDS[one.kind] for one in self.truth]


def found_boundaries(films: Sequence[Gathered], models: tuple[Model, Model]) -> list[FoundBoundaries]:
    """models: made without these films."""
    return [found for film in films if len((found := _found(film, models)).frames)]


def fitted_transitions(found: Sequence[FoundBoundaries]) -> TransitionModels:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    options = {"max_leaf_nodes": 8, "learning_rate": 0.15, "min_samples_leaf": 20, "l2_regularization": 1.0, "early_stopping": False}
    places = [one.places for one in found]
    names, rows = places[0].names, np.concatenate([one.rows for one in places])
    kinds = np.array([KINDS.index(kind) for one in found for kind in one.kinds])
    # Every kind counts alike beside the hard cuts, but for half of its rareness.
    weight = (len(kinds) / np.bincount(kinds, minlength=len(KINDS)).clip(1)) ** 0.5
    model = HistGradientBoostingClassifier(max_iter=_KIND_ROUNDS, random_state=0, **options).fit(rows, kinds, sample_weight=weight[kinds])
    gradual = np.array([kind not in SUDDEN_KINDS for one in found for kind in one.kinds])
    frames = np.concatenate([one.frames for one in found])
    firsts, lasts = (np.array([getattr(truth, side) for one in found for truth in one.truth]) for side in ("first", "last"))
    ends = []
    for side, wanted in (("before", frames - firsts), ("after", lasts + 1 - frames)):
        base = rows[:, names.index(f"{side}_part_0.5")]
        regressor = HistGradientBoostingRegressor(loss="absolute_error", max_iter=_RANGE_ROUNDS, random_state=0, **options)
        ends.append(trees_of(names, regressor.fit(rows[gradual], (wanted - base)[gradual])))
    return TransitionModels({kind: trees_of(names, model, place) for place, kind in enumerate(KINDS)}, *ends)


def kind_report(folds: Sequence[Sequence[FoundBoundaries]]) -> str:
    """In Markdown: which kind was said of which, and how many frames the ends of ranges are off, with sources left out."""
    table = np.zeros((len(KINDS), len(KINDS)), int)
    off: dict[str, list[list[int]]] = {str(kind): [] for kind in KINDS if kind not in SUDDEN_KINDS}
    plain: list[list[int]] = []
    for fold in range(FOLDS):
        models = fitted_transitions([one for place, part in enumerate(folds) if place != fold for one in part])
        for film in folds[fold]:
            told = transitions_at(film.features, film.frames, film.confidences, models)
            network = told_by_the_network(film.features.part, [int(frame) for frame in film.frames])
            for truth, kind, mine, theirs in zip(film.truth, film.kinds, told, network, strict=True):
                table[KINDS.index(kind), KINDS.index(mine.kind)] += 1
                if kind not in SUDDEN_KINDS and mine.frames is not None:
                    off[str(kind)].append([mine.frames[0] - truth.first, mine.frames[1] - truth.last])
                    if theirs.frames is not None:
                        plain.append([theirs.frames[0] - truth.first, theirs.frames[1] - truth.last])
    return "\n".join(_kind_lines(table, off, plain)) + "\n"


def _kind_lines(table: NDArray[np.int_], off: dict[str, list[list[int]]], plain: list[list[int]]) -> Iterator[str]:
    yield f"| is, called | {' | '.join(KINDS)} |"
    yield f"| --- |{' ---: |' * len(KINDS)}"
    for kind, row in zip(KINDS, table, strict=True):
        yield f"| {kind} | {' | '.join(f'{number:,}' for number in row)} |"
    yield ""
    yield "| ends of ranges | number | median error | 90 % within | median of first, last |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, ends in (*off.items(), ("the network's own run, all", plain)):
        if ends:
            errors = np.abs(np.array(ends))
            ends_off = ", ".join(f"{middle:+.1f}" for middle in np.median(np.array(ends), axis=0))
            yield f"| {name} | {len(ends):,} | {np.median(errors):.1f} | {np.quantile(errors, 0.9):.1f} | {ends_off} |"


def _found(film: Gathered, models: tuple[Model, Model]) -> FoundBoundaries:
    features = film.features
    column = fused(features, *models)
    frames = np.flatnonzero(column >= _LEAST_CONFIDENCE)
    open_ones = [one for one in film.labels.transitions if one.kind in _KINDS]
    kept: dict[int, Transition] = {}
    for frame in map(int, frames[np.argsort(-column[frames], kind="stable")]):
        near = [one for one in open_ones if one.first - TOLERANCE <= frame <= one.last + TOLERANCE]
        if near:
            kept[frame] = min(near, key=lambda one: abs(one.frame - frame))
            open_ones.remove(kept[frame])
    chosen = np.array(sorted(kept), np.int64)
    return FoundBoundaries(features, chosen, column[chosen], tuple(kept[int(frame)] for frame in chosen))
