"""Makes films, runs the network on them and writes what can be learned from them: one file for each fold.

`python -m training.cut_fusion.gather SOURCES OUT --films 100 [--first 100]`, on a GPU if there is one. Each worker is one thread: on a busy
machine two threads that wait for one another give a third of the frames a second.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.films import Film, film
from training.cut_fusion.gathered import Gathered, gathered_from, load_films, save_fold
from training.cut_fusion.shots import FOLDS, load_sources

SEED = 20261127


def fold_film(sources: Path, fold: int, number: int) -> Film:
    return film(SEED + fold, number, load_sources(sources, fold))


def network_scores(made: Film) -> NDArray[np.float32]:
    """(n, 2), as the detector's own stream gives them."""
    from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS, TransNetV2Scores

    network = TransNetV2Scores(both_heads=True)
    network.feed(made.frames)
    columns = network.finish()
    return np.stack([columns[name] for name in TRANSNETV2_COLUMNS], axis=1)


def _gathered(job: tuple[Path, int, int]) -> Gathered:
    cv2.setNumThreads(1)
    made = fold_film(*job)
    return gathered_from(made.labels, made.frames, network_scores(made))


def _again(job: tuple[Path, int, int, Gathered]) -> Gathered:
    """The same film with other features: the network need not run again."""
    *which, kept = job
    cv2.setNumThreads(1)
    made = fold_film(*which)
    if made.labels != kept.labels:
        raise ValueError(f"film {which[2]} of fold {which[1]} is not made as it was; gather it anew")
    return gathered_from(made.labels, made.frames, kept.scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--films", type=int, default=100, help="of each fold")
    parser.add_argument("--first", type=int, default=0, help="number of the first film of each fold; what lies in OUT of others is kept")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="only compute the features of pictures anew, for all films that lie in OUT")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    began, frames = time.monotonic(), 0
    with ProcessPoolExecutor(given.workers) as pool:
        for path in sorted(given.out.glob("fold*_*.npz")) if given.again else ():
            fold, first = map(int, path.stem.removeprefix("fold").split("_"))
            kept = load_films(path)
            save_fold(path, list(pool.map(_again, ((given.sources, fold, first + place, one) for place, one in enumerate(kept)))))
            print(path.name, flush=True)
        if given.again:
            return
        for fold in range(FOLDS):
            jobs = [(given.sources, fold, number) for number in range(given.first, given.first + given.films)]
            films = list(pool.map(_gathered, jobs))
            save_fold(given.out / f"fold{fold}_{given.first:05}.npz", films)
            frames += sum(len(one.scores) for one in films)
            print(f"fold {fold}: {frames:,} frames after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
