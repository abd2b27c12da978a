"""Makes films, runs the network on them and writes what can be learned from them: one file for each fold.

`python -m training.cut_fusion.gather SOURCES OUT --films 100 [--seconds 300]`, on a GPU if there is one. Half of the films are scored in
bfloat16 and half in float32, because a user's processor decides which of the two it gets.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.examples import Examples, features_of, hard_examples, joined, stretch_examples
from training.cut_fusion.films import Film, film
from training.cut_fusion.shots import FOLDS, load_sources

SEED = 20261127
_BATCH_FRAMES = 512
#: Of each fold; the scores of these are kept, so that whole films can be tested later.
_TESTED_FILMS = 200
_FIELDS = ("names", "rows", "labels", "kinds", "first", "last")


def fold_film(sources: Path, fold: int, number: int) -> Film:
    return film(SEED + fold, number, load_sources(sources, fold))


def network_scores(made: Film, *, bfloat16: bool) -> NDArray[np.float32]:
    """(n, 2), as the detector's own stream gives them."""
    from resources.models.scores.transnetv2_network import StreamingTransNetV2

    network = StreamingTransNetV2(_weights(bfloat16))
    parts = [network.push(made.frames[at : at + _BATCH_FRAMES]) for at in range(0, len(made.frames), _BATCH_FRAMES)]
    return np.concatenate([*parts, network.finish(batch_frames=_BATCH_FRAMES)])


@lru_cache(maxsize=2)
def _weights(bfloat16: bool) -> object:
    import torch

    from resources.models.scores.transnetv2_network import load_weights

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load_weights(device, torch.bfloat16 if bfloat16 else torch.float32)


def _made(job: tuple[Path, int, int]) -> Film:
    cv2.setNumThreads(1)
    return fold_film(*job)


def _learned_from(job: tuple[Film, NDArray[np.float32]]) -> tuple[Examples, Examples]:
    made, scores = job
    features = features_of(made.frames, scores)
    return hard_examples(made, features), stretch_examples(made, features)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--films", type=int, default=100, help="of each fold")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop making more after this long")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    began, frames, last = time.monotonic(), 0, 0
    found: list[list[tuple[Examples, Examples]]] = [[] for _ in range(FOLDS)]
    scored: list[list[NDArray[np.float16]]] = [[] for _ in range(FOLDS)]
    jobs = [(given.sources, fold, number) for number in range(given.films) for fold in range(FOLDS)]
    with ProcessPoolExecutor(given.workers) as pool:
        ahead = 8 * given.workers
        making = [pool.submit(_made, job) for job in jobs[:ahead]]
        learning = []
        for place, (_, fold, number) in enumerate(jobs):
            if time.monotonic() - began > given.seconds and fold == 0:
                break
            made = making[place].result()
            making[place] = None  # type: ignore[call-overload]
            if len(making) < len(jobs):
                making.append(pool.submit(_made, jobs[len(making)]))
            scores = network_scores(made, bfloat16=number % 2 == 0)
            scored[fold].append(scores.astype(np.float16))
            learning.append((fold, pool.submit(_learned_from, (made, scores))))
            frames, last = frames + len(made.frames), number
        for future in making:
            if future is not None:
                future.cancel()
        for fold, learned in learning:
            found[fold].append(learned.result())
    for fold, pairs in enumerate(found):
        lengths = [len(scores) for scores in scored[fold]]
        hard, gradual = (joined([pair[kind] for pair in pairs], lengths) for kind in (0, 1))
        np.savez_compressed(
            given.out / f"fold{fold}.npz",
            **{f"{kind}_{name}": getattr(each, name) for kind, each in (("hard", hard), ("stretch", gradual)) for name in _FIELDS},
            scores=np.concatenate(scored[fold][:_TESTED_FILMS]),
            lengths=lengths[:_TESTED_FILMS],
        )
        print(f"fold {fold}: {len(pairs)} films; hard places {np.bincount(hard.labels + 1)}, stretches {np.bincount(gradual.labels + 1)}")
    print(f"{frames:,} frames of {5 * (last + 1)} films in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
