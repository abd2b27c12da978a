"""Scores of the learned fusion: both heads of TransNetV2 and what the small frames say, put together by the model in this folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_features import REACH, picture_features
from heaters_dagster.domain.cut_fusion import Features, Trees, fused
from heaters_dagster.domain.errors import ModelUnavailableError
from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS, TransNetV2Scores

#: How sure it is that a shot begins at the frame, 0..1, and 0 nearly everywhere. A new model is a new column: it scores differently.
LEARNED_COLUMN = "learned_1"
MODEL = Path(__file__).with_name("cut_fusion_1.npz")
_BATCH_FRAMES = 256


class LearnedScores:
    """A ScoreStream with the columns of TransNetV2's two heads and `learned_1`. It needs the network's small frames alone."""

    name = "learned"
    frame_size = TransNetV2Scores.frame_size
    pixel_format = TransNetV2Scores.pixel_format
    scale_flags = TransNetV2Scores.scale_flags

    def __init__(self) -> None:
        self._models = load_models()
        self._network = TransNetV2Scores(both_heads=True)
        self._pictures = PictureFeatures()

    def feed(self, frames: NDArray[np.uint8]) -> None:
        self._pictures.feed(frames)
        self._network.feed(frames)

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        columns = self._network.finish()
        names, pictures = self._pictures.finish()
        chance, part = (columns[name] for name in TRANSNETV2_COLUMNS)
        found = fused(Features(names, pictures, chance, part), *self._models) if len(chance) else chance
        return {LEARNED_COLUMN: found, **columns}


class PictureFeatures:
    """The features of all frames of a video, computed in batches. It keeps them as float16: 114 bytes a frame."""

    def __init__(self) -> None:
        self._frames: NDArray[np.uint8] | None = None
        self._names: tuple[str, ...] = ()
        self._parts: list[NDArray[np.float16]] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        if not len(frames):
            return
        before = np.repeat(frames[:1], REACH, axis=0) if self._frames is None else self._frames
        self._frames = np.concatenate([before, frames])
        while len(self._frames) >= _BATCH_FRAMES + 2 * REACH:
            self._compute(_BATCH_FRAMES)

    def finish(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Names, and (n, names)."""
        if self._frames is None:
            return (), np.zeros((0, 0), np.float32)
        self._frames = np.concatenate([self._frames, np.repeat(self._frames[-1:], REACH, axis=0)])
        while (left := len(self._frames) - 2 * REACH) > 0:
            self._compute(min(left, _BATCH_FRAMES))
        return self._names, np.concatenate(self._parts).astype(np.float32)

    def _compute(self, count: int) -> None:
        assert self._frames is not None
        self._names, features = picture_features(self._frames[: count + 2 * REACH])
        self._parts.append(features.astype(np.float16))
        self._frames = self._frames[count:].copy()


@lru_cache(maxsize=1)
def load_models() -> tuple[Trees, Trees]:
    """The models of hard places and of stretches. Raises ModelUnavailableError when their file cannot be read."""
    try:
        with np.load(MODEL) as file:
            hard, stretch = (
                Trees.from_arrays({name.removeprefix(kind): file[name] for name in file.files if name.startswith(kind)})
                for kind in ("hard_", "stretch_")
            )
        return hard, stretch
    except (OSError, ValueError, KeyError) as error:
        raise ModelUnavailableError(f"{MODEL} cannot be read ({error}); install Heaters again") from error
