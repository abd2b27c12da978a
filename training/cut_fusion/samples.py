"""The sample films with their truth, and what the network says of them, kept: a test of what is decided then needs no network.

`python -m training.cut_fusion.samples` writes tests/media/sample_scores.npz. Type it when the network is run in another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.films import Labels, Transition
from training.cut_fusion.gather import network_scores
from training.cut_fusion.variations import VARIATIONS, Take, read

_ROOT = Path(__file__).resolve().parents[2]
SCORES = _ROOT / "tests" / "media" / "sample_scores.npz"
#: File -> frames a second, and the first frames of its shots.
_FILMS = {
    "tears_of_steel_battle.mp4": (24.0, (52, 122, 158, 221, 309, 715, 788)),
    "big_buck_bunny_vfr.mp4": (24.0, (44, 137)),
}
#: The variations of which scores are kept.
VARIED = ("as it is", "dark", "half the rate", "a quarter of the rate", "twice the rate", "backwards")


def sample_takes() -> list[Take]:
    return [
        Take(path := _ROOT / "samples" / name, read(path), Labels(name, tuple(Transition("hard", at, at, at) for at in cuts)), rate)
        for name, (rate, cuts) in _FILMS.items()
    ]


def kept_scores() -> dict[str, NDArray[np.float32]]:
    """(n, 2) of the films of each variation, one after the other."""
    with np.load(SCORES) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def _scored() -> Iterator[tuple[str, NDArray[np.float16]]]:
    takes = sample_takes()
    for name in VARIED:
        scores = [network_scores(take.film) for take in VARIATIONS[name](takes)]
        yield name, np.concatenate(scores).astype(np.float16)


if __name__ == "__main__":
    np.savez_compressed(SCORES, **dict(_scored()))
