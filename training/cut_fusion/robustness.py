"""Tests the detector on labelled footage that is changed in ways which keep its truth: what it finds there must not depend on them.

`python -m training.cut_fusion.robustness FOOTAGE KEPT [--model FILE] [--only NAME ...] [--without PATTERN ...]` prints a table. FOOTAGE has
a truth.json. What the network and the pictures say is kept in KEPT, so that another model is tested in seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from heaters_dagster.domain.cut_fusion import calibrated, fused
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.scenes import transitions
from resources.models.detectors.learned import DETECTOR as LEARNED
from resources.models.detectors.transnetv2 import DETECTOR as NETWORK
from resources.models.scores.learned import MODEL, Models, read_models
from training.cut_fusion.gather import network_scores
from training.cut_fusion.gathered import Gathered, gathered_from, load_films, save_fold
from training.cut_fusion.trial import TOLERANCE, Outcome, matched
from training.cut_fusion.variations import VARIATIONS, Take, load_takes

_HEAD = (
    "| footage | `learned`: F1 | hard | gradual | false | `transnetv2`: F1 | hard | gradual | false |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def kept(name: str, folder: Path, takes: Callable[[], Sequence[Take]]) -> list[Gathered]:
    """What is known of each frame of a variation; computed when it is not in the folder."""
    path = folder / f"{name.replace(' ', '-').replace(':', '-').replace(',', '')}.npz"
    if not path.exists():
        films = [take.film for take in VARIATIONS[name](takes())]
        save_fold(path, [gathered_from(film.labels, film.frames, network_scores(film)) for film in films])
    return load_films(path)


def by_learned(film: Gathered, models: Models) -> list[Boundary]:
    """As the detector finds them, those below its threshold too."""
    column = calibrated(fused(film.features, models.hard, models.stretch), *models.line).astype(np.float16).astype(np.float32)
    return [Boundary(int(frame), float(column[frame])) for frame in np.flatnonzero(column)]


def by_network(film: Gathered) -> list[Boundary]:
    return list(transitions(film.features.chance, NETWORK.default_threshold))


def errors(film: Gathered, found: Sequence[Boundary]) -> Iterator[str]:
    """What is missed and what is false, with what the network says there, for those who look for the reason."""
    chance = film.features.chance
    sure = [one for one in found if one.confidence >= LEARNED.default_threshold]
    for one in film.labels.transitions:
        near = [each for each in found if one.first - TOLERANCE <= each.frame <= one.last + TOLERANCE]
        if not any(each in sure for each in near):
            most = max((each.confidence for each in near), default=0.0)
            seen = chance[max(0, one.first - 3) : one.last + 3].max(initial=0)
            yield f"missed: {film.labels.style} {one.kind} {one.first}..{one.last}, sure {most:.2f}, network {seen:.2f}"
    ranges = [(one.first - TOLERANCE, one.last + TOLERANCE) for one in film.labels.transitions] + list(film.labels.neutral)
    for each in sure:
        if not any(first <= each.frame <= last for first, last in ranges):
            seen = chance[max(0, each.frame - 3) : each.frame + 3].max()
            yield f"false: {film.labels.style} {each.frame}, sure {each.confidence:.2f}, network {seen:.2f}"


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    cells = []
    for one in outcomes:
        gradual = {kind for kind in (*one.found, *one.missed) if kind != "hard"}
        found, missed = (sum(counter[kind] for kind in gradual) for counter in (one.found, one.missed))
        hard = f"{one.found['hard']} of {one.found['hard'] + one.missed['hard']}"
        cells += [f"{one.f1:.3f}", hard, f"{found} of {found + missed}", str(one.false.total())]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--only", nargs="*", default=list(VARIATIONS), help="names of variations")
    parser.add_argument("--without", nargs="*", default=[], help="patterns of files to leave out")
    parser.add_argument("--errors", action="store_true", help="print each error too")
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    models = read_models(given.model)
    total = [Outcome(), Outcome()]

    @cache
    def takes() -> Sequence[Take]:
        return load_takes(given.footage, without=given.without)

    print(_HEAD, flush=True)
    for name in given.only:
        films = kept(name, given.kept, takes)
        outcomes = [Outcome(), Outcome()]
        told: list[str] = []
        for film in films:
            found = by_learned(film, models)
            told += errors(film, found)
            outcomes[0].add(matched(film.labels, found, LEARNED.default_threshold))
            outcomes[1].add(matched(film.labels, by_network(film), NETWORK.default_threshold))
        for mine, one in zip(total, outcomes, strict=True):
            mine.add(one)
        print(row(name, outcomes), flush=True)
        if given.errors:
            print("\n".join(f"    {line}" for line in told), flush=True)
    print(row("all", total))


if __name__ == "__main__":
    main()
