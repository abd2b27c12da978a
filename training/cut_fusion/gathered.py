"""What is kept of a made film: its labels, the network's scores and the features of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Features
from heaters_dagster.domain.going_on import SPACING
from resources.models.scores.learned import PictureFeatures
from training.cut_fusion.films import Labels
from training.cut_fusion.shots import FOLDS, Frames


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """One film. scores: (n, 2) float16, of the network's two heads. names, pictures: (n, names) float16, and looks: (m, 144), as the
    detector computes them; None in a file of before these were kept.
    """

    labels: Labels
    scores: NDArray[np.float16]
    names: tuple[str, ...]
    pictures: NDArray[np.float16]
    looks: NDArray[np.uint8] | None

    @property
    def features(self) -> Features:
        scores = self.scores.astype(np.float32)
        return Features(self.names, self.pictures.astype(np.float32), scores[:, 0], scores[:, 1], self.looks)


def gathered_from(labels: Labels, frames: Frames, scores: NDArray[np.floating]) -> Gathered:
    """frames: (n, 27, 48, 3). scores: (n, 2)."""
    pictures = PictureFeatures()
    pictures.feed(frames)
    return Gathered(labels, scores.astype(np.float16), *pictures.finish())


def save_fold(path: Path, films: Sequence[Gathered]) -> None:
    np.savez_compressed(
        path,
        labels=np.array([film.labels.to_json() for film in films]),
        lengths=np.array([len(film.scores) for film in films]),
        names=np.array(films[0].names),
        scores=np.concatenate([film.scores for film in films]),
        pictures=np.concatenate([film.pictures for film in films]),
        looks=np.concatenate([film.looks for film in films if film.looks is not None]),
    )


def load_folds(folder: Path) -> list[list[Gathered]]:
    """The films of each fold."""
    return [[film for path in sorted(folder.glob(f"fold{fold}_*.npz")) for film in load_films(path)] for fold in range(FOLDS)]


def load_films(path: Path) -> list[Gathered]:
    """What `save_fold` wrote."""
    with np.load(path) as file:
        names, scores, pictures = tuple(map(str, file["names"])), file["scores"], file["pictures"]
        ends = np.cumsum(file["lengths"])
        parts = [slice(end - length, end) for end, length in zip(ends, file["lengths"], strict=True)]
        labels = [Labels.from_json(str(text)) for text in file["labels"]]
        sizes = [-(-int(length) // SPACING) for length in file["lengths"]]
        looks = np.split(file["looks"], np.cumsum(sizes)[:-1]) if "looks" in file else [None] * len(labels)
    return [Gathered(told, scores[part], names, pictures[part], look) for told, part, look in zip(labels, parts, looks, strict=True)]
